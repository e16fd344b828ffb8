"""What is cached is used only as it was written, and only by the holder of the key where there is one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clinadapt.artifacts.artifact_cache import load, load_folder, save, save_folder
from clinadapt.artifacts.hashing import sha256_file
from clinadapt.artifacts.manifest import MANIFEST, list_files, write_manifest
from clinadapt.storage.folder_store import FolderStore

KEY, PREFIX = "tokens/a", "trained/a/b"


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore((tmp_path / "store").as_uri())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "weights").write_bytes(b"w" * 100)
    write_manifest(path, {"step": "train"})
    return path


def private_key() -> str:
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()).decode()


def reseal_without_key(folder: Path) -> None:
    """Alter a file and make the manifest match, as somebody who can write to the store would."""
    (folder / "weights").write_bytes(b"x" * 100)
    write_manifest(folder, {"step": json.loads((folder / MANIFEST).read_text())["step"]})
    assert list_files(folder)["weights"]["sha256"] == sha256_file(folder / "weights")


@pytest.mark.parametrize("key", [False, True])
def test_an_object_and_a_folder_come_back_as_they_were(
    key: bool, store: FolderStore, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if key:
        monkeypatch.setenv("CLINADAPT_SIGNING_KEY", private_key())
    save(store, KEY, b"a\nb", "format")
    save_folder(store, PREFIX, folder, "train")
    assert load(store, KEY) == b"a\nb"
    assert load_folder(store, PREFIX, tmp_path / "copy", "train")
    for name in ("weights", MANIFEST):
        assert (tmp_path / "copy" / name).read_bytes() == (folder / name).read_bytes()


def test_a_resealed_folder_is_not_used_where_a_key_is_set(
    store: FolderStore, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLINADAPT_SIGNING_KEY", private_key())
    save_folder(store, PREFIX, folder, "train")
    reseal_without_key(tmp_path / "store" / PREFIX)
    assert not load_folder(store, PREFIX, tmp_path / "copy", "train")
    assert not (tmp_path / "copy").exists() and store.list(PREFIX) == []


@pytest.mark.parametrize("key", [False, True])
def test_a_folder_with_a_file_that_nobody_sealed_is_not_used(
    key: bool, store: FolderStore, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever takes it seals all that is in it."""
    if key:
        monkeypatch.setenv("CLINADAPT_SIGNING_KEY", private_key())
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy/half written").write_bytes(b"h")
    save_folder(store, PREFIX, folder, "train")
    assert load_folder(store, PREFIX, tmp_path / "copy", "train")
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == [MANIFEST, "weights"]
    store.put(f"{PREFIX}/chat_template.jinja", b"others'")
    assert not load_folder(store, PREFIX, tmp_path / "copy", "train")
    assert not (tmp_path / "copy").exists() and store.list(PREFIX) == []


def test_neither_another_key_nor_another_place_counts(
    store: FolderStore, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLINADAPT_SIGNING_KEY", first := private_key())
    save(store, KEY, b"data", "format")
    save_folder(store, PREFIX, folder, "train")
    store.put("tokens/b", store.get(KEY)[0])
    for name in ("weights", MANIFEST):
        store.put(f"trained/c/{name}", store.get(f"{PREFIX}/{name}")[0])
    assert load(store, "tokens/b") is None
    assert not load_folder(store, "trained/c", tmp_path / "moved", "train")
    monkeypatch.setenv("CLINADAPT_SIGNING_KEY", private_key())
    assert load(store, KEY) is None
    monkeypatch.setenv("CLINADAPT_SIGNING_KEY", first)
    assert load(store, KEY) == b"data"
    assert load_folder(store, PREFIX, tmp_path / "copy", "train")


def test_what_was_cached_without_a_key_is_made_again(
    store: FolderStore, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(store, KEY, b"data", "format")
    save_folder(store, PREFIX, folder, "train")
    monkeypatch.setenv("CLINADAPT_SIGNING_KEY", private_key())
    assert load(store, KEY) is None
    assert not load_folder(store, PREFIX, tmp_path / "copy", "train")


@pytest.mark.parametrize("stored", [b"", b"data", b"[]\ndata", b"{}\ndata", b'{"digest": 1}\ndata', b"\xff" * 40])
def test_a_damaged_object_counts_as_absent(stored: bytes, store: FolderStore) -> None:
    store.put(KEY, stored)
    assert load(store, KEY) is None
