"""Mirroring a base model: only what is needed, verified, taken up again where it was cut, the manifest last."""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest

from clinadapt.artifacts.hashing import read_json, sha256_file
from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.errors import UserError
from clinadapt.models.base_model import describe, fetch
from clinadapt.models.mirror import mirror
from clinadapt.storage import open_store
from clinadapt.storage.folder_store import FolderStore

KEPT = {"a.safetensors", "b.safetensors", "config.json", "tokenizer.json", "vocab.txt"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The files of a base model, with some that nobody needs."""
    folder = tmp_path / "model"
    (folder / "onnx").mkdir(parents=True)
    for name in ("a", "b"):
        header = json.dumps({f"{name}.weight": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]}}).encode()
        (folder / f"{name}.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + os.urandom(64))
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "vocab.txt").write_text("a")
    for name in ("pytorch_model.bin", "README.md", "onnx/model.json"):
        (folder / name).write_text("{}")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLINADAPT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def target(tmp_path: Path) -> FolderStore:
    return FolderStore((tmp_path / "target").as_uri())


def test_only_what_is_needed_with_a_manifest(model: Path, target: FolderStore) -> None:
    result = mirror(model.as_uri(), target.uri)
    assert set(target.list()) == KEPT | {MANIFEST}
    manifest = json.loads(target.get(MANIFEST)[0])
    assert manifest["source"] == model.as_uri()
    assert manifest["files"]["a.safetensors"]["sha256"] == sha256_file(model / "a.safetensors")
    assert result == {"uri": target.uri, **manifest}
    assert describe(target.uri).tensors.keys() == {"a.weight", "b.weight"}


def test_a_cut_copy_is_no_base_model_and_goes_on(
    model: Path, target: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads: list[str] = []
    upload = FolderStore.upload

    def cut(self: FolderStore, path: Path, key: str, *rest: Any, **options: Any) -> None:
        if len(uploads) == 2:
            raise UserError("cut")
        uploads.append(key)
        upload(self, path, key, *rest, **options)

    monkeypatch.setattr(FolderStore, "upload", cut)
    with pytest.raises(UserError, match="cut"):
        mirror(model.as_uri(), target.uri)
    with pytest.raises(UserError, match=r"no config.json"):
        describe(target.uri)
    monkeypatch.setattr(FolderStore, "upload", upload)
    again: list[str] = []
    monkeypatch.setattr(FolderStore, "upload", lambda self, path, key, *r: (again.append(key), upload(self, path, key)))
    mirror(model.as_uri(), target.uri)
    assert sorted(uploads + again) == sorted(KEPT)
    again.clear()
    mirror(model.as_uri(), target.uri)
    assert again == []


def test_another_model_leaves_nothing_of_the_one_before(model: Path, target: FolderStore, tmp_path: Path) -> None:
    """transformers would load the old model.safetensors before the shards of the new one."""
    mirror(model.as_uri(), target.uri)
    other = tmp_path / "other"
    shutil.copytree(model, other)
    for path in list(other.glob("*.safetensors")):
        path.rename(other / f"new-{path.name}")
    mirror(other.as_uri(), target.uri)
    weights = [key for key in target.list() if key.endswith(".safetensors")]
    assert weights and all(key.startswith("new-") for key in weights)
    assert describe(target.uri)


def test_new_weights_of_the_same_size_are_mirrored(model: Path, target: FolderStore) -> None:
    mirror(model.as_uri(), target.uri)
    weights = next(model.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    manifest = mirror(model.as_uri(), target.uri)
    assert target.get(weights.name)[0] == weights.read_bytes()
    assert manifest["files"][weights.name]["sha256"] == sha256_file(weights)


def test_a_file_that_is_gone_from_the_source_goes_from_the_target(model: Path, target: FolderStore) -> None:
    (model / "extra.txt").write_text("x")
    assert "extra.txt" in mirror(model.as_uri(), target.uri)["files"]
    (model / "extra.txt").unlink()
    manifest = mirror(model.as_uri(), target.uri)
    assert manifest["files"].keys() | {MANIFEST} == set(target.list())
    assert "extra.txt" not in target.list()


def test_the_manifest_goes_before_a_changed_file_comes(
    model: Path, target: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror(model.as_uri(), target.uri)
    weights = next(model.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    there: list[set[str]] = []
    upload = FolderStore.upload

    def watched(self: FolderStore, path: Path, key: str, *rest: Any, **options: Any) -> None:
        there.append(set(target.list()))
        upload(self, path, key, *rest, **options)

    monkeypatch.setattr(FolderStore, "upload", watched)
    mirror(model.as_uri(), target.uri)
    assert there and not any({MANIFEST, "config.json"} & keys for keys in there)


def test_pickled_weights_are_not_mirrored(model: Path, target: FolderStore) -> None:
    for path in model.glob("*.safetensors"):
        path.unlink()
    with pytest.raises(UserError, match=r"no .safetensors weights"):
        mirror(model.as_uri(), target.uri)
    assert target.list() == []


@pytest.fixture
def hub(model: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A hub that has the model; what it says of the weights can be changed."""
    hub = SimpleNamespace(fetched=[], sha256={p.name: sha256_file(p)[7:] for p in model.glob("*.safetensors")})

    def model_info(name: str, revision: str | None, files_metadata: bool) -> SimpleNamespace:
        siblings = []
        for path in (p for p in sorted(model.rglob("*")) if p.is_file()):
            file = path.relative_to(model).as_posix()
            lfs = SimpleNamespace(sha256=hub.sha256[file]) if file in hub.sha256 else None
            siblings.append(SimpleNamespace(rfilename=file, size=path.stat().st_size, lfs=lfs))
        return SimpleNamespace(sha="c0ffee", siblings=siblings)

    def hf_hub_download(name: str, file: str, revision: str, local_dir: Path) -> str:
        assert (name, revision) == ("org/name", "c0ffee")
        hub.fetched.append(file)
        return shutil.copy(model / file, local_dir / file)

    monkeypatch.setattr(huggingface_hub, "model_info", model_info)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
    return hub


def test_from_the_hub(hub: SimpleNamespace, target: FolderStore, cache: Path) -> None:
    result = mirror("hf://org/name@main", target.uri)
    assert set(hub.fetched) == KEPT
    assert result["source"] == "hf://org/name@c0ffee"
    assert [p for p in (cache / "mirror").rglob("*") if p.is_file()] == []


def test_a_file_that_is_not_what_the_hub_says(hub: SimpleNamespace, target: FolderStore) -> None:
    hub.sha256["b.safetensors"] = "0" * 64
    with pytest.raises(UserError, match=r"b.safetensors differs from its source .*: run the same command again"):
        mirror("hf://org/name", target.uri)
    assert not target.exists(MANIFEST)


def test_a_hub_that_cannot_be_reached(no_hub: None, target: FolderStore) -> None:
    with pytest.raises(UserError, match="cannot be downloaded from the hub"):
        mirror("hf://org/name", target.uri)


def test_a_mirror_in_s3_is_verified_when_it_is_fetched(model: Path, s3_environment: None) -> None:
    import boto3

    boto3.client("s3").create_bucket(Bucket="mirrored")
    uri = "s3://mirrored/models/name"
    mirror(model.as_uri(), uri)
    folder = fetch(uri)
    assert read_json(folder / MANIFEST)["files"].keys() == KEPT
    open_store(uri).put("vocab.txt", b"b")
    with pytest.raises(UserError, match=r"vocab.txt is not what was mirrored: run clinadapt mirror again"):
        fetch(uri)
    store = open_store(uri)
    store.put("vocab.txt", b"a")
    earlier = {name: value for name, value in read_json(folder / MANIFEST).items() if name in ("source", "files")}
    store.put(MANIFEST, json.dumps(earlier).encode())  # as an earlier release wrote it
    assert fetch(uri) != folder


def test_a_cut_download_of_a_base_model_goes_on(
    model: Path, s3_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    from clinadapt.storage.s3_store import S3Store

    boto3.client("s3").create_bucket(Bucket="cut")
    mirror(model.as_uri(), "s3://cut/model")
    fetched: list[str] = []
    download = S3Store.download

    def cut(self: S3Store, key: str, *rest: Any) -> None:
        if key == "tokenizer.json" and key not in fetched:
            fetched.append(key)
            raise UserError("cut")
        fetched.append(key)
        download(self, key, *rest)

    monkeypatch.setattr(S3Store, "download", cut)
    with pytest.raises(UserError, match="cut"):
        fetch("s3://cut/model")
    before = len(fetched)
    fetch("s3://cut/model")
    assert "tokenizer.json" in fetched[before:]
    assert sorted(fetched) == sorted([*KEPT, MANIFEST, "tokenizer.json"])
