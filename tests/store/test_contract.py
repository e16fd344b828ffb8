"""The contract of `Store`, for every kind of store."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest

from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.data.sources import source_rows
from clinadapt.errors import UserError
from clinadapt.models.base_model import fetch
from clinadapt.registry.adapters import locate_adapter
from clinadapt.storage import open_store
from clinadapt.storage.folder_store import FolderStore
from clinadapt.storage.object_store import Conflict, Store
from clinadapt.storage.transfer import download_folder, upload_folder

THREADS = 16


def together(work: Callable[[int], bool]) -> int:
    """Run `work` in THREADS threads that start at the same moment; how many return True."""
    barrier = threading.Barrier(THREADS)

    def one(number: int) -> bool:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(one, range(THREADS)))


def test_put_get_and_overwrite(store: Store) -> None:
    first = store.put("a/b.json", b"one")
    assert store.get("a/b.json") == (b"one", first)
    second = store.put("a/b.json", b"two")
    assert store.get("a/b.json") == (b"two", second)
    assert second != first


@pytest.mark.parametrize("data", [b"", b"\0\r\n\xff", "Größe µg".encode(), b"x" * 2_000_000])
def test_bytes_round_trip(store: Store, data: bytes) -> None:
    store.put("data", data)
    assert store.get("data")[0] == data


def test_the_etag_identifies_the_content(store: Store) -> None:
    etag = store.put("key", b"one")
    assert store.etag("key") == etag
    store.put("key", b"two")
    assert store.etag("key") != etag
    assert store.put("key", b"one") == etag


def test_a_missing_object(store: Store, tmp_path: Path) -> None:
    assert not store.exists("nothing")
    for read in (store.get, store.etag, lambda key: store.download(key, tmp_path / "copy")):
        with pytest.raises(KeyError):
            read("nothing")
    assert not (tmp_path / "copy").exists()
    store.delete("nothing")


def test_delete(store: Store) -> None:
    store.put("a/key", b"one")
    store.put("a/other", b"two")
    store.delete("a/key")
    assert not store.exists("a/key")
    assert store.list() == ["a/other"]


def test_list_is_sorted_and_by_prefix(store: Store) -> None:
    keys = ["adapters/a/1/manifest.json", "adapters/a/2/x", "adapters/ab/1/x", "runs/r/train.json", "top"]
    for key in reversed(keys):
        store.put(key, b"x")
    assert store.list() == keys
    assert store.list("adapters/a/") == keys[:2]
    assert store.list("adapters/a") == keys[:3]
    assert store.list("runs/r/tr") == keys[3:4]
    assert store.list("none/") == []


def test_list_goes_past_one_page(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.put(f"many/{number:04}", b""), range(1005)))
    assert len(store.list("many/")) == 1005


def test_files_stream_in_and_out(store: Store, tmp_path: Path) -> None:
    data = os.urandom(9 * 2**20)  # more than one part of a multipart upload
    (tmp_path / "file").write_bytes(data)
    store.upload(tmp_path / "file", "big/file")
    store.download("big/file", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data
    assert store.get("big/file")[0] == data
    assert store.etag("big/file") == store.get("big/file")[1]


def test_folders_round_trip(store: Store, tmp_path: Path) -> None:
    names = {"a.json": b"{}", "deep/er/b.bin": b"\0", "with blank/ü.txt": b"text"}
    for name, data in names.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    upload_folder(store, tmp_path / "in", "adapters/name/1")
    store.put("adapters/name/10/other", b"not in it")
    download_folder(store, "adapters/name/1", tmp_path / "out")
    files = {p.relative_to(tmp_path / "out").as_posix(): p for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert {name: path.read_bytes() for name, path in files.items()} == names
    download_folder(store, "", tmp_path / "all")
    assert (tmp_path / "all/adapters/name/10/other").read_bytes() == b"not in it"
    assert (tmp_path / "all/adapters/name/1/a.json").read_bytes() == b"{}"


def test_if_absent(store: Store) -> None:
    store.put("key", b"one", if_absent=True)
    with pytest.raises(Conflict):
        store.put("key", b"two", if_absent=True)
    assert store.get("key")[0] == b"one"


def test_compare_and_swap(store: Store) -> None:
    seen = store.put("key", b"one")
    now = store.put("key", b"two", if_match=seen)
    with pytest.raises(Conflict):
        store.put("key", b"three", if_match=seen)
    assert store.get("key") == (b"two", now)


def test_compare_and_swap_of_a_deleted_object(store: Store) -> None:
    seen = store.put("key", b"one")
    store.delete("key")
    with pytest.raises(Conflict):
        store.put("key", b"two", if_match=seen)
    assert not store.exists("key")


def test_one_writer_wins(store: Store) -> None:
    writers = [open_store(store.uri) for _ in range(THREADS)]

    def claim(number: int) -> bool:
        try:
            writers[number].put("claim", b"%d" % number, if_absent=True)
        except Conflict:
            return False
        return True

    assert together(claim) == 1


def test_no_count_is_lost(store: Store) -> None:
    store.put("counter", b"0")
    writers = [open_store(store.uri) for _ in range(THREADS)]

    def add(number: int) -> bool:
        for _ in range(500):
            data, etag = writers[number].get("counter")
            try:
                writers[number].put("counter", b"%d" % (int(data) + 1), if_match=etag)
            except Conflict:
                continue
            return True
        return False

    assert together(add) == THREADS
    assert store.get("counter")[0] == b"%d" % THREADS


def test_readers_never_see_partial_content(store: Store, tmp_path: Path) -> None:
    size = 3_000_000
    (tmp_path / "file").write_bytes(b"f" * size)
    stop = threading.Event()
    seen: set[tuple[int, bytes]] = set()

    def read() -> None:
        while not stop.is_set():
            for key in store.list("whole/"):
                data, _ = store.get(key)
                seen.add((len(data), bytes(set(data))))

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(8):
        store.put("whole/object", bytes([turn]) * size)
        store.upload(tmp_path / "file", "whole/object")
    stop.set()
    reader.join()
    assert seen
    assert all(length == size and len(letters) == 1 for length, letters in seen)


@pytest.mark.parametrize("key", ["../out", "a/../../out", "a/../../../etc/passwd", "/etc/passwd"])
def test_a_key_cannot_leave_the_folder(tmp_path: Path, key: str) -> None:
    folder = open_store((tmp_path / "store").as_uri())
    (tmp_path / "file").write_bytes(b"x")
    attempts: list[Callable[[], object]] = [
        lambda: folder.put(key, b"x"),
        lambda: folder.get(key),
        lambda: folder.delete(key),
        lambda: folder.upload(tmp_path / "file", key),
        lambda: folder.download(key, tmp_path / "copy"),
    ]
    for attempt in attempts:
        with pytest.raises(UserError, match="outside of the store"):
            attempt()
    assert not (tmp_path / "out").exists()


def test_partial_files_are_not_listed(tmp_path: Path) -> None:
    folder = FolderStore((tmp_path / "store").as_uri())
    folder.put("a/key", b"x")
    (tmp_path / "store/a/.part-killed").write_bytes(b"half")
    assert folder.list() == ["a/key"]


def test_a_folder_that_is_not_writable(tmp_path: Path) -> None:
    """A file has the name of the folder, which stops root as well."""
    (tmp_path / "store").write_bytes(b"")
    folder = open_store((tmp_path / "store").as_uri())
    with pytest.raises(UserError, match=r"cannot write .*choose a writable location"):
        folder.put("key", b"x")
    with pytest.raises(UserError, match=r"cannot write .*choose a writable location"):
        folder.upload(tmp_path / "store", "key")


def test_a_folder_that_is_mounted_read_only(mounted: Callable[[str], Path]) -> None:
    folder = open_store(mounted("ro,size=64k").as_uri())
    with pytest.raises(UserError, match="Read-only file system"):
        folder.put("key", b"x")
    assert folder.list() == []


def test_delete_from_a_folder_that_became_read_only(mounted: Callable[[str], Path]) -> None:
    volume = mounted("size=64k")
    folder = open_store(volume.as_uri())
    folder.put("key", b"x")
    subprocess.run(["mount", "-o", "remount,ro", volume], check=True)
    with pytest.raises(UserError, match=r"cannot delete .*Read-only file system"):
        folder.delete("key")
    assert folder.get("key")[0] == b"x"


def test_a_folder_without_read_permission(tmp_path: Path) -> None:
    folder = open_store((tmp_path / "store").as_uri())
    folder.put("key", b"x")
    (tmp_path / "store").chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root may read everything, nobody may not
    try:
        for attempt in (folder.get, folder.etag, folder.exists):
            with pytest.raises(UserError, match=r"cannot read .*Permission denied; check the permissions"):
                attempt("key")
    finally:
        os.seteuid(user)
        (tmp_path / "store").chmod(0o700)


def test_a_full_disk(mounted: Callable[[str], Path], tmp_path: Path) -> None:
    volume = mounted("size=256k")
    folder = open_store(volume.as_uri())
    etag = folder.put("key", b"before")
    (tmp_path / "file").write_bytes(b"x" * 400_000)
    with pytest.raises(UserError, match=r"No space left.*free space"):
        folder.put("key", b"x" * 400_000)
    with pytest.raises(UserError, match=r"No space left.*free space"):
        folder.upload(tmp_path / "file", "other")
    assert folder.get("key") == (b"before", etag)
    assert folder.list() == ["key"]
    with pytest.raises(UserError, match="free space"):
        open_store(tmp_path.as_uri()).download("file", volume / "copy")
    assert folder.list() == ["key"] and not list(volume.glob(".part-*"))


def test_a_missing_bucket(s3_environment: None) -> None:
    with pytest.raises(UserError, match="NoSuchBucket"):
        open_store("s3://no-such-bucket").put("key", b"x")
    with pytest.raises(UserError, match="NoSuchBucket"):
        open_store("s3://no-such-bucket").list()


def test_an_endpoint_that_does_not_answer(s3_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="AWS_ENDPOINT_URL_S3"):
        open_store("s3://bucket").get("key")


def test_no_keys(s3_environment: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(UserError, match="credentials"):
        open_store("s3://bucket").put("key", b"x")


@pytest.mark.parametrize("uri", ["ftp://host/folder", "relative/folder", "file://host/folder", "s3:///key"])
def test_an_invalid_uri(uri: str) -> None:
    with pytest.raises(UserError, match=r"write|use"):
        open_store(uri)


_PRINTABLE = "".join(chr(code) for code in [*range(0x20, 0x7F), 0xE9, 0x416, 0xD55C, 0x1F9E0] if chr(code) not in "/.")
NAMES = [f"ward{_PRINTABLE[i : i + 8]}3" for i in range(0, len(_PRINTABLE), 8)]  # with every printable character once


def uri_of(store: Store, name: str) -> str:
    """The URI of a folder of a store; only in file:// has `%` a meaning."""
    return f"{store.uri}/{quote(name) if store.uri.startswith('file:') and '%' in name else name}"


@pytest.mark.parametrize("where", ["in the store", "of the store"])
def test_every_printable_character_is_a_letter_of_a_key(store: Store, where: str) -> None:
    """In a key, and in the URI of a store, where `#`, `?` and `;` end nothing; `/` separates, and `%` begins a code in
    file://."""
    for number, name in enumerate(NAMES):
        if where == "in the store":
            store.put(f"{name}/notes.csv", f"{number}".encode())
        else:
            open_store(uri_of(store, name)).put("notes.csv", f"{number}".encode())
    for number, name in enumerate(NAMES):
        assert store.get(f"{name}/notes.csv")[0] == f"{number}".encode(), name
    assert sorted(store.list()) == sorted(f"{name}/notes.csv" for name in NAMES)


def test_every_printable_character_in_the_uri_of_a_source_a_base_and_an_adapter(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each of them is read from its own folder, not from that of a neighbor."""
    monkeypatch.setenv("CLINADAPT_CACHE", str(tmp_path / "cache"))
    for number, name in enumerate(NAMES):
        store.put(f"{name}/notes.csv", f"text\n{number}\n".encode())
        store.put(f"{name}/model/config.json", json.dumps({"number": number}).encode())
        store.put(f"{name}/model/model.safetensors", struct.pack("<Q", 2) + b"{}")
        store.put(f"{name}/adapters/ward/{number}/{MANIFEST}", b"{}")
    for number, name in enumerate(NAMES):
        uri = uri_of(store, name)
        assert list(source_rows(f"{uri}/notes.csv")) == [{"text": f"{number}"}], name
        assert json.loads((fetch(f"{uri}/model") / "config.json").read_text()) == {"number": number}, name
        assert locate_adapter(f"{uri}/adapters/ward/{number}", "")[1] == f"adapters/ward/{number}", name
