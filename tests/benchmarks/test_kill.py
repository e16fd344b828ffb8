"""Kill a training with SIGKILL at random moments: the resumed training has to end with the bytes of an undisturbed one.

CLINADAPT_TEST_STORE=s3://bucket python -m pytest tests/benchmarks/test_kill.py --benchmarks -s
The environment has the store's endpoint and keys; without CLINADAPT_TEST_STORE a folder is used.
CLINADAPT_ROUNDS (50) rounds of three kills, of which the second waits until an upload is in flight.
"""

import multiprocessing
import os
import random
import re
import threading
import time
import uuid
from collections import Counter

from support import incomplete, train_in_process

from clinadapt.artifacts.manifest import MANIFEST, list_files
from clinadapt.config.base import Lora
from clinadapt.config.classify import ClassifyTraining, Windows
from clinadapt.storage import open_store

ROUNDS = int(os.environ.get("CLINADAPT_ROUNDS", "50"))
KILLS = 3


def test_kill(tmp_path, tiny_llama, splits):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["components.train.classify", "support"])
    root = os.environ.get("CLINADAPT_TEST_STORE", (tmp_path / "store").as_uri()) + f"/kill-{uuid.uuid4().hex[:8]}"
    settings = ClassifyTraining(base_model=tiny_llama.as_uri(), lora=Lora(lora_dropout=0.1),
                     windows=Windows(max_length=64, max_windows=4),
                     train_windows=1, precision="fp32", num_train_epochs=3, checkpoint_minutes=1e-6)  # fmt: skip
    draw, counts = random.Random(0), Counter()

    def attempt(name, store):
        process = context.Process(
            target=train_in_process, args=(splits, tmp_path / name, settings, store.uri, tmp_path / f"{name}.txt")
        )
        process.start()
        return process

    attempt("warm", open_store(f"{root}/warm")).join()
    start = time.monotonic()
    attempt("undisturbed", open_store(f"{root}/undisturbed")).join()
    seconds = time.monotonic() - start
    expected = weights(tmp_path / "undisturbed")
    for number in range(ROUNDS):
        name, store = f"round-{number}", open_store(f"{root}/round-{number}")
        with Watcher(store) as watcher:
            for kill in range(KILLS):
                process = attempt(name, store)
                wait(process, store, draw.uniform(0, seconds), in_upload=kill == 1)
                process.kill()
                process.join()
                counts[f"kill {kill + 1}: {'killed' if process.exitcode else 'had finished'}"] += 1
                if not process.exitcode:
                    break
            else:
                attempt(name, store).join()
        counts["resumed"] += len(re.findall("resuming at step", (tmp_path / f"{name}.txt").read_text()))
        counts["looks"] += watcher.looks
        counts["manifests seen"] += watcher.seen
        counts["half-written"] += len(watcher.wrong)
        counts["checkpoints not removed"] += len(store.list("checkpoints/"))
        counts["same bytes"] += weights(tmp_path / name) == expected
        print(f"round {number + 1} of {ROUNDS}: {dict(counts)}", flush=True)
    assert counts["same bytes"] == ROUNDS
    assert counts["half-written"] == counts["checkpoints not removed"] == 0


def weights(folder):
    assert (folder / MANIFEST).exists()
    return list_files(folder)["adapter_model.safetensors"]["sha256"]


def wait(process, store, seconds, in_upload):
    """Wait for `seconds` or the end of the training; then, with `in_upload`, for an upload in flight."""
    process.join(seconds)
    while in_upload and process.is_alive():
        keys = store.list("checkpoints/")
        folders = {key.rpartition("/")[0] for key in keys}
        if any(f"{folder}/{MANIFEST}" not in keys for folder in folders):
            return


class Watcher(threading.Thread):
    """Lists the store repeatedly and compares every manifest with its files."""

    def __init__(self, store):
        super().__init__(daemon=True)
        self._store, self._done = store, threading.Event()
        self.looks, self.seen, self.wrong = 0, 0, []

    def run(self):
        while not self._done.is_set():
            keys = [*self._store.list("checkpoints/"), *self._store.list("trained/")]
            self.seen += sum(key.endswith(MANIFEST) for key in keys)
            self.wrong += incomplete(self._store)
            self.looks += 1
            time.sleep(0.05)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self.join()
