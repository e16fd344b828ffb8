"""What a step keeps in the store for a later run; nothing fails where it is damaged or cannot be kept.

A kept object is the SHA-256 of what follows, and that; a kept folder is sealed by its manifest, which is written last.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clinadapt.artifacts.hashing import read_json, sha256_json
from clinadapt.artifacts.manifest import MANIFEST, list_files
from clinadapt.artifacts.step_record import log
from clinadapt.errors import UserError
from clinadapt.storage.object_store import CorruptObject, Store
from clinadapt.storage.transfer import delete_folder, download_folder, upload_folder


def find(store: Store, key: str) -> bytes | None:
    """What was kept, as it was; None where there is none, or only a damaged one."""
    try:
        whole = store.get(key)[0]
    except (KeyError, CorruptObject):
        return None
    digest, data = whole[:32], whole[32:]
    return data if hashlib.sha256(data).digest() == digest else None


def keep(store: Store, key: str, data: bytes, step: str) -> None:
    """Write it; a store that refuses is said in the log of the step."""
    with _said(key, step):
        store.put(key, hashlib.sha256(data).digest() + data)


def find_folder(store: Store, prefix: str, folder: Path, step: str) -> bool:
    """Download what was kept to `folder`; False where there is none. A damaged one is removed, which is said."""
    if not store.exists(f"{prefix}/{MANIFEST}"):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(
        CorruptObject, KeyError, OSError, ValueError, TypeError
    ):  # gone meanwhile, or a manifest that is none
        download_folder(store, prefix, folder)
        found, manifest = list_files(folder), read_json(folder / MANIFEST)
        sealed = manifest["files"]
        if {name: found.get(name) for name in sealed} == sealed and manifest["digest"] == sha256_json(sealed):
            return True
    shutil.rmtree(folder, ignore_errors=True)
    log(step, f"{prefix} is damaged: it is removed, and made again")
    with suppress(UserError):
        delete_folder(store, prefix)
    return False


def keep_folder(store: Store, prefix: str, folder: Path, step: str) -> None:
    """Upload a sealed folder; a store that refuses is said in the log of the step."""
    with _said(prefix, step):
        upload_folder(store, folder, prefix)


@contextmanager
def _said(key: str, step: str) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        log(step, f"{key.partition('/')[0]} could not be kept, the step goes on without that: {error}")
