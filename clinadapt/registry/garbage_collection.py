"""Garbage collection: find and delete what no version, rollback or running job needs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from clinadapt.artifacts.hashing import parse_json
from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.errors import UserError
from clinadapt.registry.approval.standing import waits
from clinadapt.registry.champion import previous_champion, read_pointer
from clinadapt.registry.pretrained_bases import base_prefix
from clinadapt.registry.versions import adapter_names, version_folder, version_ids
from clinadapt.storage.object_store import Entry, Store


@dataclass(frozen=True)
class Garbage:
    """Objects to delete together.

    Attributes:
        prefix: that they share.
        reason: why nothing needs them.
        keys: in the order of deletion, a manifest first.
        size: in bytes.
    """

    prefix: str
    reason: str
    keys: list[str]
    size: int


_COLLECTED = (
    "adapters/", "staging/", "runs/.preflight-", "checkpoints/", "trained/", "sources/", "tokens/", "evaluations/",
    "restricted/", "bases/", "trainjobs/", "reviews/", "monitoring/"
)  # fmt: skip

# First part of a prefix -> why it is deleted once it is old
_EXPIRING = {
    "checkpoints": "checkpoints of a training that was not resumed",
    "trained": "cached training outputs, expired",
    "trainjobs": "where the result of a TrainJob was, expired",
    "sources": "cached source rows, expired",
    "evaluations": "cached evaluation answers, expired",
    "restricted": "example texts of a report, expired",
    "tokens": "cached tokens, expired",
    "monitoring": "counts of answers, expired",
}


def garbage(store: Store, retention: timedelta, unfinished: timedelta) -> list[Garbage]:
    """What no champion, rollback, recent history entry, pending approval or running upload needs. A pretrained base
    model is garbage once no version uses it.

    Args:
        store: to search.
        retention: how long a version stays after it was last champion or was published, and all else after it was
            written.
        unfinished: how long an upload may take, and a run between two of its steps.
    """
    now = datetime.now(UTC)
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in (entry for prefix in _COLLECTED for entry in store.entries(prefix)):
        if not entry.key.startswith("adapters/") or entry.key.count("/") > 2:  # else a pointer or a foreign file
            groups[_group(entry.key)].append(entry)
    used_bases, expiry = _used_bases(store), max(retention, unfinished)
    needed = {name: _needed_versions(store, name, now - retention) for name in adapter_names(store)}
    result = []
    for prefix, entries in groups.items():
        keys = sorted((entry.key for entry in entries), key=lambda key: not key.endswith(f"/{MANIFEST}"))
        age = now - max(entry.modified for entry in entries)
        kind, name, version = (*prefix.split("/"), "", "")[:3]
        reason = ""
        if kind in _EXPIRING:
            reason = _EXPIRING[kind] if age > expiry else ""
        elif kind == "reviews":
            if age > expiry and version not in needed.get(name, set()) and not _waits(store, name, version):
                reason = "reviews of a version that has not been champion recently"
        elif not keys[0].endswith(f"/{MANIFEST}"):
            reason = "an unfinished upload" if age > unfinished else ""
        elif age > expiry:
            if kind == "bases":
                reason = "" if prefix in used_bases else "a base model that no version uses"
            elif version not in needed.get(name, set()) and not _waits(store, name, version):
                reason = "a version that has not been champion recently"
        if reason:
            result.append(Garbage(prefix, reason, keys, sum(entry.size for entry in entries)))
    return result


def _waits(store: Store, name: str, version: str) -> bool:
    """Whether people may still make a version the champion; a broken one cannot become it."""
    with suppress(UserError):
        return waits(store, name, version)
    return False


def _group(key: str) -> str:
    """The prefix that is deleted as a unit: a version, its reviews, a day's counts, an upload, checkpoints, ..."""
    parts = {"adapters": 3, "reviews": 3, "monitoring": 4}  # of counts: adapter, version, day
    return "/".join(key.split("/")[: parts.get(key.partition("/")[0], 2)])


def _used_bases(store: Store) -> set[str]:
    """Prefixes of the base models of all versions, as if pretrain had made each of them."""
    prefixes = set()
    for name in adapter_names(store):
        for version in version_ids(store, name):
            key = version_folder(store, name, version).key(MANIFEST)
            with suppress(KeyError):  # deleted meanwhile
                data = store.get(key)[0]
                try:
                    prefixes.add(base_prefix(parse_json(data).get("base_digest")))
                except (ValueError, AttributeError) as error:
                    raise UserError(
                        f"{key} is broken, so its base model is unknown: run clinadapt registry verify"
                    ) from error
    return prefixes


def _needed_versions(store: Store, name: str, since: datetime) -> set[str]:
    """The champion, the one that a rollback returns to, and every champion since a moment."""
    current = read_pointer(store, name)
    if not current:
        return set()
    pointer, _ = current
    entries = pointer["history"]
    ends = [*(datetime.fromisoformat(entry["when"]) for entry in entries[1:]), datetime.now(UTC)]
    recent = {entry["version"] for entry, end in zip(entries, ends, strict=False) if end > since}
    return recent | {pointer["version"], previous_champion(store, name) or pointer["version"]}


def collect(store: Store, items: list[Garbage], retention: timedelta, log: Callable[[str], None]) -> None:
    """Delete garbage, manifests first. What was promoted or written to since it was listed stays.

    Args:
        store: to delete from.
        items: as `garbage` returns them.
        retention: as of `garbage`.
        log: receives one line for each item.
    """
    since = datetime.now(UTC) - retention
    for item in items:
        if set(store.list(f"{item.prefix}/")) - set(item.keys):
            log(f"kept {item.prefix}: it was written to meanwhile")
            continue
        keys = item.keys
        if item.prefix.startswith("reviews/"):
            _, name, version = item.prefix.split("/")
            if version in _needed_versions(store, name, since) or _waits(store, name, version):
                log(f"kept {item.prefix}: its version was promoted or proposed meanwhile")
                continue
        if item.prefix.startswith("adapters/") and keys[0].endswith(f"/{MANIFEST}"):
            _, name, version = item.prefix.split("/")
            if _waits(store, name, version):
                log(f"kept {item.prefix}: it was proposed meanwhile")
                continue
            try:
                manifest = store.get(keys[0])[0]
            except KeyError:  # deleted meanwhile
                continue
            store.delete(keys[0])
            if version in _needed_versions(store, name, since):
                store.put(keys[0], manifest, if_absent=True)
                log(f"kept {item.prefix}: it was promoted meanwhile")
                continue
            keys = keys[1:]
        for key in keys:
            store.delete(key)
        log(f"removed {item.prefix}")
