"""Two processes train as one does: the same losses, the same adapter."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.artifacts.step_record import step
from clinadapt.config.base import Lora
from clinadapt.config.instruct import InstructTraining
from clinadapt.errors import UserError
from clinadapt.storage import open_store
from components.train import instruct
from components.train.distributed import train_distributed
from components.train.packing import pack_examples

HOW: dict[str, Any] = {
    "max_length": 400,
    "num_train_epochs": 2,
    "learning_rate": 2e-3,
    "precision": "fp32",
    "lora": Lora(r=4),
}


def test_two_processes_give_the_losses_and_the_adapter_of_one(
    instruct_splits: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    """One pack per process against two packs in one process, in 4 bits, by gloo. With an odd number of packs the last
    one would be trained twice, so that both processes have as many."""
    assert len(pack_examples(pq.read_table(instruct_splits / "train.parquet"), HOW["max_length"])) % 2 == 0
    store = open_store((tmp_path / "store").as_uri())
    settings = InstructTraining(base_model=tiny_llama.as_uri(), **HOW)
    two = train_distributed(2, instruct_splits, tmp_path / "two", settings, store.uri)
    one = instruct.run(
        instruct_splits, tmp_path / "one", settings.model_copy(update={"per_device_train_batch_size": 2})
    )
    assert len(one["curve"]) == len(two["curve"])
    for ours, theirs in zip(one["curve"], two["curve"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    alone, together = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("one", "two"))
    assert alone.keys() == together.keys()
    for name, weight in alone.items():
        assert (together[name] - weight).norm() <= 1e-2 * weight.norm().clamp_min(1e-3), name
    assert (
        read_json(tmp_path / "two" / MANIFEST)["base_digest"] == read_json(tmp_path / "one" / MANIFEST)["base_digest"]
    )
    assert store.list("checkpoints/") == []


def train_two(splits: Path, output: Path, settings: InstructTraining, store_uri: str, log: Path) -> None:
    """What the train step does with two GPUs."""
    with log.open("a", buffering=1) as sys.stderr:
        os.dup2(sys.stderr.fileno(), 2)  # the two processes write there too
        with step("train", store_uri):
            train_distributed(2, splits, output, settings, store_uri)


@pytest.mark.slow
def test_both_processes_stop_at_the_same_step_and_go_on_to_the_same_bytes(
    instruct_splits: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    settings = InstructTraining(
        base_model=tiny_llama.as_uri(), **HOW | {"num_train_epochs": 3, "early_stopping_patience": 3}
    )
    store, log = open_store((tmp_path / "store").as_uri()), tmp_path / "log.txt"
    context = multiprocessing.get_context("spawn")
    for status in (75, 0):
        arguments = (instruct_splits, tmp_path / "stopped", settings, store.uri, log)
        process = context.Process(target=train_two, args=arguments)
        process.start()
        if status:
            while not (log.exists() and "epoch 1/3" in log.read_text()):
                assert process.is_alive()
                time.sleep(0.02)
            os.kill(process.pid, signal.SIGTERM)
        process.join(300)
        assert process.exitcode == status
        assert bool(store.list("checkpoints/")) == bool(status)
    assert "resuming at step" in log.read_text()
    elsewhere = (tmp_path / "elsewhere").as_uri()
    train_distributed(2, instruct_splits, tmp_path / "undisturbed", settings, elsewhere)
    stopped, undisturbed = (
        (tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("stopped", "undisturbed")
    )
    assert stopped == undisturbed


def test_an_error_of_a_process_is_a_user_error(instruct_splits: Path, tiny_llama: Path, tmp_path: Path) -> None:
    settings = InstructTraining(base_model=tiny_llama.as_uri(), **HOW | {"max_length": 64})
    with pytest.raises(UserError, match="an example has 256 tokens and a pack holds 64"):
        train_distributed(2, instruct_splits, tmp_path / "out", settings, (tmp_path / "store").as_uri())
    assert not (tmp_path / "out").exists()
