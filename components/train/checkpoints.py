"""A training in the store: its state, saved while it goes on and found again, and what it came to.

checkpoints/<key>/step-N/...    a checkpoint
trained/<key>/<digest>/...      the folder that the training wrote; its checkpoints go when it is there. Two that end at
                                the same moment have one each

Each exists once its manifest.json is there, which is written last. The key is a digest of what decides the training:
the same training finds its own, another one never does. So a pod that is lost before its outputs are uploaded loses
nothing, what a TrainJob has trained is there for the pipeline, and nothing is trained twice.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from clinadapt.artifacts.artifact_cache import find_folder
from clinadapt.artifacts.code_version import code_version, library_versions
from clinadapt.artifacts.hashing import read_json, sha256_json
from clinadapt.artifacts.manifest import MANIFEST, list_files
from clinadapt.artifacts.step_record import log
from clinadapt.config.base import Precision, decisive
from clinadapt.config.classify import Train
from clinadapt.config.instruct import TrainingSettings
from clinadapt.errors import UserError
from clinadapt.models.devices import device
from clinadapt.storage.object_store import Conflict, CorruptObject, Store
from clinadapt.storage.transfer import delete_folder, download_folder, upload_folder

_KEPT = 2


def decides(
    step: str, splits_digest: str, base_digest: str, settings: Train | TrainingSettings, precision: Precision
) -> dict[str, Any]:
    """All that decides the bytes that a training ends with, on the same processor with as many threads and processes:
    how many processes there were, a result says of itself."""
    return {
        "step": step,
        "splits": splits_digest,
        "base": base_digest,
        "settings": decisive(settings),
        "precision": precision,
        "device": device().type,
        "code": code_version(f"components.train.{'dpo' if step == 'prefer' else step}"),
        "libraries": library_versions(),
    }


class Checkpoints:
    """The checkpoints of one training."""

    def __init__(self, store: Store, decides: dict[str, Any], processes: int) -> None:
        """
        Args:
            store: where they are kept.
            decides: all that decides the training, as JSON.
            processes: how many train together.
        """
        self._store, self._processes = store, processes
        self._digest = sha256_json(decides)
        key = self._digest[7:23]
        self.prefix, self._trained = f"checkpoints/{key}", f"trained/{key}"
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._upload: Future[bool] | None = None

    def busy(self) -> bool:
        """Whether an upload is in flight."""
        return self._upload is not None and not self._upload.done()

    def save(self, step: int, write: Callable[[Path], None]) -> None:
        """Begin to save a checkpoint and return; wait for the one in flight first.

        Args:
            step: how many steps of the optimiser are done.
            write: writes the state into a folder; called from another thread.
        """
        self.wait()
        self._upload = self._worker.submit(self._save, step, write)

    def wait(self) -> bool:
        """Wait for the upload in flight; return whether the last one arrived."""
        return self._upload is not None and self._upload.result()

    def _save(self, step: int, write: Callable[[Path], None]) -> bool:
        place = f"{self.prefix}/step-{step}"
        try:
            if self._store.exists(f"{place}/{MANIFEST}"):  # a pod given up for lost trains on
                return True
            with tempfile.TemporaryDirectory(prefix="clinadapt-checkpoint-") as name:
                write(Path(name))
                upload_folder(self._store, Path(name), place)
                manifest = {"step": step, "decided_by": self._digest, "processes": self._processes}
                manifest["files"] = files = list_files(Path(name))
            manifest["digest"] = sha256_json(manifest)
            if files.keys() - set(self._steps().get(step, [])):
                raise UserError("another process of this training has removed its files")
            with suppress(Conflict):
                self._store.put(f"{place}/{MANIFEST}", json.dumps(manifest, indent=2).encode(), if_absent=True)
            self._remove_old(step)
        except (UserError, OSError, SafetensorError) as error:
            log("train", f"a checkpoint could not be saved, training goes on without it: {error}")
            with suppress(UserError):
                self._remove_old(step)
            return False
        return True

    def newest(self, folder: Path) -> Path | None:
        """Download the newest checkpoint that is what its manifest says, or the one before; None where there is none.

        A broken one is removed.

        Raises:
            UserError: it is of a training by other settings or by another number of processes.
        """
        for step in self._complete(self._steps()):
            target = folder / f"step-{step}"
            with suppress(CorruptObject, KeyError):
                download_folder(self._store, f"{self.prefix}/step-{step}", target)
            if manifest := _verified(target):
                self._refuse_another(manifest)
                return target
            log("train", f"the checkpoint of step {step} is broken and is not used")
            self._delete(step)
        return None

    def _refuse_another(self, manifest: dict[str, Any]) -> None:
        where = f"the checkpoint {self.prefix}/step-{manifest['step']}"
        if manifest["decided_by"] != self._digest:
            raise UserError(f"{where} is of other settings, data or code: remove {self.prefix} to start afresh")
        if manifest["processes"] != self._processes:
            raise UserError(
                f"{where} was written by {manifest['processes']} processes and {self._processes} train now: "
                f"train with {manifest['processes']}, or remove {self.prefix} to start afresh"
            )

    def result(
        self, output: Path, usable: Callable[[dict[str, Any]], bool] = lambda facts: True
    ) -> dict[str, Any] | None:
        """What this very training came to before, downloaded to `output`: the content of its training.json; None where
        it has not been done, or what is there is damaged or no longer usable. Then that is removed.
        """
        for place in self._results():
            if not find_folder(self._store, place, output, "train"):
                continue
            facts: dict[str, Any] = read_json(output / "training.json")
            if usable(facts):
                self._delete_all()  # of one that was killed between its result and this
                by = f"by {facts['processes']} process{'es'[: 2 * (facts['processes'] > 1)]}"
                log("train", f"this very training is done already, {by}: taken from {self._store.uri}/{place}")
                return facts
            shutil.rmtree(output, ignore_errors=True)
            delete_folder(self._store, place)
        return None

    def finish(self, output: Path) -> None:
        """Keep the sealed folder that was trained, and remove the checkpoints. Where the store refuses, it is told:
        `output` is there, which matters more."""
        try:
            place = f"{self._trained}/{read_json(output / MANIFEST)['digest'][7:23]}"
            if not self._store.exists(f"{place}/{MANIFEST}"):
                upload_folder(self._store, output, place)
        except UserError as error:
            log("train", f"what was trained could not be kept in {self._trained}: {error}")
        else:
            self._delete_all()

    def _results(self) -> list[str]:
        """Where the whole folders are that this training came to."""
        keys = self._store.list(f"{self._trained}/")
        return [key.removesuffix(f"/{MANIFEST}") for key in keys if key.endswith(f"/{MANIFEST}")]

    def _steps(self) -> dict[int, list[str]]:
        """Step -> names of the files that are there."""
        found: dict[int, list[str]] = {}
        for key in self._store.list(f"{self.prefix}/"):
            if match := re.fullmatch(r"step-(\d+)/(.+)", key.removeprefix(f"{self.prefix}/")):
                found.setdefault(int(match[1]), []).append(match[2])
        return found

    @staticmethod
    def _complete(steps: dict[int, list[str]]) -> list[int]:
        """Those with a manifest, newest first."""
        return sorted((step for step, names in steps.items() if MANIFEST in names), reverse=True)

    def _remove_old(self, reached: int) -> None:
        """Keep the newest complete ones. What has no manifest is left over from a killed process, or from a save that
        failed; what lies beyond the step that was reached, another process may be writing."""
        steps = self._steps()
        complete = self._complete(steps)
        for step in steps.keys() - set(complete[:_KEPT]):
            if step in complete or step <= reached:
                self._delete(step)

    def _delete_all(self) -> None:
        try:
            for step in self._steps():
                self._delete(step)
        except UserError as error:  # what was trained is there, which matters more
            log("train", f"the checkpoints in {self.prefix} could not be removed: {error}")

    def _delete(self, step: int) -> None:
        delete_folder(self._store, f"{self.prefix}/step-{step}")


def _verified(folder: Path) -> dict[str, Any] | None:
    """The manifest of a downloaded checkpoint, or None where a byte of it or of the files differs."""
    try:
        manifest = read_json(folder / MANIFEST)
    except (OSError, ValueError):
        return None
    digest = manifest.pop("digest", None)
    return manifest if digest == sha256_json(manifest) and manifest["files"] == list_files(folder) else None
