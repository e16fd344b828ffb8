"""Concurrent publishers and promoters of one adapter, one process each; for the test and the benchmark."""

from __future__ import annotations

import multiprocessing as mp
import os
import random
from multiprocessing.synchronize import Barrier
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from clinadapt.artifacts.hashing import write_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.artifacts.sealed_folder import SealedFolder
from clinadapt.artifacts.signing import sign_manifest
from clinadapt.errors import UserError
from clinadapt.registry.champion import champion, history, promote
from clinadapt.registry.promotion import promote_manually
from clinadapt.registry.versions import version_ids
from clinadapt.storage import open_store
from clinadapt.storage.object_store import Store

NAME = "raced"
ACCURACY = {"value": 0.7, "low": 0.6, "high": 0.8}


def race(store: Store, publishers: int, promoters: int, rounds: int) -> dict[str, int]:
    """Start all at the same moment in each round, and check the store after it.

    Returns:
        numbers of rounds, versions, successful and failed promotions.

    Raises:
        AssertionError: the history has a gap or a fork, a version is incomplete, or a successful promotion is missing.
    """
    context = mp.get_context("spawn")
    start, end = (context.Barrier(publishers + promoters + 1) for _ in range(2))
    answers: Any = context.Queue()
    workers = [
        context.Process(target=_worker, args=(number, number < publishers, store.uri, rounds, start, end, answers))
        for number in range(publishers + promoters)
    ]
    for worker in workers:
        worker.start()
    won, lost, length = set[str](), 0, 0
    for number in range(rounds):
        start.wait(300)
        for _ in workers:
            by, success = answers.get(timeout=300)
            lost += not success
            if success:
                assert by not in won
                won.add(by)
        past = history(store, NAME)
        assert [entry["previous"] for entry in past] == [None, *(entry["version"] for entry in past[:-1])]
        assert (champion(store, NAME) or ("", ""))[0] == past[-1]["version"]
        assert {entry["by"] for entry in past} == won and len(past) == len(won)
        assert len(past) > length, "nobody won this round"
        length = len(past)
        assert len(version_ids(store, NAME)) == (number + 1) * (publishers + 1)
        end.wait(300)
    for worker in workers:
        worker.join()
    return {"rounds": rounds, "versions": rounds * (publishers + 1), "won": len(won), "lost": lost}


def _worker(number: int, publishes: bool, uri: str, rounds: int, start: Barrier, end: Barrier, answers: Any) -> None:
    store, rng = open_store(uri), random.Random(number)
    for turn in range(rounds):
        os.environ["CLINADAPT_RUN"] = by = f"{number}-{turn}"
        start.wait(300)
        seen = (champion(store, NAME) or ("", ""))[1]
        try:
            if publishes:
                version = f"{turn:08x}{number + 1:08x}"
                for each in (version, f"{turn:08x}{0:08x}"):  # its own, and one that all publish
                    _publish(store, each)
                promote(store, NAME, version, seen, {})
            else:
                version = rng.choice(version_ids(store, NAME) or [""])
                promote_manually(store, NAME, version)
            answers.put((by, True))
        except UserError:
            answers.put((by, False))
        end.wait(300)


def _publish(store: Store, version: str) -> None:
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "adapter_model.safetensors").write_bytes(version.encode() * 1000)
        (folder / "README.md").write_text(version)
        manifest: dict[str, Any] = dict.fromkeys(
            ("base_model", "base_digest", "splits_digest", "settings_digest", "created", "published_by"), "race"
        )
        manifest |= {"name": NAME, "version": version, "code_version": "race"}
        manifest |= {"settings": {}, "metrics": {"accuracy": ACCURACY}}
        write_json(folder / MANIFEST, sign_manifest(write_manifest(folder, manifest)))
        SealedFolder(store, f"adapters/{NAME}/{version}").publish(folder, if_absent=True)
