"""Cache of step outputs in the store. A damaged or unwritable entry never fails a step: the output is made again.

A cached object is stored as a header followed by its content; a cached folder is a sealed folder. Where a signing or a
verify key is set, only entries that this key signed for this very place are used, so that nobody who can write to the
store can slip something into a training.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from clinadapt.artifacts.hashing import parse_json, read_json, write_json
from clinadapt.artifacts.manifest import MANIFEST, MANIFEST_DIGEST, DamagedFolder, with_digest
from clinadapt.artifacts.sealed_folder import SealedFolder
from clinadapt.artifacts.signing import InvalidSignature, has_key, sign_json, verify_json
from clinadapt.artifacts.slsa import ATTESTATION
from clinadapt.artifacts.step_record import log
from clinadapt.errors import UserError
from clinadapt.storage.object_store import CorruptObject, Store

_ENTRY = "application/vnd.clinadapt.cache+json"  # type of what is signed: {key, digest}


def load(store: Store, key: str) -> bytes | None:
    """A cached object; None where there is none, or only a damaged or an unauthentic one."""
    try:
        header, _, data = store.get(key)[0].partition(b"\n")
        entry = parse_json(header)
        intact = entry["digest"] == hashlib.sha256(data).hexdigest()
    except (KeyError, CorruptObject, ValueError, TypeError):
        return None
    return data if intact and is_authentic(entry.get(ATTESTATION), key, entry["digest"]) else None


def save(store: Store, key: str, data: bytes, step: str) -> None:
    """Cache an object; `step` logs it where the store refuses."""
    with _errors_logged(key, step):
        publish(store, key, data)


def publish(store: Store, key: str, data: bytes) -> None:
    """Cache an object. Raises UserError where the store refuses."""
    digest = hashlib.sha256(data).hexdigest()
    store.put(key, json.dumps({"digest": digest} | attestation(key, digest)).encode() + b"\n" + data)


def load_folder(store: Store, prefix: str, folder: Path, step: str) -> bool:
    """Download a cached folder to `folder`, whatever was there before; False where there is none. A damaged or
    unauthentic one, or one with a file that its manifest does not list, is removed, which `step` logs."""
    cached = SealedFolder(store, prefix)
    if not cached.exists():
        return False
    shutil.rmtree(folder, ignore_errors=True)  # of an attempt that was killed
    folder.mkdir(parents=True)
    with suppress(DamagedFolder, CorruptObject, KeyError, OSError):
        fetch_folder(cached, folder)
        return True
    shutil.rmtree(folder, ignore_errors=True)
    log(step, f"{prefix} is damaged or not signed by our key: removed, and computed again")
    with suppress(UserError):
        cached.delete()
    return False


def save_folder(store: Store, prefix: str, folder: Path, step: str) -> None:
    """Cache a sealed folder; `step` logs it where the store refuses."""
    with _errors_logged(prefix, step):
        publish_folder(SealedFolder(store, prefix), folder)


def fetch_folder(cached: SealedFolder, folder: Path) -> dict[str, Any]:
    """Download a cached folder and return its manifest.

    Raises:
        DamagedFolder: a file is missing, differs or is not listed, or the folder is not signed by our key.
        CorruptObject, KeyError: as `SealedFolder.fetch`.
    """
    manifest = cached.fetch(folder)
    attestation = manifest.pop(ATTESTATION, None)
    manifest = with_digest(manifest)
    if not is_authentic(attestation, cached.prefix, manifest[MANIFEST_DIGEST]):
        raise DamagedFolder(MANIFEST, "is not signed by our key")
    write_json(folder / MANIFEST, manifest)  # as it was before it was signed
    return manifest


def publish_folder(cached: SealedFolder, folder: Path) -> None:
    """Cache a sealed folder. Raises UserError as `SealedFolder.publish`."""
    manifest = read_json(folder / MANIFEST)
    signed = with_digest(manifest | attestation(cached.prefix, manifest[MANIFEST_DIGEST]))
    cached.publish(folder, manifest=signed)


def attestation(key: str, digest: str) -> dict[str, Any]:
    """The field that an entry gets where a signing key is set: {attestation: envelope}."""
    envelope = sign_json({"key": key, "digest": digest}, _ENTRY)
    return {ATTESTATION: envelope} if envelope else {}


def is_authentic(envelope: Any, key: str, digest: str) -> bool:
    """Whether an entry was signed for this place, or no key is set."""
    if not has_key():
        return True
    try:
        return bool(verify_json(envelope, _ENTRY) == {"key": key, "digest": digest})
    except InvalidSignature:
        return False


@contextmanager
def _errors_logged(key: str, step: str) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        log(step, f"cannot cache in {key.partition('/')[0]}, continuing without: {error}")
