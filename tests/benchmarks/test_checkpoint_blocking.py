"""How long a checkpoint blocks training: saved by a thread of its own, or by the training thread.

CLINADAPT_TEST_STORE=s3://bucket python -m pytest tests/benchmarks/test_checkpoint_blocking.py --benchmarks -s
The environment has the store's endpoint and keys; without CLINADAPT_TEST_STORE a folder is used.
MiniLM with LoRA of rank 16 and a checkpoint at every second step; CLINADAPT_ROUNDS (3) trainings of each kind,
alternating.
"""

import os
import time
import uuid

import numpy as np

from clinadapt.config.base import Lora
from clinadapt.config.classify import ClassifyTraining, Windows
from clinadapt.storage import open_store
from components.train.checkpoints import Checkpoints
from components.train.classify import run
from components.train.resumable_trainer import ResumableTrainer

ROUNDS = int(os.environ.get("CLINADAPT_ROUNDS", "3"))


def test_checkpoint_blocking(tmp_path, splits, monkeypatch):
    root = os.environ.get("CLINADAPT_TEST_STORE", (tmp_path / "store").as_uri()) + f"/blocking-{uuid.uuid4().hex[:8]}"
    settings = ClassifyTraining(
        base_model="builtin://minilm",
        lora=Lora(r=16),
        windows=Windows(max_length=64, max_windows=2),
        train_windows=1,
        precision="fp32",
        num_train_epochs=2,
        checkpoint_minutes=1e-6,
    )
    blocking = {"asynchronous": [], "synchronous": []}
    sizes, save, write = [], ResumableTrainer._save_checkpoint, Checkpoints._save

    def measured(checkpoints, step, state):
        def sized(folder):
            state(folder)
            sizes.append(sum(path.stat().st_size for path in folder.iterdir()))

        return write(checkpoints, step, sized)

    monkeypatch.setattr(Checkpoints, "_save", measured)
    for round_number in range(ROUNDS):
        for way, times in blocking.items():

            def timed(trainer, *arguments, way=way, times=times):
                if trainer.state.global_step % 2 or trainer.control.should_training_stop:
                    return
                trainer._checkpoints.wait()
                start = time.monotonic()
                save(trainer, *arguments)
                if way == "synchronous":
                    trainer._checkpoints.wait()
                times.append(1000 * (time.monotonic() - start))

            monkeypatch.setattr(ResumableTrainer, "_save_checkpoint", timed)
            run(splits, tmp_path / f"{way}-{round_number}", settings, open_store(f"{root}/{way}-{round_number}"))
    print(f"\n{np.mean(sizes) / 2**20:.1f} MiB per checkpoint; milliseconds that training is blocked")
    print("way            checkpoints   median     90 %      max")
    for way, times in blocking.items():
        print(f"{way:14} {len(times):11} {np.median(times):8.1f} {np.quantile(times, 0.9):8.1f} {max(times):8.1f}")
    assert np.median(blocking["asynchronous"]) < np.median(blocking["synchronous"])
