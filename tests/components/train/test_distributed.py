"""Two processes train as one does: the same losses, the same adapter."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file
from warm_process import fork_what_is_started, forkserver

from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.artifacts.step_record import step
from clinadapt.config.base import Lora
from clinadapt.config.instruct import InstructTraining
from clinadapt.storage import open_store
from clinadapt.storage.object_store import Store
from components.train import instruct
from components.train.distributed import train_distributed
from components.train.packing import pack_examples

HOW: dict[str, Any] = {
    "max_length": 400,
    "num_train_epochs": 3,
    "early_stopping_patience": 3,
    "learning_rate": 2e-3,
    "precision": "fp32",
    "lora": Lora(r=4),
}


class Together(NamedTuple):
    """A training by two processes: its settings, report, output and store."""

    settings: InstructTraining
    report: dict[str, Any]
    output: Path
    store: Store


@pytest.fixture(scope="module")
def together(instruct_splits: Path, tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Together:
    folder = tmp_path_factory.mktemp("together")
    store = open_store((folder / "store").as_uri())
    settings = InstructTraining(base_model=tiny_llama.as_uri(), **HOW)
    report = train_distributed(2, instruct_splits, folder / "two", settings, store.uri)
    return Together(settings, report, folder / "two", store)


def test_two_processes_give_the_losses_and_the_adapter_of_one(
    together: Together, instruct_splits: Path, tmp_path: Path
) -> None:
    """One pack per process against two packs in one process, in 4 bits, by gloo. With an odd number of packs the last
    one would be trained twice, so that both processes have as many."""
    assert len(pack_examples(pq.read_table(instruct_splits / "train.parquet"), HOW["max_length"])) % 2 == 0
    halved = together.settings.model_copy(update={"per_device_train_batch_size": 2})
    one = instruct.run(instruct_splits, tmp_path / "one", halved)
    assert len(one["curve"]) == len(together.report["curve"])
    for ours, theirs in zip(one["curve"], together.report["curve"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    alone, shared = (load_file(path / "adapter_model.safetensors") for path in (tmp_path / "one", together.output))
    assert alone.keys() == shared.keys()
    for name, weight in alone.items():
        assert (shared[name] - weight).norm() <= 1e-2 * weight.norm().clamp_min(1e-3), name
    bases = {read_json(path / MANIFEST)["base_digest"] for path in (tmp_path / "one", together.output)}
    assert len(bases) == 1 and together.store.list("checkpoints/") == []


def train_two(splits: Path, output: Path, settings: InstructTraining, store_uri: str, log: Path) -> None:
    """What the train step does with two GPUs."""
    fork_what_is_started()
    with log.open("a", buffering=1) as sys.stderr:
        os.dup2(sys.stderr.fileno(), 2)  # the two processes write there too
        with step("train", store_uri):
            train_distributed(2, splits, output, settings, store_uri)


def start(*arguments: Any) -> Any:
    process = forkserver().Process(target=train_two, args=arguments)  # type: ignore[attr-defined]
    process.start()
    return process


@pytest.mark.slow
def test_both_processes_stop_at_the_same_step_and_go_on_to_the_same_bytes(
    together: Together, instruct_splits: Path, tmp_path: Path
) -> None:
    store, log = open_store((tmp_path / "store").as_uri()), tmp_path / "log.txt"
    for status in (75, 0):
        process = start(instruct_splits, tmp_path / "stopped", together.settings, store.uri, log)
        if status:
            while not (log.exists() and "epoch 1/3" in log.read_text()):
                assert process.is_alive()
                time.sleep(0.02)
            os.kill(process.pid, signal.SIGTERM)
        process.join(300)
        assert process.exitcode == status
        assert bool(store.list("checkpoints/")) == bool(status)
    assert "resuming at step" in log.read_text()
    stopped, undisturbed = (
        (folder / "adapter_model.safetensors").read_bytes() for folder in (tmp_path / "stopped", together.output)
    )
    assert stopped == undisturbed


def test_an_error_of_a_process_is_a_user_error(instruct_splits: Path, tiny_llama: Path, tmp_path: Path) -> None:
    settings = InstructTraining(base_model=tiny_llama.as_uri(), **HOW | {"max_length": 64})
    process = start(instruct_splits, tmp_path / "out", settings, (tmp_path / "store").as_uri(), tmp_path / "log.txt")
    process.join(300)
    assert process.exitcode == 2
    assert "error: an example has 256 tokens and a pack holds 64" in (tmp_path / "log.txt").read_text()
    assert not (tmp_path / "out").exists()
