"""The champion of an adapter, the version that predict and review use, and its history.

adapters/<name>/champion.json    {version, history, counter}; written by compare-and-swap, so that the history never
                                 forks; with `attestation`, the signed content, where a signing key is set

A history entry: id, version, previous, when (UTC), by (run or user), rollback, and fields of the caller. The counter
grows with each write. Where CLINADAPT_VERIFY_KEY is set, a pointer without a valid signature is refused, and so is one
with a lower counter than this machine has seen before: an older pointer that was put back.
"""

from __future__ import annotations

import getpass
import json
import os
import uuid
from contextlib import suppress
from datetime import datetime
from typing import Any

from clinadapt.artifacts.hashing import sha256_json
from clinadapt.artifacts.signing import (
    SIGNING_KEY,
    VERIFY_KEY,
    InvalidSignature,
    attested,
    can_sign,
    must_verify,
    sign_json,
    verify_json,
)
from clinadapt.artifacts.slsa import ATTESTATION
from clinadapt.artifacts.step_record import RUN, utc_now
from clinadapt.errors import UserError
from clinadapt.models.base_model import cache_folder
from clinadapt.registry.versions import version_folder
from clinadapt.storage.local_files import atomic_write
from clinadapt.storage.object_store import Conflict, Store

_POINTER = "application/vnd.clinadapt.champion+json"  # type of the signed content


def user() -> str:
    """Name of the user of this machine."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a pod's user has no name
        return f"uid {os.getuid()}"


def actor() -> str:
    """Who acts: the run's name, or the user's."""
    return os.environ.get(RUN) or user()


def _key(name: str) -> str:
    return f"adapters/{name}/champion.json"


def read_pointer(store: Store, name: str) -> tuple[dict[str, Any], str] | None:
    """({version, history, counter}, etag) of champion.json; None where there is none.

    Raises:
        UserError: it is broken, or a verify key is set and it is not signed by that key or is older than one seen
            before.
    """
    try:
        data, etag = store.get(_key(name))
    except KeyError:
        return None
    try:
        pointer = json.loads(data)
        if must_verify():
            pointer = _verified(pointer, store, name)
        for entry in pointer["history"]:
            _ = [entry[field] for field in ("id", "previous", "by", "rollback")]
            if datetime.fromisoformat(entry["when"]).tzinfo is None:
                raise ValueError("time without a zone")
        if not all(isinstance(each["version"], str) for each in (pointer, *pointer["history"])):
            raise ValueError("version is not a string")
        counter = pointer.get("counter", len(pointer["history"]))  # earlier releases wrote none
        pointer = {"version": pointer["version"], "history": pointer["history"], "counter": int(counter)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise UserError(f"{_key(name)} in {store.uri} is broken: remove it and promote a version") from error
    if must_verify():
        _refuse_older(store, name, pointer["counter"])
    return pointer, etag


def _verified(pointer: dict[str, Any], store: Store, name: str) -> dict[str, Any]:
    """The signed content of a pointer. Raises UserError where it is not signed by the verify key for this adapter."""
    location = f"{_key(name)} in {store.uri}"
    if ATTESTATION not in pointer:
        raise UserError(
            f"{location} is not signed and {VERIFY_KEY} requires it: find out who wrote it, then remove it and promote "
            f"a version with {SIGNING_KEY} set"
        )
    try:
        signed = verify_json(pointer[ATTESTATION], _POINTER)
    except InvalidSignature as error:
        raise UserError(f"{location} is not signed by the key in {VERIFY_KEY}: find out who wrote it") from error
    content = {field: value for field, value in pointer.items() if field != ATTESTATION}
    if signed != {"name": name, **content}:
        raise UserError(f"{location} has the signature of another pointer: find out who wrote it")
    return content


def _refuse_older(store: Store, name: str, counter: int) -> None:
    """Remember the highest counter seen on this machine. Raises UserError for a lower one."""
    path = cache_folder() / "champions" / f"{sha256_json([store.uri, name])[7:39]}.json"
    try:
        seen = int(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        seen = 0
    if counter < seen:
        raise UserError(
            f"{_key(name)} in {store.uri} is older than the one that this machine has seen (write {counter}, seen "
            f"{seen}), so somebody put it back: find out who; if the store was restored on purpose, remove {path}"
        )
    if counter > seen:
        with suppress(OSError, UserError):  # a read-only machine remembers nothing
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as partial:
                partial.write_text(json.dumps(counter), encoding="utf-8")


def _signed(name: str, version: str | None, history: list[dict[str, Any]], counter: int) -> bytes:
    """Content of champion.json, signed where there is a key."""
    pointer = {"version": version, "history": history, "counter": counter}
    return attested(pointer, sign_json({"name": name, **pointer}, _POINTER))


def champion(store: Store, name: str) -> tuple[str, str] | None:
    """(version, etag of the pointer) of the champion; None where there is none."""
    pointer = read_pointer(store, name)
    return (pointer[0]["version"], pointer[1]) if pointer else None


def history(store: Store, name: str) -> list[dict[str, Any]]:
    """All entries of the champion's history, the oldest first."""
    pointer = read_pointer(store, name)
    return pointer[0]["history"] if pointer else []


def promote(
    store: Store, name: str, version: str, expected_etag: str, fields: dict[str, Any], rollback: bool = False
) -> None:
    """Make `version` the champion if the pointer has not changed since it was read.

    Args:
        store, name, version: the version to promote.
        expected_etag: of the pointer when it was read; empty where there was none.
        fields: what else the history entry records.
        rollback: whether this goes back to an earlier champion.

    Raises:
        UserError: another run moved the pointer in between, the version was removed, or pointers have to be signed and
            the key is missing.
    """
    if must_verify() and not can_sign():
        raise UserError(f"the champion pointer has to be signed, as {VERIFY_KEY} is set: set {SIGNING_KEY} too")
    current = read_pointer(store, name)
    if (current[1] if current else "") == expected_etag:
        pointer = current[0] if current else {"version": None, "history": [], "counter": 0}
        entry = {"id": uuid.uuid4().hex[:16], "version": version, "previous": pointer["version"], "when": utc_now()}
        entry |= {"by": actor(), "rollback": rollback, **fields}
        counter = pointer["counter"] + 1
        data = _signed(name, version, [*pointer["history"], entry], counter)
        try:
            etag = store.put(_key(name), data, if_absent=not expected_etag, if_match=expected_etag or None)
            if not version_folder(store, name, version).exists():
                _undo(store, name, current[0] if current else None, etag, counter + 1)
                raise UserError(f"{name}/{version} was removed by gc meanwhile: promote another version, or run again")
            return
        except Conflict:
            if any(existing["id"] == entry["id"] for existing in history(store, name)):
                return  # a retried write conflicts with itself; another promotion has followed since
    raise UserError(f"another run has changed the champion of '{name}' since the gate compared with it: run again")


def _undo(store: Store, name: str, pointer: dict[str, Any] | None, etag: str, counter: int) -> None:
    """Restore the former pointer, unless another run has moved it since."""
    with suppress(Conflict, KeyError):
        if pointer:
            store.put(_key(name), _signed(name, pointer["version"], pointer["history"], counter), if_match=etag)
        elif store.etag(_key(name)) == etag:
            store.delete(_key(name))


def previous_champion(store: Store, name: str) -> str | None:
    """The version that a rollback returns to: the champion before this one, without those rolled back; None where
    there is none."""
    stack: list[str] = []
    for entry in history(store, name):
        if entry["rollback"]:
            while stack and stack[-1] != entry["version"]:
                stack.pop()
        if not stack or stack[-1] != entry["version"]:
            stack.append(entry["version"])
    return stack[-2] if len(stack) > 1 else None


def was_champion(store: Store, name: str, version: str) -> bool:
    """Whether a complete version has ever been the champion; one whose run was killed before promotion has not."""
    return version_folder(store, name, version).exists() and any(
        entry["version"] == version for entry in history(store, name)
    )
