"""The champion pointer of an adapter and its history; it moves by compare-and-swap."""

from __future__ import annotations

import getpass
import json
import os
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from clinadapt.artifacts.hashing import to_json
from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.artifacts.step_record import RUN
from clinadapt.errors import UserError
from clinadapt.registry.versions import headline, read_version
from clinadapt.storage.object_store import Conflict, Store


def who() -> str:
    """The run, or the user at the keyboard."""
    try:
        return os.environ.get(RUN) or getpass.getuser()
    except (KeyError, OSError):  # a pod's user has no name
        return f"uid {os.getuid()}"


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _pointer(store: Store, name: str) -> tuple[dict[str, Any], str] | None:
    try:
        data, etag = store.get(f"adapters/{name}/champion.json")
    except KeyError:
        return None
    try:
        pointer = json.loads(data)
        for entry in pointer["history"]:
            _ = [entry[name] for name in ("id", "previous", "by", "rollback")]
            if datetime.fromisoformat(entry["when"]).tzinfo is None:
                raise ValueError("a time without a zone")
        if not all(isinstance(each["version"], str) for each in (pointer, *pointer["history"])):
            raise ValueError("a version that is no name")
        return {"version": pointer["version"], "history": pointer["history"]}, etag
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"adapters/{name}/champion.json in {store.uri} is broken: remove it and promote a version"
        ) from error


def champion(store: Store, name: str) -> tuple[str, str] | None:
    """(version, etag of the pointer) of the champion, or None where there is none."""
    found = _pointer(store, name)
    return (found[0]["version"], found[1]) if found else None


def history(store: Store, name: str) -> list[dict[str, Any]]:
    """Every champion there was, the oldest first."""
    found = _pointer(store, name)
    return found[0]["history"] if found else []


def promote(store: Store, name: str, version: str, seen: str, facts: dict[str, Any], rollback: bool = False) -> None:
    """Move the champion pointer to `version` if it still is what was seen (its etag; empty: there was none).

    Raises:
        UserError: another run moved it in between, or the version is gone.
    """
    before = _pointer(store, name)
    if (before[1] if before else "") == seen:
        pointer = before[0] if before else {"version": None, "history": []}
        entry = {"id": uuid.uuid4().hex[:16], "version": version, "previous": pointer["version"], "when": now()}
        entry |= {"by": who(), "rollback": rollback, **facts}
        data = to_json({"version": version, "history": [*pointer["history"], entry]}).encode()
        try:
            etag = store.put(f"adapters/{name}/champion.json", data, if_absent=not seen, if_match=seen or None)
            if not store.exists(f"adapters/{name}/{version}/{MANIFEST}"):
                _take_back(store, name, before[0] if before else None, etag)
                raise UserError(f"{name}/{version} is gone, gc removed it meanwhile: promote another one, or run again")
            return
        except Conflict:
            if any(known["id"] == entry["id"] for known in history(store, name)):
                return  # it was moved, the answer was lost, and another one has moved it since
    raise UserError(f"another run has changed the champion of '{name}' since the gate compared with it: run again")


def _take_back(store: Store, name: str, pointer: dict[str, Any] | None, etag: str) -> None:
    """Let the pointer be what it was before, unless another one has moved it since."""
    key = f"adapters/{name}/champion.json"
    with suppress(Conflict, KeyError):
        if pointer:
            store.put(key, to_json(pointer).encode(), if_match=etag)
        elif store.etag(key) == etag:
            store.delete(key)


def previous_champion(store: Store, name: str) -> str | None:
    """The version that a rollback leads to: what answered before the champion, leaving out what was rolled back."""
    stack: list[str] = []
    for entry in history(store, name):
        if entry["rollback"]:
            while stack and stack[-1] != entry["version"]:
                stack.pop()
        if not stack or stack[-1] != entry["version"]:
            stack.append(entry["version"])
    return stack[-2] if len(stack) > 1 else None


def move(store: Store, name: str, version: str | None) -> str:
    """Promote `version` by hand, or roll back where there is none; return the version that answers now.

    Raises:
        UserError: there is no such version, or nothing to go back to, or another run was faster.
    """
    current = champion(store, name)
    target = version or previous_champion(store, name)
    if target is None:
        raise UserError(f"no version of '{name}' has answered before: promote one by name")
    if current and current[0] == target:
        raise UserError(f"{name}/{target} is the champion already: nothing to do")
    manifest = read_version(store, name, target)
    metric = headline(manifest["metrics"])
    facts = {metric: manifest["metrics"][metric], "code_version": manifest["code_version"]}
    promote(store, name, target, current[1] if current else "", facts, rollback=version is None)
    return target


def was_champion(store: Store, name: str, version: str) -> bool:
    """Whether a version exists and has been the champion. One that was published by a run that broke off before it
    became so has not."""
    return store.exists(f"adapters/{name}/{version}/{MANIFEST}") and any(
        entry["version"] == version for entry in history(store, name)
    )
