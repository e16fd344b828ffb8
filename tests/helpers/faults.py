"""A random workload for a store, checked against the expected content; for the test and the benchmark."""

from __future__ import annotations

import os
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from clinadapt.errors import UserError
from clinadapt.storage.object_store import Conflict, Store


def work(store: Store, folder: Path, operations: int, threads: int = 4, largest: int = 200_000) -> Counter[str]:
    """Run operations of every kind in threads that do not share keys; compare every result with what was written.

    Returns:
        numbers of successful operations by kind, and of operations that failed with one line as "error".

    Raises:
        AssertionError: a result is not what was written, or a write was lost.
    """
    with ThreadPoolExecutor(threads) as pool:
        parts = pool.map(lambda number: _one(store, folder, number, operations // threads, largest), range(threads))
        return sum(parts, Counter())


def _one(store: Store, folder: Path, number: int, operations: int, largest: int) -> Counter[str]:
    rng, counts = random.Random(number), Counter[str]()
    known: dict[str, set[bytes | None]] = {}  # possible contents: several after a failed write
    for turn in range(operations):
        key = f"{number}/{rng.randrange(20)}"
        kind = rng.choice(("put", "get", "upload", "download", "claim", "swap", "list", "delete"))
        data = os.urandom(rng.randrange(1, largest))
        possible = known.setdefault(key, {None})
        local = folder / f"{number}-{turn}"
        try:
            _do(store, kind, key, data, possible, local)
            counts[kind] += 1
        except UserError as error:
            assert "\n" not in str(error)
            if kind in ("put", "upload", "claim", "swap"):
                possible.add(data)
            if kind == "delete":
                possible.add(None)
            counts["error"] += 1
        local.unlink(missing_ok=True)
    return counts


def _do(store: Store, kind: str, key: str, data: bytes, possible: set[bytes | None], local: Path) -> None:
    """Run one operation; `possible` becomes the set of possible contents after it."""
    content: bytes | None = data
    if kind == "put":
        store.put(key, data)
    elif kind == "upload":
        local.write_bytes(data)
        store.upload(local, key)
    elif kind == "claim":
        try:
            store.put(key, data, if_absent=True)
            assert None in possible
        except Conflict:
            assert possible != {None}
            return
    elif kind == "delete":
        store.delete(key)
        content = None
    elif kind == "list":
        listed = key in store.list(key)
        assert listed or None in possible
        assert not listed or possible != {None}
        return
    else:
        content = _read(store, kind, key, data, local)
        assert kind == "swap" or content in possible
    possible.clear()
    possible.add(content)


def _read(store: Store, kind: str, key: str, data: bytes, local: Path) -> bytes | None:
    """Run get, download or swap and return the content of the object after it."""
    try:
        if kind == "download":
            store.download(key, local)
            return local.read_bytes()
        content, etag = store.get(key)
        if kind == "swap":
            store.put(key, data, if_match=etag)
            return data
        return content
    except KeyError:
        return None
