"""Base models that the pretrain step has trained.

bases/<digest>/...    sealed folder, named by its content
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from clinadapt.artifacts.hashing import parse_json
from clinadapt.artifacts.manifest import MANIFEST, DamagedFolder
from clinadapt.artifacts.sealed_folder import SealedFolder
from clinadapt.storage import open_store
from clinadapt.storage.object_store import Store

PRETRAINING_FIELDS = ("curve", "best_step", "seconds", "useful_tokens", "trainable_parameters")


def base_prefix(digest: str) -> str:
    """Prefix in the store of a pretrained base model, by its digest."""
    return f"bases/{digest.removeprefix('sha256:')[:16]}"


def base_inputs(source: str, splits_digest: str, settings: dict[str, Any], code_version: str) -> dict[str, Any]:
    """What determines a pretrained base model, as its manifest records it: the base model it started from, data,
    settings and code."""
    return {"source": source, "splits_digest": splits_digest, "settings": settings, "code_version": code_version}


def pretraining_record(store: Store, base_digest: str) -> dict[str, Any] | None:
    """PRETRAINING_FIELDS of a base model in the store; None where the pretrain step did not make it."""
    with suppress(KeyError, TypeError, DamagedFolder):
        record = SealedFolder(store, base_prefix(base_digest)).read_manifest()["pretraining"]
        return {field: record[field] for field in PRETRAINING_FIELDS}
    return None


def base_manifest(uri: str) -> dict[str, Any]:
    """The manifest of a base model in a store; empty where it has none."""
    try:
        return dict(parse_json(open_store(uri).get(MANIFEST)[0])) if uri.startswith(("file://", "s3://")) else {}
    except KeyError:
        return {}


def find_bases(store: Store, inputs: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(URI, digest) of the base models in the store that were trained from these `base_inputs`."""
    for key in store.list("bases/"):
        if key.endswith(f"/{MANIFEST}"):
            prefix = key.removesuffix(f"/{MANIFEST}")
            with suppress(KeyError, DamagedFolder):
                manifest = SealedFolder(store, prefix).read_manifest()
                if {field: manifest.get(field) for field in inputs} == inputs:
                    yield f"{store.uri}/{prefix}", manifest["digest"]
