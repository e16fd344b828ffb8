"""The registry: published adapters in the store, which of them answers, and how that came about.

adapters/<name>/<version>/...            immutable; exists once its manifest.json is there, which is written last
adapters/<name>/champion.json            {version, history}; moves by compare-and-swap, so its history has no fork
bases/<digest>/...                       base models that pretrain made, by content; manifest.json last

An entry of the history: id, version, previous, when (UTC), by (run or user), rollback, and the facts that came with it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clinadapt.artifacts.code_version import run_key
from clinadapt.artifacts.hashing import sha256_file, sha256_json
from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.artifacts.signing import check_seal
from clinadapt.artifacts.slsa import broken_link
from clinadapt.errors import UserError
from clinadapt.storage.object_store import CorruptObject, Store


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


def read_version(store: Store, name: str, version: str) -> dict[str, Any]:
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
        manifest = read_version(store, name, version)
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
        except (KeyError, CorruptObject):
            return None
        if {"size": copy.stat().st_size, "sha256": sha256_file(copy)} != facts:
            return None
        return json.loads(copy.read_bytes()) if key.endswith(".json") else True


def _provenance(manifest: dict[str, Any], content: dict[str, Any]) -> Iterator[str]:
    """What does not follow from what: the version names data, base model, settings and code."""
    settings = manifest["settings"]
    chain = run_key(manifest["splits_digest"], manifest["base_digest"], settings, manifest["code_version"])
    claims: list[tuple[str, str, Any, Any]] = [
        (MANIFEST, "settings_digest", manifest["settings_digest"], sha256_json(settings)),
        (MANIFEST, "version, which data, base model, settings and code make", manifest["version"], chain),
        ("training.json", "settings", content["training.json"]["settings"], settings),
        ("clinadapt.json", "base_digest", content["clinadapt.json"]["base_digest"], manifest["base_digest"]),
        (
            "evaluation.json",
            "metrics",
            content["evaluation.json"]["models"]["candidate"]["metrics"],
            manifest["metrics"],
        ),
    ]
    if broken := broken_link(manifest.get("chain", [])):
        yield f"{MANIFEST}: in the chain of steps, {broken} does not agree with what came before"
    for file, what, one, other in claims:
        if one != other:
            yield f"{file}: {what} does not agree with the rest of the version"
