"""Checkpoints and cached outputs of a training in the store.

checkpoints/<key>/step-N/...    a checkpoint
trained/<key>/<digest>/...      the output of the training, after which its checkpoints are deleted. Two trainings that
                                end at the same moment have one folder each

Both are sealed folders. The key is a hash of all inputs of the training (`training_inputs`), so that a restarted pod
resumes its own training and no other, an output that a TrainJob trained is reused by the pipeline, and nothing is
trained twice.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from clinadapt.artifacts.artifact_cache import fetch_folder, load_folder, publish, publish_folder
from clinadapt.artifacts.code_version import code_version, library_versions
from clinadapt.artifacts.hashing import read_json, sha256_json
from clinadapt.artifacts.manifest import MANIFEST, DamagedFolder, write_manifest
from clinadapt.artifacts.sealed_folder import SealedFolder
from clinadapt.artifacts.step_record import log
from clinadapt.config.base import Precision, outcome_settings
from clinadapt.config.classify import ClassifyTraining
from clinadapt.config.instruct import TrainingSettings
from clinadapt.errors import UserError
from clinadapt.models.devices import device
from clinadapt.storage.object_store import CorruptObject, Store

RESULT = "CLINADAPT_RESULT"  # in a TrainJob: key of the store under which to leave where the result is
_MAX_CHECKPOINTS = 2


def training_inputs(
    step: str, splits_digest: str, base_digest: str, settings: ClassifyTraining | TrainingSettings, precision: Precision
) -> dict[str, Any]:
    """All inputs that determine the bytes of the trained weights, on the same processor with as many threads and
    processes (the output records how many processes there were)."""
    return {
        "step": step,
        "splits": splits_digest,
        "base": base_digest,
        "settings": outcome_settings(settings),
        "precision": precision,
        "device": device().type,
        "code": code_version(f"components.train.{'dpo' if step == 'prefer' else step}"),
        "libraries": library_versions(),
    }


class Checkpoints:
    """The checkpoints and the output of one training."""

    def __init__(self, store: Store, inputs: dict[str, Any], processes: int) -> None:
        """
        Args:
            store: for checkpoints and output.
            inputs: `training_inputs`, as JSON.
            processes: number of training processes.
        """
        self._store, self._processes = store, processes
        self._step = inputs["step"] if inputs.get("step") in ("pretrain", "prefer") else "train"
        self._inputs_digest = sha256_json(inputs)
        key = self._inputs_digest[7:23]
        self.prefix, self._trained = f"checkpoints/{key}", f"trained/{key}"
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._upload: Future[bool] | None = None
        self.seconds = 0.0  # that the last save took in the background

    def busy(self) -> bool:
        """Whether an upload is in flight."""
        return self._upload is not None and not self._upload.done()

    def save(self, step: int, write: Callable[[Path], None]) -> None:
        """Save a checkpoint in the background, after the upload in flight has ended.

        Args:
            step: number of optimizer steps done.
            write: writes the state into a folder; called from another thread.
        """
        self.wait()
        self._upload = self._worker.submit(self._timed_save, step, write)

    def wait(self) -> bool:
        """Wait for the upload in flight; return whether the last upload succeeded."""
        return self._upload is not None and self._upload.result()

    def _timed_save(self, step: int, write: Callable[[Path], None]) -> bool:
        start = time.monotonic()
        try:
            return self._save(step, write)
        finally:
            self.seconds = time.monotonic() - start

    def _save(self, step: int, write: Callable[[Path], None]) -> bool:
        checkpoint = self._checkpoint(step)
        try:
            if checkpoint.exists():  # written by a pod that was presumed lost and still trains
                return True
            with tempfile.TemporaryDirectory(prefix="clinadapt-checkpoint-") as scratch:
                folder = Path(scratch)
                write(folder)
                fields = {"step": step, "inputs_digest": self._inputs_digest, "processes": self._processes}
                write_manifest(folder, fields)
                publish_folder(checkpoint, folder)
            self._delete_old(step)
        except (UserError, OSError, SafetensorError) as error:
            log(self._step, f"a checkpoint could not be saved, training continues without it: {error}")
            with suppress(UserError):
                self._delete_old(step)
            return False
        return True

    def newest(self, folder: Path) -> int | None:
        """Download the newest intact checkpoint to `folder`/step-N and return N; None where there is none. Broken ones
        are deleted.

        Raises:
            UserError: it belongs to other inputs or another number of processes.
        """
        for step in self._complete(self._steps()):
            try:
                manifest = fetch_folder(self._checkpoint(step), folder / f"step-{step}")
            except (DamagedFolder, CorruptObject, KeyError):
                log(self._step, f"the checkpoint of step {step} is broken or not signed by our key, and is not used")
                self._checkpoint(step).delete()
            else:
                self._check_inputs(manifest)
                return step
        return None

    def fetch(self, step: int, folder: Path) -> Path:
        """Download the checkpoint that another process chose to `folder`/step-N.

        Raises:
            UserError: it is gone or broken.
        """
        target = folder / f"step-{step}"
        try:
            fetch_folder(self._checkpoint(step), target)
        except (DamagedFolder, CorruptObject, KeyError) as error:
            raise UserError(
                f"the checkpoint {self.prefix}/step-{step} is gone or broken: run again to resume"
            ) from error
        return target

    def _check_inputs(self, manifest: dict[str, Any]) -> None:
        checkpoint = f"the checkpoint {self.prefix}/step-{manifest['step']}"
        if manifest["inputs_digest"] != self._inputs_digest:
            raise UserError(f"{checkpoint} is of other settings, data or code: remove {self.prefix} to start afresh")
        if manifest["processes"] != self._processes:
            raise UserError(
                f"{checkpoint} was written by {manifest['processes']} processes, and now there are {self._processes}: "
                f"train with {manifest['processes']}, or remove {self.prefix} to start afresh"
            )

    def result(
        self, output: Path, usable: Callable[[dict[str, Any]], bool] = lambda record: True
    ) -> dict[str, Any] | None:
        """Download the cached output of this training.

        Args:
            output: folder to download to.
            usable: whether an output with this training.json is still valid; it is deleted otherwise.

        Returns:
            The content of its training.json; None where there is no intact, usable output.
        """
        for prefix in self._results():
            if not load_folder(self._store, prefix, output, self._step):
                continue
            record: dict[str, Any] = read_json(output / "training.json")
            if usable(record):
                self._write_result_location(prefix)
                self._delete_all()  # left by a pod that was killed after it had finished
                count = record["processes"]
                log(self._step, f"reusing the training by {count} process{'es' if count > 1 else ''} in "
                    f"{self._store.uri}/{prefix}")  # fmt: skip
                return record
            shutil.rmtree(output, ignore_errors=True)
            SealedFolder(self._store, prefix).delete()
        return None

    def finish(self, output: Path) -> None:
        """Cache the sealed output and delete the checkpoints. A store that refuses is only logged, since `output` is
        complete."""
        result = SealedFolder(self._store, f"{self._trained}/{read_json(output / MANIFEST)['digest'][7:23]}")
        try:
            if not result.exists():
                publish_folder(result, output)
            self._write_result_location(result.prefix)
        except UserError as error:
            if RESULT in os.environ:  # nobody takes `output` from the pod of a TrainJob
                raise
            log(self._step, f"cannot cache the training output in {self._trained}: {error}")
        else:
            self._delete_all()

    def _write_result_location(self, prefix: str) -> None:
        """Tell the step that waits for a TrainJob where the result is."""
        if RESULT in os.environ:
            publish(self._store, os.environ[RESULT], json.dumps({"trained": prefix}).encode())

    def _results(self) -> list[str]:
        """Prefixes of the complete outputs of this training."""
        keys = self._store.list(f"{self._trained}/")
        return [key.removesuffix(f"/{MANIFEST}") for key in keys if key.endswith(f"/{MANIFEST}")]

    def _checkpoint(self, step: int) -> SealedFolder:
        return SealedFolder(self._store, f"{self.prefix}/step-{step}")

    def _steps(self) -> dict[int, list[str]]:
        """Step -> names of its files."""
        steps: dict[int, list[str]] = {}
        for key in self._store.list(f"{self.prefix}/"):
            if match := re.fullmatch(r"step-(\d+)/(.+)", key.removeprefix(f"{self.prefix}/")):
                steps.setdefault(int(match[1]), []).append(match[2])
        return steps

    @staticmethod
    def _complete(steps: dict[int, list[str]]) -> list[int]:
        """Steps with a manifest, newest first."""
        return sorted((step for step, names in steps.items() if MANIFEST in names), reverse=True)

    def _delete_old(self, reached: int) -> None:
        """Delete all but the newest complete checkpoints. One without a manifest is left over from a killed process or
        a failed upload, unless its step is beyond `reached`: then another process may be writing it."""
        steps = self._steps()
        complete = self._complete(steps)
        for step in steps.keys() - set(complete[:_MAX_CHECKPOINTS]):
            if step in complete or step <= reached:
                self._checkpoint(step).delete()

    def _delete_all(self) -> None:
        try:
            for step in self._steps():
                self._checkpoint(step).delete()
        except UserError as error:  # the output is complete
            log(self._step, f"the checkpoints in {self.prefix} could not be removed: {error}")
