"""A sealed folder: verified by its manifest, seen whole or not at all, never mixed of two publishers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from clinadapt.artifacts import sealed_folder
from clinadapt.artifacts.manifest import MANIFEST, DamagedFolder, parse_manifest, write_manifest
from clinadapt.artifacts.sealed_folder import SealedFolder, verify_folder
from clinadapt.errors import UserError
from clinadapt.storage.folder_store import FolderStore

PREFIX = "adapters/a/1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return sealed(tmp_path / "folder", "x")


def sealed(folder: Path, content: str) -> Path:
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "model.safetensors").write_text(content)
    (folder / "tokenizer/vocab.txt").write_text("vocab")
    write_manifest(folder, {"name": content})
    return folder


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore((tmp_path / "store").as_uri())


@pytest.mark.parametrize("prefix", [PREFIX, ""])
def test_what_is_fetched_is_what_was_published(folder: Path, store: FolderStore, tmp_path: Path, prefix: str) -> None:
    sealed_folder = SealedFolder(store, prefix)
    assert not sealed_folder.exists()
    assert sealed_folder.publish(folder) and sealed_folder.exists()
    manifest = sealed_folder.fetch(tmp_path / "copy")
    assert manifest == sealed_folder.read_manifest() == verify_folder(tmp_path / "copy")
    assert manifest["files"].keys() == {"model.safetensors", "tokenizer/vocab.txt"}
    assert sealed_folder.problems(manifest) == {}


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("model.safetensors", b"y", "differs in size or sha256"),
        ("model.safetensors", b"xx", "differs in size or sha256"),
        ("tokenizer/vocab.txt", None, "is missing"),
        ("other.bin", b"x", "is not listed"),
    ],
)
def test_a_damaged_file_is_named(
    folder: Path, store: FolderStore, tmp_path: Path, file: str, content: bytes | None, problem: str
) -> None:
    sealed_folder = SealedFolder(store, PREFIX)
    sealed_folder.publish(folder)
    if content is None:
        store.delete(f"{PREFIX}/{file}")
    else:
        store.put(f"{PREFIX}/{file}", content)
    with pytest.raises(DamagedFolder) as raised:
        sealed_folder.fetch(tmp_path / "copy")
    assert (raised.value.file, raised.value.problem) == (file, problem)
    assert sealed_folder.problems(sealed_folder.read_manifest()) == {file: problem}
    with pytest.raises(DamagedFolder, match=problem):
        sealed_folder.fetch_file(file, tmp_path / "copy", sealed_folder.read_manifest())


def test_files_that_are_not_listed_may_be_allowed(folder: Path) -> None:
    (folder / "notes.txt").write_text("x")
    verify_folder(folder, reject_unlisted="")
    verify_folder(folder, reject_unlisted="*.safetensors")
    (folder / "more.safetensors").write_text("x")
    with pytest.raises(DamagedFolder, match=r"more.safetensors is not listed"):
        verify_folder(folder, reject_unlisted="*.safetensors")


def test_every_byte_of_a_manifest_counts(folder: Path) -> None:
    data = (folder / MANIFEST).read_bytes()
    assert parse_manifest(data)["name"] == "x"
    for spot in range(len(data)):
        with pytest.raises(DamagedFolder, match=MANIFEST):
            parse_manifest(data[:spot] + bytes([data[spot] ^ 1]) + data[spot + 1 :])
    for other in (b"", b"[]", b"{}", b'{"files": {}, "digest": "sha256:0"}', data + b" "):
        with pytest.raises(DamagedFolder, match=MANIFEST):
            parse_manifest(other)


def test_the_manifest_is_written_last_and_removed_first(
    folder: Path, store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed_folder, counts = SealedFolder(store, PREFIX), []

    def watched(name: str) -> Any:
        method = getattr(FolderStore, name)

        def call(self: FolderStore, *arguments: Any, **options: Any) -> Any:
            if sealed_folder.exists():
                counts.append(len(self.list(f"{PREFIX}/")))
            return method(self, *arguments, **options)

        return call

    for name in ("put", "upload", "delete"):
        monkeypatch.setattr(FolderStore, name, watched(name))
    sealed_folder.publish(folder)
    sealed_folder.delete()
    assert counts == [3] and store.list() == []  # complete whenever it was there


def test_two_publishers_never_mix_their_files(
    folder: Path, store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed_folder, "_WAIT_SECONDS", 0)
    other = sealed(tmp_path / "other", "y")
    published = SealedFolder(store, PREFIX)
    store.put(f"{PREFIX}/model.safetensors", b"y")  # of one that was killed
    with pytest.raises(UserError, match=rf"{PREFIX}/model.safetensors is not from this run"):
        published.publish(folder, if_absent=True)
    assert published.publish(other, if_absent=True)
    monkeypatch.setattr(sealed_folder, "_WAIT_SECONDS", 1)
    assert not published.publish(folder, if_absent=True)
    assert not published.publish(sealed(tmp_path / "same", "y"), if_absent=True)
    assert published.fetch(tmp_path / "copy")["name"] == "y"


def test_a_file_that_a_killed_publisher_left_is_not_sealed_in(folder: Path, store: FolderStore) -> None:
    store.put(f"{PREFIX}/merges.txt", b"left")
    with pytest.raises(UserError, match=rf"{PREFIX}/merges.txt is not from this run"):
        SealedFolder(store, PREFIX).publish(folder, if_absent=True)
    assert not SealedFolder(store, PREFIX).exists()


def test_files_removed_while_it_is_published(folder: Path, store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put = FolderStore.put

    def raced(self: FolderStore, key: str, data: bytes, **options: Any) -> str:
        self.delete(f"{PREFIX}/model.safetensors")
        return put(self, key, data, **options)

    monkeypatch.setattr(FolderStore, "put", raced)
    with pytest.raises(UserError, match="were removed while it was published"):
        SealedFolder(store, PREFIX).publish(folder)
    assert not SealedFolder(store, PREFIX).exists()


def test_a_name_in_a_manifest_cannot_leave_the_folder(folder: Path, store: FolderStore, tmp_path: Path) -> None:
    sealed_folder = SealedFolder(store, PREFIX)
    sealed_folder.publish(folder)
    manifest = sealed_folder.read_manifest()
    manifest["files"]["../outside"] = manifest["files"]["model.safetensors"]
    shutil.copyfile(folder / "model.safetensors", tmp_path / "store/adapters/a/outside")
    (tmp_path / "scratch").mkdir()
    assert sealed_folder.fetch_file("../outside", tmp_path / "scratch", manifest).parent == tmp_path / "scratch"
