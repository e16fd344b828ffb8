"""What the registry knows already is not made again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clinadapt.artifacts.code_version import run_key
from clinadapt.artifacts.hashing import sha256_json, write_json
from clinadapt.artifacts.manifest import MANIFEST, with_digest, write_manifest
from clinadapt.artifacts.sealed_folder import SealedFolder
from clinadapt.artifacts.signing import sign_manifest
from clinadapt.config.instruct import BUILTIN_LLAMA
from clinadapt.errors import UserError
from clinadapt.registry import pretrained_bases
from clinadapt.registry.champion import champion, promote
from clinadapt.registry.pretrained_bases import base_inputs, base_prefix, pretraining_record
from clinadapt.storage import open_store
from clinadapt.storage.object_store import Store
from clinadapt.storage.transfer import upload_folder
from components.publish.lookup import run, run_keys

NAME, DATA, BASE = "specialty", "sha256:data", "sha256:base"
TRAIN = {"base_model": "builtin://minilm", "num_train_epochs": 5, "learning_rate": 0.001, "lora": {"r": 16}}
CODE = "0.1.0+train"
METRICS = {"accuracy": {"value": 0.7, "low": 0.6, "high": 0.8}}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "store").as_uri())


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    folder = tmp_path / "splits"
    folder.mkdir()
    write_json(folder / MANIFEST, {"digest": DATA})
    return folder


def publish(store: Store, folder: Path, settings: dict[str, Any], base: str = BASE, code: str = CODE) -> str:
    """A version's manifest, which is written last."""
    version = run_key(DATA, base, settings, code)
    folder = folder / version
    folder.mkdir()
    manifest = {
        "name": NAME,
        "version": version,
        "metrics": METRICS,
        "base_model": "builtin://minilm",
        "base_digest": base,
    }
    manifest |= {"splits_digest": DATA, "settings": settings, "settings_digest": sha256_json(settings)}
    manifest |= {"code_version": code, "created": "2026-01-01T00:00:00Z", "published_by": "a test"}
    write_json(folder / MANIFEST, sign_manifest(write_manifest(folder, manifest)))
    upload_folder(store, folder, f"adapters/{NAME}/{version}")
    return version


def answer(store: Store, version: str) -> None:
    if not store.exists(f"adapters/{NAME}/{version}/{MANIFEST}"):
        store.put(f"adapters/{NAME}/{version}/{MANIFEST}", b"{}")
    promote(store, NAME, version, (champion(store, NAME) or ("", ""))[1], {})


def settings(train: dict[str, Any] = TRAIN, **pretraining: Any) -> dict[str, Any]:
    """Of lookup, as preflight resolves them."""
    given = {"adapter_name": NAME, "settings": train, "base_digest": BASE, "code_version": CODE}
    return given | ({**pretraining, "pretraining_code_version": CODE} if pretraining else {})


def looked_up(store: Store, splits: Path, **stages: Any) -> dict[str, Any]:
    return run(splits, settings(**stages), store.uri)


def test_an_empty_registry(store: Store, splits: Path) -> None:
    assert looked_up(store, splits) == {"decision": "new"}


def test_what_has_answered_is_known(store: Store, splits: Path, tmp_path: Path) -> None:
    version = publish(store, tmp_path, TRAIN)
    answer(store, version)
    uri = f"{store.uri}/adapters/{NAME}/{version}"
    assert looked_up(store, splits) == {
        "decision": "known",
        "sentence": f"nothing new: {NAME}/{version} was trained on the same data and base model with the same settings "
        "and code",
        "uri": uri,
        "report_uri": f"{uri}/report.html",
        "version": version,
        "metrics": METRICS,
    }


def test_a_new_champion_since(store: Store, splits: Path, tmp_path: Path) -> None:
    version = publish(store, tmp_path, TRAIN)
    answer(store, version)
    answer(store, "another")
    found = looked_up(store, splits)
    assert found["decision"] == "known"
    assert "the champion is another" in found["sentence"]
    assert f"clinadapt registry promote {NAME}/{version}" in found["sentence"]


@pytest.mark.parametrize("changed", [{"num_train_epochs": 6}, {"seed": 1}, {"base_model": "file:///other"}])
def test_other_settings_are_new(store: Store, splits: Path, tmp_path: Path, changed: dict[str, Any]) -> None:
    answer(store, publish(store, tmp_path, TRAIN | changed))
    assert looked_up(store, splits)["decision"] == "new"


def test_other_code_base_or_data_are_new(store: Store, splits: Path, tmp_path: Path) -> None:
    answer(store, publish(store, tmp_path, TRAIN, code="0.0.1+other"))
    answer(store, publish(store, tmp_path, TRAIN, base="sha256:other"))
    assert looked_up(store, splits)["decision"] == "new"
    answer(store, publish(store, tmp_path, TRAIN))
    assert looked_up(store, splits)["decision"] == "known"
    write_json(splits / MANIFEST, {"digest": "sha256:grown"})
    assert looked_up(store, splits)["decision"] == "new"


def test_what_a_run_left_half_way_is_made_again(store: Store, splits: Path, tmp_path: Path) -> None:
    """Files without a manifest; a version that never became the champion, because another run came between."""
    version = publish(store, tmp_path, TRAIN)
    answer(store, "another")
    assert looked_up(store, splits)["decision"] == "new"
    answer(store, version)
    assert looked_up(store, splits)["decision"] == "known"
    store.delete(f"adapters/{NAME}/{version}/{MANIFEST}")
    assert looked_up(store, splits)["decision"] == "new"


def test_a_version_that_was_changed(store: Store, splits: Path, tmp_path: Path) -> None:
    version = publish(store, tmp_path, TRAIN)
    answer(store, version)
    key = f"adapters/{NAME}/{version}/{MANIFEST}"
    store.put(key, store.get(key)[0].replace(b"0.7", b"0.9"))
    with pytest.raises(UserError, match="is not what was published"):
        looked_up(store, splits)


@pytest.mark.parametrize("source", ["hf://org/llama@1", BUILTIN_LLAMA])
def test_a_base_that_pretrain_made(store: Store, splits: Path, tmp_path: Path, source: str) -> None:
    """It is found by what it was made of; of several each may have been the one."""
    pretrain = {"method": "lora", "num_train_epochs": 1, "base_model": source}
    train = TRAIN | {"base_model": source}
    made_from = base_inputs(BUILTIN_LLAMA if source == BUILTIN_LLAMA else BASE, DATA, pretrain, CODE)
    bases = []
    for number, fields in enumerate([made_from, made_from, made_from | {"code_version": "0.0.1+other"}]):
        files = {"model.safetensors": {"size": number, "sha256": sha256_json(number)}}
        manifest = with_digest(fields | {"files": files, "digest": sha256_json(files)})
        prefix = base_prefix(manifest["digest"])
        SealedFolder(store, prefix).write_manifest(manifest)
        bases.append((f"{store.uri}/{prefix}", manifest["digest"]))
    bases.pop()
    assert sorted(pretrained_bases.find_bases(store, made_from)) == sorted(bases)
    stages = {"train": train, "pretraining": pretrain}
    keys = {run_key(DATA, digest, train | {"base_model": uri}, CODE) for uri, digest in bases}
    assert set(run_keys(store, DATA, settings(**stages))) == keys
    assert looked_up(store, splits, **stages)["decision"] == "new"
    uri, digest = bases[1]
    answer(store, publish(store, tmp_path, train | {"base_model": uri}, base=digest))
    assert looked_up(store, splits, **stages)["decision"] == "known"
    longer = stages | {"pretraining": pretrain | {"num_train_epochs": 2}}
    assert looked_up(store, splits, **longer)["decision"] == "new"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"pretraining": 5}', '{"pretraining": {"curve": []}}'])
def test_a_base_model_without_a_record_of_its_pretraining(tmp_path: Path, content: str) -> None:
    store = open_store((tmp_path / "store").as_uri())
    assert pretraining_record(store, sha256_json(0)) is None
    store.put(f"{base_prefix(sha256_json(0))}/{MANIFEST}", content.encode())
    assert pretraining_record(store, sha256_json(0)) is None
