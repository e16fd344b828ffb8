"""Is there anything new? What this run would make, looked up in the registry before anything is trained."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clinadapt.artifacts.code_version import code_version, run_key_of
from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.config.instruct import BUILTIN_LLAMA
from clinadapt.registry.champion import champion, was_champion
from clinadapt.registry.pretrained_bases import base_inputs, find_bases
from clinadapt.registry.versions import read_version
from clinadapt.storage import open_store
from clinadapt.storage.object_store import Store


def run(splits: Path, settings: str, base_digest: str, store_uri: str, name: str) -> dict[str, Any]:
    """decision `new`; or `known`, where a version with this run key has answered already, with sentence, uri,
    report_uri, version and metrics.

    A version that was published and has never become the champion is judged again: another champion came between.

    Args:
        splits: what format wrote.
        settings: of the stages of training, as preflight gives them.
        base_digest: of the base model that training begins with.
        store_uri: of the store.
        name: of the adapter.

    Raises:
        UserError: the version is not what was published there.
    """
    store = open_store(store_uri)
    data = read_json(splits / MANIFEST)["digest"]
    for key in run_keys(store, data, json.loads(settings), base_digest):
        if was_champion(store, name, key):
            manifest = read_version(store, name, key)
            uri = f"{store.uri}/adapters/{name}/{key}"
            return {
                "decision": "known",
                "sentence": _sentence(store, name, key),
                "uri": uri,
                "report_uri": f"{uri}/report.html",
                "version": key,
                "metrics": manifest["metrics"],
            }
    return {"decision": "new"}


def run_keys(store: Store, data: str, stages: dict[str, dict[str, Any]], base_digest: str) -> Iterator[str]:
    """The run key; where pretrain makes the base model, one for each that it has made of the same."""
    train = stages["train"]
    if "pretrain" not in stages:
        yield run_key_of(data, base_digest, train, code_version())
        return
    source = train["base_model"] if train["base_model"] == BUILTIN_LLAMA else base_digest
    for uri, digest in find_bases(store, base_inputs(source, data, stages["pretrain"])):
        yield run_key_of(data, digest, train | {"base_model": uri}, code_version())


def _sentence(store: Store, name: str, version: str) -> str:
    sentence = f"nothing new: {name}/{version} was made from the same data, base model, settings and code"
    found = champion(store, name)
    if found and found[0] != version:
        sentence += f"; the champion is {found[0]}, and clinadapt registry promote {name}/{version} would change that"
    return sentence
