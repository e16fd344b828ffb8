"""Data-parallel training in several processes, on one node or several, launched by torchrun.

Each process holds the whole model and trains on its share of the packs, and the gradients of the trained parameters are
averaged (torch's DistributedDataParallel). `train_distributed` writes the task to task.json and launches
`python -m components.train.distributed task.json` in every process; the first one, or one that fails, writes
result.json: {"training": content of training.json}, {"error": message} or {"interrupted": true}.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from clinadapt.artifacts.hashing import read_json, write_json
from clinadapt.config.instruct import InstructTraining, Pretraining
from clinadapt.errors import EXIT_BAD_INPUT, EXIT_INTERRUPTED, UserError
from clinadapt.storage import open_store
from components.train import instruct, pretrain
from components.train.stage import first_process

_LOOK_SECONDS = 15  # between two looks at the store of a node that waits for the others


def train_distributed(
    processes: int | None,
    splits: Path,
    output: Path,
    settings: InstructTraining | Pretraining,
    store_uri: str,
    base_model: str = "",
) -> dict[str, Any]:
    """Run pretrain or instruct in several processes, which take the result of the same training where the store has it.

    Args:
        processes: one for each GPU; None joins the other nodes by torchrun's environment (PET_NNODES,
            PET_NPROC_PER_NODE, PET_NODE_RANK, PET_MASTER_ADDR, PET_MASTER_PORT).
        splits, output, settings, store_uri, base_model: see the run function of the stage.

    Returns:
        The content of training.json; empty on a node without the first process.

    Raises:
        UserError: see the run function of the stage.
        KeyboardInterrupt: a signal stopped the training; the state is saved.
    """
    store = open_store(store_uri)

    def existing() -> dict[str, Any] | None:
        if isinstance(settings, Pretraining):
            return pretrain.existing_result(splits, output, settings, base_model, store)
        return instruct.existing_result(splits, output, settings, store)

    with tempfile.TemporaryDirectory(prefix="clinadapt-distributed-") as folder:
        task, result, met = (Path(folder) / name for name in ("task.json", "result.json", "met"))
        write_json(
            task,
            {
                "stage": "pretrain" if isinstance(settings, Pretraining) else "instruct",
                "settings": settings.model_dump(),
                "base_model": base_model,
                "store": store_uri,
                "splits": str(splits),
                "output": str(output),
                "result": str(result),
                "met": str(met),
            },
        )
        status = _launch(processes, task, met, existing)
        if status is None:
            return read_json(output / "training.json")
        outcome = read_json(result) if result.exists() else {}
    if "error" in outcome:
        raise UserError(outcome["error"])
    if outcome.get("interrupted"):
        raise KeyboardInterrupt
    if status:
        raise RuntimeError(f"distributed training ended with exit status {status}: see the log above")
    training: dict[str, Any] = outcome.get("training", {})
    return training


def _launch(processes: int | None, task: Path, met: Path, existing: Callable[[], Any]) -> int | None:
    """Run torchrun and return its exit status; pass an interrupt on to it.

    A pod that came back alone, after the others had finished, meets nobody. While it waits it looks for their result:
    None where that is in the store.

    Args:
        processes: as of train_distributed.
        task: task.json.
        met: file that the processes write when all nodes have met; from then on the first process decides.
        existing: downloads the result of the same training.
    """
    nodes = ["--standalone", f"--nproc-per-node={processes}"] if processes else []
    module = ["-m", "components.train.distributed", str(task)]
    process = subprocess.Popen([sys.executable, "-m", "torch.distributed.run", *nodes, *module])
    try:
        while True:
            with suppress(subprocess.TimeoutExpired):
                return process.wait(None if processes or met.exists() else _LOOK_SECONDS)
            if not met.exists() and existing() and not met.exists():
                process.terminate()
                process.wait()
                return None
    except KeyboardInterrupt:
        process.send_signal(signal.SIGTERM)
        process.wait()
        raise


def main(task: dict[str, Any]) -> None:
    """Entry point of each process; `task` is the content of task.json."""
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    result = Path(task["result"])
    Path(task["met"]).touch()
    splits, output, store = Path(task["splits"]), Path(task["output"]), open_store(task["store"])
    try:
        if task["stage"] == "pretrain":
            settings = Pretraining.model_validate(task["settings"])
            training = pretrain.run(splits, output, settings, task["base_model"], store)
        else:
            training = instruct.run(splits, output, InstructTraining.model_validate(task["settings"]), store)
    except UserError as error:
        write_json(result, {"error": str(error)})
        raise SystemExit(EXIT_BAD_INPUT) from None
    except KeyboardInterrupt:
        write_json(result, {"interrupted": True})
        raise SystemExit(EXIT_INTERRUPTED) from None
    if first_process():
        write_json(result, {"training": training})


if __name__ == "__main__":
    main(read_json(Path(sys.argv[1])))
