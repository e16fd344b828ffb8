"""Two nodes that join like the pods of a TrainJob train the same as one process."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ports import free_ports
from safetensors.torch import load_file
from support import quiet_environment
from warm_process import WarmProcess

from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST, list_files
from clinadapt.config.base import Lora
from clinadapt.config.instruct import InstructTraining, Llama, Pretraining
from clinadapt.config.nodes_task import NodesTask
from clinadapt.errors import UserError
from clinadapt.storage import open_store
from components.train import instruct, pretrain
from components.train.multi_node import fetch_folder

HOW: dict[str, Any] = {"max_length": 400, "num_train_epochs": 2, "learning_rate": 2e-3, "precision": "fp32"}


MODULE = "components.train.multi_node"


def start(task: NodesTask, folder: Path, ranks: tuple[int, ...] = (0, 1), cold: bool = False) -> list[Any]:
    """Both nodes, or one of them, with the environment that Kubeflow Trainer's torch runtime gives their pods; `cold`:
    their processes import what they need, as in a pod. Logs are appended."""
    folder.mkdir(exist_ok=True)
    rendezvous = {"PET_NNODES": "2", "PET_NPROC_PER_NODE": "1", "PET_MASTER_ADDR": "127.0.0.1"}
    rendezvous["PET_MASTER_PORT"] = str(free_ports())
    nodes: list[Any] = []
    for rank in ranks:
        environment = quiet_environment() | rendezvous | {"PET_NODE_RANK": str(rank), "OMP_NUM_THREADS": "1"}
        log = folder / f"node-{rank}.txt"
        if cold:
            command = [sys.executable, "-m", MODULE, task.model_dump_json()]
            nodes.append(subprocess.Popen(command, stderr=log.open("a"), env=environment))
        else:
            nodes.append(WarmProcess(MODULE, [task.model_dump_json()], environment, log, log))
    return nodes


def finish(nodes: list[Any]) -> list[int]:
    """Exit statuses."""
    try:
        return [node.wait(900) for node in nodes]
    finally:
        for node in nodes:
            node.kill()


def logs(folder: Path) -> str:
    return "".join(path.read_text() for path in sorted(folder.iterdir()))


def folder_of(uri: str) -> Path:
    return Path(uri.removeprefix("file://"))


def trained(task: NodesTask) -> Path:
    """Where the one result is."""
    (path,) = folder_of(task.store).glob(f"trained/*/*/{MANIFEST}")
    return path.parent


@pytest.fixture
def task(instruct_splits: Path, tiny_llama: Path, tmp_path: Path) -> NodesTask:
    settings = InstructTraining(base_model=tiny_llama.as_uri(), lora=Lora(r=4), **HOW)
    store = (tmp_path / "store").as_uri()
    return NodesTask(splits=instruct_splits.as_uri(), store=store, settings=settings)


def test_two_nodes_give_the_losses_and_the_adapter_of_one_which_the_pipeline_takes(
    task: NodesTask, instruct_splits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finish(start(task, tmp_path / "logs", cold=True)) == [0, 0], logs(tmp_path / "logs")
    one = tmp_path / "one"
    alone = instruct.run(instruct_splits, one, task.settings.model_copy(update={"per_device_train_batch_size": 2}))
    two = trained(task)
    together = read_json(two / "training.json")
    assert len(alone["curve"]) == len(together["curve"])
    for ours, theirs in zip(alone["curve"], together["curve"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    weights, others = (load_file(folder / "adapter_model.safetensors") for folder in (one, two))
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        assert (others[name] - weight).norm() <= 1e-2 * weight.norm().clamp_min(1e-3), name
    manifest = read_json(two / MANIFEST)
    assert manifest["files"] == list_files(two)
    assert manifest["splits_digest"] == read_json(instruct_splits / MANIFEST)["digest"]
    assert open_store(task.store).list("checkpoints/") == []
    done = f"reusing the training by 2 processes in {task.store}/trained/"
    assert finish(start(task, tmp_path / "logs", ranks=(1,))) == [0]  # a pod retried alone has no peer
    assert logs(tmp_path / "logs").count(done) == 1
    assert instruct.run(instruct_splits, tmp_path / "pipeline", task.settings, open_store(task.store)) == together
    assert done in capsys.readouterr().err and list_files(tmp_path / "pipeline") == list_files(two)


@pytest.mark.slow
def test_two_nodes_pretrain_the_base_of_one(instruct_splits: Path, task: NodesTask, tmp_path: Path) -> None:
    shape = Llama(
        hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2
    )
    settings = Pretraining(llama=shape, **HOW | {"max_length": 336})
    task = task.model_copy(update={"settings": settings, "base_model": "builtin://llama"})
    assert finish(start(task, tmp_path / "logs")) == [0, 0], logs(tmp_path / "logs")
    together = read_json(trained(task) / "training.json")
    assert together["packs"] % 2 == 0  # of an odd number of packs the second process repeats one
    store = open_store((tmp_path / "alone").as_uri())
    halved = settings.model_copy(update={"per_device_train_batch_size": 2})
    alone = pretrain.run(instruct_splits, tmp_path / "one", halved, "builtin://llama", store)
    for ours, theirs in zip(alone["curve"], together["curve"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)
    assert together["uri"].startswith(f"{task.store}/bases/") and (folder_of(together["uri"]) / MANIFEST).is_file()
    assert f"--base-model {together['uri']}" in logs(tmp_path / "logs")


@pytest.mark.slow
def test_a_drained_node_stops_both_and_they_resume(task: NodesTask, tmp_path: Path) -> None:
    task = task.model_copy(
        update={"settings": task.settings.model_copy(update={"num_train_epochs": 6, "early_stopping_patience": 6})}
    )
    folder = tmp_path / "logs"
    nodes = start(task, folder)
    while "epoch 1/6" not in logs(folder):
        assert all(node.poll() is None for node in nodes), logs(folder)
        time.sleep(0.05)
    nodes[1].send_signal(signal.SIGTERM)
    assert finish(nodes) == [75, 75], logs(folder)
    assert open_store(task.store).list("checkpoints/") and not open_store(task.store).list("trained/")
    assert finish(start(task, folder)) == [0, 0], logs(folder)
    assert "resuming at step" in logs(folder) and (trained(task) / MANIFEST).exists()


def test_splits_that_are_not_what_format_wrote_are_refused(
    task: NodesTask, instruct_splits: Path, tmp_path: Path
) -> None:
    changed = shutil.copytree(instruct_splits, tmp_path / "changed")
    with (changed / "validation.parquet").open("ab") as file:
        file.write(b"0")
    refused = task.model_copy(update={"splits": changed.as_uri()})
    assert finish(start(refused, tmp_path / "logs", ranks=(0,))) == [2]  # before it waits for the other
    assert "is not what format wrote (validation.parquet" in logs(tmp_path / "logs")
    with pytest.raises(UserError, match="is not a folder that format wrote"):
        fetch_folder(tmp_path.as_uri(), tmp_path / "other", "format")
    assert not open_store(task.store).list("trained/")


def test_an_invalid_task_is_one_line(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert WarmProcess(MODULE, ['{"splits": "s3://a/b"}'], quiet_environment(), log, log).wait() == 2
    assert "error: invalid task (store: field required)" in log.read_text()
    assert "Traceback" not in log.read_text()
