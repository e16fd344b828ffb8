"""`python -m components.train.multi_node TASK` (a NodesTask, as JSON): the command of each pod of a TrainJob.

Each node downloads the splits and joins the others by torchrun, whose environment Kubeflow Trainer's torch runtime
sets. The result goes to trained/ in the store, where the pipeline's training step finds it (see checkpoints.py).
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from clinadapt.artifacts.manifest import MANIFEST, DamagedFolder
from clinadapt.artifacts.sealed_folder import SealedFolder
from clinadapt.artifacts.step_record import log, step
from clinadapt.config.base import first_error
from clinadapt.config.classify import ClassifyTraining
from clinadapt.config.instruct import PreferenceTraining
from clinadapt.config.nodes_task import NodesTask
from clinadapt.config.steps import Step
from clinadapt.errors import EXIT_BAD_INPUT, UserError
from clinadapt.kubernetes.trainjobs import result_key
from clinadapt.storage import open_store
from components.train import classify, dpo
from components.train.checkpoints import RESULT
from components.train.distributed import train_distributed
from components.train.progress import check_gpu
from components.train.summary import step_summary


def run(task: NodesTask) -> None:
    """Train on this node together with the others, unless the store has the result of the same training.

    Raises:
        UserError: the splits are incomplete or changed; or see the run function of the stage.
        KeyboardInterrupt: a signal stopped the training; the state is saved.
    """
    name = task.step
    os.environ[RESULT] = result_key(task)
    with step(name, task.store) as outputs:
        check_gpu()
        with tempfile.TemporaryDirectory(prefix="clinadapt-nodes-") as scratch:
            splits, output = Path(scratch) / "splits", Path(scratch) / "output"
            fetch_folder(task.splits, splits, "format", task.digests[:1])
            training = _train(task, splits, output)
            if training:
                outputs |= _summary(name, training)


def _summary(name: Step, training: dict[str, Any]) -> dict[str, Any]:
    """Costs and figures of a finished training, which are logged too."""
    if name == "prefer":
        preference = training["preference"]
        log(name, f"{preference['pairs']:,} pairs in {preference['seconds']:.0f} s")
        return {field: preference[field] for field in ("pairs", "seconds")}
    summary = step_summary(training)
    loss = summary["best_validation_loss"]
    log(name, f"validation loss {loss:.4f}, {training['tokens_per_second']:,.0f} tokens a second")
    if name == "pretrain":
        log(name, f"continue with --base-model {training['uri']}")
    return summary


def _train(task: NodesTask, splits: Path, output: Path) -> dict[str, Any]:
    """The content of training.json; empty on a node without the first process. classify and prefer have one process."""
    if isinstance(task.settings, ClassifyTraining):
        return classify.run(splits, output, task.settings, open_store(task.store))
    if isinstance(task.settings, PreferenceTraining):
        adapter = splits.with_name("adapter")
        fetch_folder(task.adapter, adapter, "train", task.digests[1:])
        return dpo.run(splits, adapter, output, task.settings, open_store(task.store))
    return train_distributed(None, splits, output, task.settings, task.store, task.base_model)


def fetch_folder(uri: str, folder: Path, step: str, digests: Sequence[str] = ()) -> None:
    """Download and verify what a step wrote at a URI; `digests`: its own, where it is known.

    Raises:
        UserError: there is nothing, or a file is not what the step wrote.
    """
    if uri.startswith("minio://"):  # Kubeflow Pipelines' name for the store at AWS_ENDPOINT_URL_S3
        uri = f"s3://{uri.removeprefix('minio://')}"
    root, _, prefix = uri.rstrip("/").rpartition("/")
    sealed = SealedFolder(open_store(root), prefix)
    if not sealed.exists():
        raise UserError(f"{uri} is not a folder that {step} wrote: its {MANIFEST} is missing")
    try:
        manifest = sealed.fetch(folder)
        if digests and manifest["digest"] not in digests:
            raise DamagedFolder(MANIFEST, "is that of another folder")
    except (DamagedFolder, KeyError) as error:
        raise UserError(f"{uri} is not what {step} wrote ({error}): run {step} again") from error


def main() -> None:
    """Entry point; the only argument is the task."""
    try:
        task = NodesTask.model_validate_json(sys.argv[1])
    except ValidationError as error:
        log("train", f"error: invalid task ({first_error(error)}): render it again with clinadapt trainjob")
        raise SystemExit(EXIT_BAD_INPUT) from None
    run(task)


if __name__ == "__main__":
    main()
