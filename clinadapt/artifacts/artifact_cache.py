"""Cache of step outputs in the store. A damaged or unwritable entry never fails a step: the output is made again.

A cached object is stored as its SHA-256 followed by its content; a cached folder is a sealed folder.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clinadapt.artifacts.manifest import DamagedFolder
from clinadapt.artifacts.sealed_folder import SealedFolder
from clinadapt.artifacts.step_record import log
from clinadapt.errors import UserError
from clinadapt.storage.object_store import CorruptObject, Store


def load(store: Store, key: str) -> bytes | None:
    """A cached object; None where there is none, or only a damaged one."""
    try:
        stored = store.get(key)[0]
    except (KeyError, CorruptObject):
        return None
    digest, data = stored[:32], stored[32:]
    return data if hashlib.sha256(data).digest() == digest else None


def save(store: Store, key: str, data: bytes, step: str) -> None:
    """Cache an object; `step` logs it where the store refuses."""
    with _errors_logged(key, step):
        store.put(key, hashlib.sha256(data).digest() + data)


def load_folder(store: Store, prefix: str, folder: Path, step: str) -> bool:
    """Download a cached folder to `folder`; False where there is none. A damaged one is removed, which `step` logs."""
    cached = SealedFolder(store, prefix)
    if not cached.exists():
        return False
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(DamagedFolder, CorruptObject, KeyError, OSError):
        cached.fetch(folder, reject_unlisted="")
        return True
    shutil.rmtree(folder, ignore_errors=True)
    log(step, f"{prefix} is damaged: removed, and computed again")
    with suppress(UserError):
        cached.delete()
    return False


def save_folder(store: Store, prefix: str, folder: Path, step: str) -> None:
    """Cache a sealed folder; `step` logs it where the store refuses."""
    with _errors_logged(prefix, step):
        SealedFolder(store, prefix).publish(folder)


@contextmanager
def _errors_logged(key: str, step: str) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        log(step, f"cannot cache in {key.partition('/')[0]}, continuing without: {error}")
