"""Base models that pretrain made, in the store at `bases/<digest>/`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.storage.object_store import Store


def base_place(digest: str) -> str:
    """Where a base model that pretrain made lies in the store, by its digest."""
    return f"bases/{digest.removeprefix('sha256:')[:16]}"


def made_base(source: str, splits_digest: str, settings: dict[str, Any], code_version: str) -> dict[str, Any]:
    """What the manifest of a base model that pretrain made says of how: the base model that it began with, data,
    settings, code."""
    return {"source": source, "splits_digest": splits_digest, "settings": settings, "code_version": code_version}


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
