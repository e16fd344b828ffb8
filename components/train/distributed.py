"""`python -m components.train.distributed FILE`, started by torchrun: one of several processes that train together.

Plain data parallelism, in one pod or in several: each process holds the whole model and trains on its share of the
packs, and the gradients of what is trained are averaged (torch's DistributedDataParallel).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

import torch

from clinadapt.artifacts.hashing import read_json, write_json
from clinadapt.config.instruct import Instruct, Pretrain
from clinadapt.errors import EXIT_BAD_INPUT, EXIT_INTERRUPTED, UserError
from clinadapt.storage import open_store
from components.train import instruct, pretrain
from components.train.causal_trainer import first_process


def train_distributed(
    processes: int | None,
    stage: Literal["pretrain", "instruct"],
    splits: Path,
    output: Path,
    settings: Instruct | Pretrain,
    store_uri: str,
    base_model: str = "",
) -> dict[str, Any]:
    """Run pretrain or instruct in several processes, unless that very training is done; return what the stage's run
    returns, and nothing ({}) on a node that the first process is not on.

    Args:
        processes: one for each GPU; None joins the other nodes, where torchrun's environment says (PET_NNODES,
            PET_NPROC_PER_NODE, PET_NODE_RANK, PET_MASTER_ADDR, PET_MASTER_PORT).
        stage: `pretrain` or `instruct`.
        splits, output, settings, store_uri, base_model: as the stage's run takes them.

    Raises:
        UserError: as the stage's run does.
        KeyboardInterrupt: a signal asked to stop; the state is saved.
    """
    store = open_store(store_uri)
    if isinstance(settings, Pretrain):
        done = pretrain.trained(splits, output, settings, base_model, store)
    else:
        done = instruct.trained(splits, output, settings, store)
    if done:
        return done
    with tempfile.TemporaryDirectory(prefix="clinadapt-together-") as name:
        task, answer = Path(name) / "task.json", Path(name) / "answer.json"
        what = {"stage": stage, "settings": settings.model_dump(), "base_model": base_model, "store": store_uri}
        places = {"splits": str(splits), "output": str(output), "answer": str(answer)}
        write_json(task, what | places)
        alone = ["--standalone", f"--nproc-per-node={processes}"] if processes else []
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            *alone,
            "-m",
            "components.train.distributed",
            str(task),
        ]
        process = subprocess.Popen(command)
        try:
            status = process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise
        said = read_json(answer) if answer.exists() else {}
    if "error" in said:
        raise UserError(said["error"])
    if said.get("interrupted"):
        raise KeyboardInterrupt
    if status:
        raise RuntimeError(f"training in several processes ended with status {status}: see the log above")
    return said.get("facts", {})


def main(task: dict[str, Any]) -> None:
    """What each process does; the first one, or the one that fails, answers."""
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    answer = Path(task["answer"])
    splits, output, store = Path(task["splits"]), Path(task["output"]), open_store(task["store"])
    try:
        if task["stage"] == "pretrain":
            settings = Pretrain.model_validate(task["settings"])
            facts = pretrain.run(splits, output, settings, task["base_model"], store)
        else:
            facts = instruct.run(splits, output, Instruct.model_validate(task["settings"]), store)
    except UserError as error:
        write_json(answer, {"error": str(error)})
        raise SystemExit(EXIT_BAD_INPUT) from None
    except KeyboardInterrupt:
        write_json(answer, {"interrupted": True})
        raise SystemExit(EXIT_INTERRUPTED) from None
    if first_process():
        write_json(answer, {"facts": facts})


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
