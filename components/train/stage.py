"""What the training stages share: reuse an existing result from the store, or write and store a new one."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pyarrow.parquet as pq

from clinadapt.artifacts.hashing import read_json, write_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.config.classify import ClassifyTraining
from clinadapt.config.instruct import InstructTraining
from clinadapt.errors import UserError
from clinadapt.models.base_model import BaseModel
from clinadapt.models.devices import resolve_precision
from clinadapt.storage.object_store import Store
from components.train.checkpoints import Checkpoints, training_inputs

TOKENIZER = "tokenizer"  # folder of the splits with the tokenizer and its chat template


@dataclass(frozen=True)
class Stage:
    """The output folder of one training.

    Attributes:
        output: the folder.
        splits_digest: of the splits that it was trained on, for its manifest.
        base_digest: of its base model, for its manifest.
        checkpoints: of this training; None without a store.
        step: of its link in the manifest's chain; no link where empty.
        inputs: of that link, name -> digest.
        previous: manifests of the inputs, whose chains it continues.
    """

    output: Path
    splits_digest: str
    base_digest: str
    checkpoints: Checkpoints | None
    step: str = ""
    inputs: dict[str, str] = field(default_factory=dict)
    previous: tuple[dict[str, Any], ...] = ()

    @classmethod
    def of_new_adapter(
        cls,
        recipe: str,
        splits: Path,
        output: Path,
        settings: ClassifyTraining | InstructTraining,
        base: BaseModel,
        store: Store | None,
    ) -> Self:
        """The stage that trains a new adapter. `settings` has the pinned URI of `base`; `recipe` keys checkpoints."""
        manifest = read_json(splits / MANIFEST)
        data, checkpoints = manifest["digest"], None
        if store:
            determining_inputs = training_inputs(
                recipe, data, base.digest, settings, resolve_precision(settings.precision)
            )
            checkpoints = Checkpoints(store, determining_inputs, processes())
        inputs = {"splits": data, "base_model": base.digest}
        return cls(output, data, base.digest, checkpoints, "train", inputs, (manifest,))

    def existing_result(self) -> dict[str, Any] | None:
        """Download the result of the same training from the store to `output`.

        Returns:
            The content of training.json; None where there is no such result.
        """
        training = self.checkpoints.result(self.output) if self.checkpoints else None
        if training:
            self._write_manifest()  # the chain of these inputs
        return training

    def finish(self, training: dict[str, Any]) -> None:
        """Write training.json and the manifest; store the result and remove the checkpoints."""
        self.output.mkdir(parents=True, exist_ok=True)
        write_json(self.output / "training.json", training)
        self._write_manifest()
        if self.checkpoints:
            self.checkpoints.finish(self.output)

    def _write_manifest(self) -> None:
        digests = {"splits_digest": self.splits_digest, "base_digest": self.base_digest}
        write_manifest(self.output, digests, self.step, self.inputs, self.previous)


def processes() -> int:
    """Number of processes that train together, as torchrun sets it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def first_process() -> bool:
    """Whether this is the process that logs and writes."""
    return os.environ.get("RANK", "0") == "0"


def read_table(splits: Path, name: str) -> Any:
    """Read a Parquet file of the splits. Raises UserError where it is missing or broken."""
    try:
        return pq.read_table(splits / name)
    except OSError as error:
        raise UserError(f"{name} of the splits is missing or broken: run format again") from error
