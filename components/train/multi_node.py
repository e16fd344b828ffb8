"""`python -m components.train.multi_node TASK` (a NodesTask, as JSON): the command of each pod of a TrainJob.

Each node downloads the splits and joins the others by torchrun, whose environment Kubeflow Trainer's torch runtime
sets. The result goes to trained/ in the store, where the pipeline's training step finds it (see checkpoints.py).
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from clinadapt.artifacts.manifest import MANIFEST, DamagedFolder
from clinadapt.artifacts.sealed_folder import SealedFolder
from clinadapt.artifacts.step_record import log, step
from clinadapt.config.base import first_error
from clinadapt.config.classify import ClassifyTraining
from clinadapt.config.instruct import Pretraining
from clinadapt.config.nodes_task import NodesTask
from clinadapt.errors import EXIT_BAD_INPUT, UserError
from clinadapt.kubernetes.trainjobs import result_key
from clinadapt.storage import open_store
from components.train import classify
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
    name = "pretrain" if isinstance(task.settings, Pretraining) else "train"
    os.environ[RESULT] = result_key(task)
    with step(name, task.store) as outputs:
        check_gpu()
        with tempfile.TemporaryDirectory(prefix="clinadapt-nodes-") as scratch:
            splits, output = Path(scratch) / "splits", Path(scratch) / "output"
            fetch_splits(task.splits, splits)
            training = _train(task, splits, output)
            if training:
                outputs |= step_summary(training)
                log(name, f"validation loss {outputs['best_validation_loss']:.4f}, "
                    f"{training['tokens_per_second']:,.0f} tokens a second")  # fmt: skip
                if name == "pretrain":
                    log(name, f"continue with --base-model {training['uri']}")


def _train(task: NodesTask, splits: Path, output: Path) -> dict[str, Any]:
    """The content of training.json; empty on a node without the first process. classify trains in one process."""
    if isinstance(task.settings, ClassifyTraining):
        return classify.run(splits, output, task.settings, open_store(task.store))
    return train_distributed(None, splits, output, task.settings, task.store, task.base_model)


def fetch_splits(uri: str, folder: Path) -> None:
    """Download and verify the splits at a URI.

    Raises:
        UserError: there are none, or a file is not what format wrote.
    """
    if uri.startswith("minio://"):  # Kubeflow Pipelines' name for the store at AWS_ENDPOINT_URL_S3
        uri = f"s3://{uri.removeprefix('minio://')}"
    root, _, prefix = uri.rstrip("/").rpartition("/")
    splits = SealedFolder(open_store(root), prefix)
    if not splits.exists():
        raise UserError(f"{uri} is not a folder that format wrote: its {MANIFEST} is missing")
    try:
        splits.fetch(folder)
    except (DamagedFolder, KeyError) as error:
        raise UserError(f"{uri} is not what format wrote ({error}): run format again") from error


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
