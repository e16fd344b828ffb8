"""What of a store nobody needs any more, and its removal."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.errors import UserError
from clinadapt.registry.champion import _pointer, previous_champion
from clinadapt.registry.pretrained_bases import base_place
from clinadapt.registry.versions import names, versions
from clinadapt.storage.object_store import Entry, Store


@dataclass(frozen=True)
class Garbage:
    """What nobody needs: keys in the order in which they have to go, bytes, and the reason."""

    what: str
    why: str
    keys: list[str]
    size: int


_COLLECTED = (
    "adapters/", "staging/", "runs/.preflight-", "checkpoints/", "trained/", "sources/", "tokens/", "evaluations/",
    "bases/"
)  # fmt: skip


_LEFT = {
    "checkpoints": "checkpoints of a training that nobody goes on with",
    "trained": "what a training came to long ago",
    "sources": "rows of a source that were read long ago",
    "evaluations": "what a model answered in an evaluation long ago",
    "tokens": "tokens of examples that were made long ago",
}


def garbage(store: Store, retention: timedelta, unfinished: timedelta) -> list[Garbage]:
    """What no champion, no rollback, no history entry younger than `retention` and no running upload needs. A base
    model that pretrain made goes once no version is left that was made on it.

    Args:
        store: the store.
        retention: how long a version is kept after it last answered, or since it was published; and all else, since
            it was written.
        unfinished: how long an upload may take, and a run between two of its steps.
    """
    moment = datetime.now(UTC)
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in (entry for prefix in _COLLECTED for entry in store.entries(prefix)):
        if not entry.key.startswith("adapters/") or entry.key.count("/") > 2:  # else a pointer, or no version's
            groups[_group(entry.key)].append(entry)
    bases, old = _bases(store), max(retention, unfinished)
    needed = {name: _needed(store, name, moment - retention) for name in names(store)}
    found = []
    for what, entries in groups.items():
        age = moment - max(entry.modified for entry in entries)
        keys = sorted((entry.key for entry in entries), key=lambda key: not key.endswith(f"/{MANIFEST}"))
        size = sum(entry.size for entry in entries)
        if left := _LEFT.get(what.split("/")[0]):
            if age > old:
                found.append(Garbage(what, left, keys, size))
        elif not keys[0].endswith(f"/{MANIFEST}"):
            if age > unfinished:
                found.append(Garbage(what, "an upload that was never finished", keys, size))
        elif what.startswith("bases/"):
            if age > old and what not in bases:
                found.append(Garbage(what, "a base model that no version was made on", keys, size))
        elif age > old and what.split("/")[2] not in needed.get(what.split("/")[1], set()):
            found.append(Garbage(what, "a version that has not answered for long", keys, size))
    return found


def _group(key: str) -> str:
    """What lives and goes together: a version, an upload in staging/, a training's checkpoints, a model's answers, a
    base model, a left test object."""
    return "/".join(key.split("/")[: 3 if key.startswith("adapters/") else 2])


def _bases(store: Store) -> set[str]:
    """Where the base models of all versions would lie, had pretrain made them."""
    found = set()
    for name in names(store):
        for version in versions(store, name):
            key = f"adapters/{name}/{version}/{MANIFEST}"
            with suppress(KeyError):  # another one cleans up too
                data = store.get(key)[0]
                try:
                    found.add(base_place(json.loads(data).get("base_digest")))
                except (ValueError, AttributeError) as error:
                    raise UserError(f"{key} is broken, so nobody knows what it needs: see registry verify") from error
    return found


def _needed(store: Store, name: str, since: datetime) -> set[str]:
    """Champion, the one before it, and all that answered later than `since`."""
    found = _pointer(store, name)
    if not found:
        return set()
    entries = found[0]["history"]
    ends = [*(datetime.fromisoformat(entry["when"]) for entry in entries[1:]), datetime.now(UTC)]
    recent = {entry["version"] for entry, end in zip(entries, ends, strict=False) if end > since}
    return recent | {found[0]["version"], previous_champion(store, name) or found[0]["version"]}


def collect(store: Store, found: list[Garbage], retention: timedelta, log: Callable[[str], None]) -> None:
    """Delete garbage, the manifest of a version first. A version that is promoted at this very moment is kept, and so
    is what somebody goes on with since it was found."""
    since = datetime.now(UTC) - retention
    for item in found:
        if set(store.list(f"{item.what}/")) - set(item.keys):
            log(f"kept {item.what}, which somebody goes on with")
            continue
        first, *rest = item.keys
        if item.what.startswith("adapters/") and first.endswith(f"/{MANIFEST}"):
            _, name, version = item.what.split("/")
            try:
                manifest = store.get(first)[0]
            except KeyError:  # another one cleans up too
                continue
            store.delete(first)
            if version in _needed(store, name, since):
                store.put(first, manifest, if_absent=True)
                log(f"kept {item.what}, which has been promoted meanwhile")
                continue
        else:
            rest = item.keys
        for key in rest:
            store.delete(key)
        log(f"removed {item.what}")
