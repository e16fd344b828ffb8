"""The registry: published adapters in the store, which of them answers, and how that came about.

adapters/<name>/<version>/...            immutable; exists once its manifest.json is there, which is written last
adapters/<name>/champion.json            {version, history}; moves by compare-and-swap, so its history has no fork
bases/<digest>/...                       base models that pretrain made, by content; manifest.json last

An entry of the history: id, version, previous, when (UTC), by (run or user), rollback, and the facts that came with it.
"""

from __future__ import annotations

import getpass
import json
import os
import tempfile
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from components.common.errors import UserError
from components.common.provenance import MANIFEST, code_version, name_run, sha256_file, sha256_json, to_json
from components.common.seal import check_seal
from components.common.statement import broken_link
from components.common.steps import RUN
from components.common.store import Conflict, Damaged, Entry, Store


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


def before_champion(store: Store, name: str) -> str | None:
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
    target = version or before_champion(store, name)
    if target is None:
        raise UserError(f"no version of '{name}' has answered before: promote one by name")
    if current and current[0] == target:
        raise UserError(f"{name}/{target} is the champion already: nothing to do")
    manifest = read_facts(store, name, target)
    metric = headline(manifest["metrics"])
    facts = {metric: manifest["metrics"][metric], "code_version": manifest["code_version"]}
    promote(store, name, target, current[1] if current else "", facts, rollback=version is None)
    return target


def headline(metrics: dict[str, Any]) -> str:
    """The metric that stands for all: accuracy of a classifier, token F1 of what answers instructions."""
    return next(name for name in ("accuracy", "token_f1") if name in metrics)


def names(store: Store) -> list[str]:
    """Names under which adapters are published."""
    return sorted({key.split("/")[1] for key in store.list("adapters/") if key.count("/") > 1})


def versions(store: Store, name: str) -> list[str]:
    """Versions of an adapter that exist."""
    parts = (key.split("/") for key in store.list(f"adapters/{name}/"))
    return [part[2] for part in parts if len(part) == 4 and part[3] == MANIFEST]


def has_answered(store: Store, name: str, version: str) -> bool:
    """Whether a version exists and has been the champion. One that was published by a run that broke off before it
    became so has not."""
    return store.exists(f"adapters/{name}/{version}/{MANIFEST}") and any(
        entry["version"] == version for entry in history(store, name)
    )


def base_place(digest: str) -> str:
    """Where a base model that pretrain made lies in the store, by its digest."""
    return f"bases/{digest.removeprefix('sha256:')[:16]}"


def made_base(source: str, splits_digest: str, settings: dict[str, Any]) -> dict[str, Any]:
    """What the manifest of a base model that pretrain made says of how: the base model that it began with, data,
    settings, code."""
    return {"source": source, "splits_digest": splits_digest, "settings": settings, "code_version": code_version()}


PRETRAINING = ("curve", "best_step", "seconds", "useful_tokens", "trainable_parameters")


def pretraining(store: Store, base_digest: str) -> dict[str, Any] | None:
    """The curve and the costs of pretraining, of a base model in the store; None where pretrain did not make it."""
    with suppress(KeyError, ValueError, TypeError):  # nothing there, or no manifest of ours
        told = json.loads(store.get(f"{base_place(base_digest)}/{MANIFEST}")[0])["pretraining"]
        return {name: told[name] for name in PRETRAINING}
    return None


def bases_made(store: Store, made_from: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(URI, digest) of the base models in the store that were made of this, by `made_base`."""
    for key in store.list("bases/"):
        if key.endswith(f"/{MANIFEST}"):
            with suppress(ValueError, KeyError, AttributeError):  # one that is broken was made of nothing
                manifest = json.loads(store.get(key)[0])
                if {name: manifest.get(name) for name in made_from} == made_from:
                    yield f"{store.uri}/{key.removesuffix(f'/{MANIFEST}')}", manifest["digest"]


def read_manifest(store: Store, name: str, version: str) -> dict[str, Any]:
    """The manifest of a version, once its seal and signature hold.

    Raises:
        UserError: there is none, or it is not what was published there.
    """
    key = f"adapters/{name}/{version}/{MANIFEST}"
    try:
        manifest = check_seal(store.get(key)[0], key)
    except KeyError as error:
        raise UserError(
            f"no adapter version '{name}/{version}' in {store.uri}: list the folder adapters/ to see what there is"
        ) from error
    if (manifest.get("name"), manifest.get("version")) != (name, version):
        belongs = f"{manifest.get('name')}/{manifest.get('version')}"
        raise UserError(f"{key} belongs to {belongs}: it was moved here, publish again")
    return manifest


_FACTS = {
    "base_model", "base_digest", "splits_digest", "settings", "settings_digest", "code_version", "metrics", "created",
    "by",
}  # fmt: skip
_FILES = {"training.json", "clinadapt.json", "evaluation.json"}


def read_facts(store: Store, name: str, version: str) -> dict[str, Any]:
    """The same, with all that publish says of a version.

    Raises:
        UserError: as read_manifest, or something is not said.
    """
    manifest = read_manifest(store, name, version)
    if lacking := sorted(_FACTS - manifest.keys()):
        place = f"adapters/{name}/{version}/{MANIFEST}"
        raise UserError(f"{place} does not say {lacking[0]}, so publish did not write it: remove it, and publish again")
    return manifest


def verify(store: Store, name: str, version: str) -> list[str]:
    """Hash every file again and walk the provenance; return what is wrong, each with the name of its file."""
    prefix = f"adapters/{name}/{version}"
    try:
        manifest = read_facts(store, name, version)
    except UserError as error:
        return [str(error)]
    stored = {key.removeprefix(f"{prefix}/") for key in store.list(f"{prefix}/")} - {MANIFEST}
    wrong = [f"{prefix}/{file} was not published" for file in sorted((stored | _FILES) - manifest["files"].keys())]
    content: dict[str, Any] = {}
    for file, facts in manifest["files"].items():
        if file not in stored:
            wrong.append(f"{prefix}/{file} is missing")
        elif (found := _file(store, f"{prefix}/{file}", facts)) is None:
            wrong.append(f"{prefix}/{file} is not what was published (size or sha256 differ)")
        else:
            content[file] = found
    return wrong or [f"{prefix}/{line}" for line in _provenance(manifest, content)]


def _file(store: Store, key: str, facts: dict[str, Any]) -> Any:
    """The content of a JSON file, True for another one, None when it is not what the manifest says."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "copy"
        try:
            store.download(key, copy)
        except (KeyError, Damaged):
            return None
        if {"size": copy.stat().st_size, "sha256": sha256_file(copy)} != facts:
            return None
        return json.loads(copy.read_bytes()) if key.endswith(".json") else True


def _provenance(manifest: dict[str, Any], content: dict[str, Any]) -> Iterator[str]:
    """What does not follow from what: the version names data, base model, settings and code."""
    settings = manifest["settings"]
    chain = name_run(manifest["splits_digest"], manifest["base_digest"], settings, manifest["code_version"])
    claims: list[tuple[str, str, Any, Any]] = [
        (MANIFEST, "settings_digest", manifest["settings_digest"], sha256_json(settings)),
        (MANIFEST, "version, which data, base model, settings and code make", manifest["version"], chain),
        ("training.json", "settings", content["training.json"]["settings"], settings),
        ("clinadapt.json", "base_digest", content["clinadapt.json"]["base_digest"], manifest["base_digest"]),
        (
            "evaluation.json",
            "metrics",
            content["evaluation.json"]["models"]["after"]["metrics"],
            manifest["metrics"],
        ),
    ]
    if broken := broken_link(manifest.get("chain", [])):
        yield f"{MANIFEST}: in the chain of steps, {broken} does not agree with what came before"
    for file, what, one, other in claims:
        if one != other:
            yield f"{file}: {what} does not agree with the rest of the version"


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
    return recent | {found[0]["version"], before_champion(store, name) or found[0]["version"]}


def collect(store: Store, found: list[Garbage], retention: timedelta, say: Callable[[str], None]) -> None:
    """Delete garbage, the manifest of a version first. A version that is promoted at this very moment is kept, and so
    is what somebody goes on with since it was found."""
    since = datetime.now(UTC) - retention
    for item in found:
        if set(store.list(f"{item.what}/")) - set(item.keys):
            say(f"kept {item.what}, which somebody goes on with")
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
                say(f"kept {item.what}, which has been promoted meanwhile")
                continue
        else:
            rest = item.keys
        for key in rest:
            store.delete(key)
        say(f"removed {item.what}")
