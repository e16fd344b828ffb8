"""Look up in the registry what this run would train, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clinadapt.artifacts.code_version import run_key
from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.config.instruct import BUILTIN_LLAMA
from clinadapt.registry.approval.records import store_time
from clinadapt.registry.approval.standing import read_case
from clinadapt.registry.champion import champion, was_champion
from clinadapt.registry.pretrained_bases import base_inputs, find_bases
from clinadapt.registry.versions import read_version, version_folder
from clinadapt.storage import open_store
from clinadapt.storage.object_store import Store


def run(splits: Path, settings: dict[str, Any], store_uri: str) -> dict[str, Any]:
    """Find a version with this run's key that has been the champion, waits for approval or was refused.

    A version that was published and never became the champion is judged again: another champion came between, or the
    time for its approval is over.

    Args:
        splits: the folder that format wrote.
        settings: of lookup, as preflight resolved them.
        store_uri: of the store.

    Returns:
        decision `new`; or `known`, with sentence, uri, report_uri, version and metrics.

    Raises:
        UserError: the version is not what was published.
    """
    store, name = open_store(store_uri), settings["adapter_name"]
    for key in run_keys(store, read_json(splits / MANIFEST)["digest"], settings):
        sentence = _sentence(store, name, key) if was_champion(store, name, key) else _waiting(store, name, key)
        if sentence:
            uri = f"{store.uri}/adapters/{name}/{key}"
            return {
                "decision": "known",
                "sentence": sentence,
                "uri": uri,
                "report_uri": f"{uri}/report.html",
                "version": key,
                "metrics": read_version(store, name, key)["metrics"],
            }
    return {"decision": "new"}


def run_keys(store: Store, data: str, settings: dict[str, Any]) -> Iterator[str]:
    """The run key; where pretrain makes the base model, one for each base that was made of the same inputs.

    Args:
        store: the store.
        data: digest of the splits.
        settings: of lookup.
    """
    training, code, gate = settings["settings"], settings["code_version"], settings.get("thresholds")
    if "pretraining" not in settings:
        yield run_key(data, settings["base_digest"], training, code, gate)
        return
    source = BUILTIN_LLAMA if training["base_model"] == BUILTIN_LLAMA else settings["base_digest"]
    inputs = base_inputs(source, data, settings["pretraining"], settings["pretraining_code_version"])
    for uri, digest in find_bases(store, inputs):
        yield run_key(data, digest, training | {"base_model": uri}, code, gate)


def _waiting(store: Store, name: str, version: str) -> str:
    """What is to do about a version that people have to approve; empty where there is none, or where it is judged
    again."""
    if (
        not version_folder(store, name, version).exists()
        or (case := read_case(store, name, version, store_time(store))) is None
    ):
        return ""
    standing = case.standing()
    if case.may_be_proposed(standing):
        return ""
    sentence = f"nothing new: {name}/{version}, trained on the same with the same settings, is {standing.sentence()}"
    if standing.state == "refused":
        return f"{sentence}; train another version"
    verb = "promote" if standing.state == "approved" else "approve"
    return f"{sentence}; to make it the champion: clinadapt registry {verb} {name}/{version}"


def _sentence(store: Store, name: str, version: str) -> str:
    sentence = (
        f"nothing new: {name}/{version} was trained on the same data and base model with the same settings and code"
    )
    current = champion(store, name)
    if current and current[0] != version:
        sentence += f"; the champion is {current[0]}, to change that: clinadapt registry promote {name}/{version}"
    return sentence
