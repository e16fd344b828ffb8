"""The champion of an adapter, the version that predict and review use, and its history.

adapters/<name>/champion.json    {version, history}; written by compare-and-swap, so that the history never forks

A history entry: id, version, previous, when (UTC), by (run or user), rollback, and fields of the caller.
"""

from __future__ import annotations

import getpass
import json
import os
import uuid
from contextlib import suppress
from datetime import datetime
from typing import Any

from clinadapt.artifacts.hashing import to_json
from clinadapt.artifacts.step_record import RUN, utc_now
from clinadapt.errors import UserError
from clinadapt.registry.versions import headline, read_version, version_folder
from clinadapt.storage.object_store import Conflict, Store


def actor() -> str:
    """Who acts: the run's name, or the user's."""
    try:
        return os.environ.get(RUN) or getpass.getuser()
    except (KeyError, OSError):  # a pod's user has no name
        return f"uid {os.getuid()}"


def _key(name: str) -> str:
    return f"adapters/{name}/champion.json"


def read_pointer(store: Store, name: str) -> tuple[dict[str, Any], str] | None:
    """({version, history}, etag) of champion.json; None where there is none. Raises UserError where it is broken."""
    try:
        data, etag = store.get(_key(name))
    except KeyError:
        return None
    try:
        pointer = json.loads(data)
        for entry in pointer["history"]:
            _ = [entry[field] for field in ("id", "previous", "by", "rollback")]
            if datetime.fromisoformat(entry["when"]).tzinfo is None:
                raise ValueError("time without a zone")
        if not all(isinstance(each["version"], str) for each in (pointer, *pointer["history"])):
            raise ValueError("version is not a string")
        return {"version": pointer["version"], "history": pointer["history"]}, etag
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{_key(name)} in {store.uri} is broken: remove it and promote a version") from error


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
        UserError: another run moved the pointer in between, or the version was removed.
    """
    current = read_pointer(store, name)
    if (current[1] if current else "") == expected_etag:
        pointer = current[0] if current else {"version": None, "history": []}
        entry = {"id": uuid.uuid4().hex[:16], "version": version, "previous": pointer["version"], "when": utc_now()}
        entry |= {"by": actor(), "rollback": rollback, **fields}
        data = to_json({"version": version, "history": [*pointer["history"], entry]}).encode()
        try:
            etag = store.put(_key(name), data, if_absent=not expected_etag, if_match=expected_etag or None)
            if not version_folder(store, name, version).exists():
                _undo(store, name, current[0] if current else None, etag)
                raise UserError(f"{name}/{version} was removed by gc meanwhile: promote another version, or run again")
            return
        except Conflict:
            if any(existing["id"] == entry["id"] for existing in history(store, name)):
                return  # a retried write conflicts with itself; another promotion has followed since
    raise UserError(f"another run has changed the champion of '{name}' since the gate compared with it: run again")


def _undo(store: Store, name: str, pointer: dict[str, Any] | None, etag: str) -> None:
    """Restore the former pointer, unless another run has moved it since."""
    with suppress(Conflict, KeyError):
        if pointer:
            store.put(_key(name), to_json(pointer).encode(), if_match=etag)
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


def promote_manually(store: Store, name: str, version: str, rollback: bool = False) -> None:
    """Make a version the champion without a gate.

    Raises:
        UserError: there is no such version, it is the champion already, or another run was faster.
    """
    current = champion(store, name)
    if current and current[0] == version:
        raise UserError(f"{name}/{version} is the champion already: nothing to do")
    manifest = read_version(store, name, version)
    metric = headline(manifest["metrics"])
    fields = {metric: manifest["metrics"][metric], "code_version": manifest["code_version"]}
    promote(store, name, version, current[1] if current else "", fields, rollback)


def roll_back(store: Store, name: str) -> str:
    """Return to the previous champion; return its version.

    Raises:
        UserError: there is none, or as `promote_manually`.
    """
    version = previous_champion(store, name)
    if version is None:
        raise UserError(f"'{name}' has no previous champion to roll back to: promote a version by name")
    promote_manually(store, name, version, rollback=True)
    return version


def was_champion(store: Store, name: str, version: str) -> bool:
    """Whether a complete version has ever been the champion; one whose run was killed before promotion has not."""
    return version_folder(store, name, version).exists() and any(
        entry["version"] == version for entry in history(store, name)
    )
