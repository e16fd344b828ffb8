"""A day's work of a store, checked against what has to be there; used by the test and by the benchmark."""

from __future__ import annotations

import os
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from clinadapt.errors import UserError
from clinadapt.storage.object_store import Conflict, Store


def work(store: Store, folder: Path, operations: int, threads: int = 4, largest: int = 200_000) -> Counter[str]:
    """Do `operations` of every kind in threads that do not share keys; every answer is compared with what was written.

    Returns:
        how many succeeded, by operation; under "error" those that failed with a clear line.

    Raises:
        AssertionError: something was accepted that is not what was written, or a write was forgotten.
    """
    with ThreadPoolExecutor(threads) as pool:
        parts = pool.map(lambda number: _one(store, folder, number, operations // threads, largest), range(threads))
        return sum(parts, Counter())


def _one(store: Store, folder: Path, number: int, operations: int, largest: int) -> Counter[str]:
    chance, counts = random.Random(number), Counter[str]()
    known: dict[str, set[bytes | None]] = {}  # what an object may hold: more than one thing after an unclear failure
    for turn in range(operations):
        key = f"{number}/{chance.randrange(20)}"
        kind = chance.choice(("put", "get", "upload", "download", "claim", "swap", "list", "delete"))
        data = os.urandom(chance.randrange(1, largest))
        may = known.setdefault(key, {None})
        local = folder / f"{number}-{turn}"
        try:
            _do(store, kind, key, data, may, local)
            counts[kind] += 1
        except UserError as error:
            assert "\n" not in str(error)
            if kind in ("put", "upload", "claim", "swap"):
                may.add(data)
            if kind == "delete":
                may.add(None)
            counts["error"] += 1
        local.unlink(missing_ok=True)
    return counts


def _do(store: Store, kind: str, key: str, data: bytes, may: set[bytes | None], local: Path) -> None:
    """One operation; `may` becomes what the object holds after it."""
    now: bytes | None = data
    if kind == "put":
        store.put(key, data)
    elif kind == "upload":
        local.write_bytes(data)
        store.upload(local, key)
    elif kind == "claim":
        try:
            store.put(key, data, if_absent=True)
            assert None in may
        except Conflict:
            assert may != {None}
            return
    elif kind == "delete":
        store.delete(key)
        now = None
    elif kind == "list":
        there = key in store.list(key)
        assert there or None in may
        assert not there or may != {None}
        return
    else:
        now = _read(store, kind, key, data, local)
        assert kind == "swap" or now in may
    may.clear()
    may.add(now)


def _read(store: Store, kind: str, key: str, data: bytes, local: Path) -> bytes | None:
    """get, download, or swap: what the object holds now."""
    try:
        if kind == "download":
            store.download(key, local)
            return local.read_bytes()
        found, etag = store.get(key)
        if kind == "swap":
            store.put(key, data, if_match=etag)
            return data
        return found
    except KeyError:
        return None
