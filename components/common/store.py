"""The object store: one small interface over a plain folder (`file://`, here) and S3 (`s3://`, in s3.py).

Keys are relative to the store's URI and use `/`. An entity tag (etag) names the content of an object at
one moment, so that `put(..., if_match=etag)` is a compare-and-swap and `put(..., if_absent=True)` lets
exactly one writer win.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import unquote_to_bytes, urlparse

from components.common.errors import UserError
from components.common.provenance import MANIFEST

AT_ONCE = 32  # files of a folder that are on their way together
PART = ".part-"  # begins the names of files that are not whole yet

Moved = Callable[[int], None]  # told how many bytes have arrived since it was told last


class Damaged(UserError):
    """What arrived is not what was stored, however often it was asked for."""


class Conflict(Exception):
    """A conditional write lost: the object exists already, or has changed since it was read."""


@dataclass(frozen=True)
class Entry:
    """What a listing says of an object: key, size in bytes, when it was written."""

    key: str
    size: int
    modified: datetime


def ignore(moved: int) -> None:
    """Nobody watches."""


class Store(Protocol):
    """What every implementation offers. All methods raise UserError when the store cannot be used."""

    uri: str

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """Write an object whole or not at all and return its etag.

        Raises:
            Conflict: `if_absent` and the object exists, or `if_match` is no longer its etag.
        """
        ...

    def get(self, key: str) -> tuple[bytes, str]:
        """Content and etag. Raises KeyError when there is no such object."""
        ...

    def etag(self, key: str) -> str:
        """Etag without the content. Raises KeyError when there is no such object."""
        ...

    def exists(self, key: str) -> bool: ...

    def unfinished(self, before: datetime, drop: bool = False) -> list[str]:
        """Keys of uploads that began before a moment and were never finished; `drop` removes what they left."""
        ...

    def entries(self, prefix: str = "") -> list[Entry]:
        """All objects whose keys start with `prefix`, sorted by key."""
        ...

    def list(self, prefix: str = "") -> list[str]:
        """All keys that start with `prefix`, sorted."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; an absent one is no error."""
        ...

    def upload(self, path: Path, key: str, moved: Moved = ignore, *, if_absent: bool = False) -> None:
        """Stream a local file into an object, whole or not at all.

        Raises:
            Conflict: `if_absent` and the object exists.
        """
        ...

    def download(self, key: str, path: Path, moved: Moved = ignore) -> None:
        """Stream an object into a local file and verify it. Raises KeyError when there is no such object."""
        ...


def open_store(uri: str) -> Store:
    """The store at a `file://` or `s3://` URI.

    Raises:
        UserError: the scheme is another one, or a `file://` URI has no absolute path.
    """
    scheme = urlparse(uri).scheme
    if scheme == "file":
        return FolderStore(uri)
    if scheme == "s3":
        from components.common.s3 import S3Store  # boto3 takes a second to load

        return S3Store(uri)
    raise UserError(f"the store '{uri}' has no scheme I know: use file:///folder or s3://bucket/prefix")


def upload_folder(store: Store, folder: Path, prefix: str) -> None:
    """Upload every file below `folder` to `prefix/<relative path>`, several at once; its manifest last."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    seal = [folder / MANIFEST] if folder / MANIFEST in paths else []
    with progress("uploading", sum(p.stat().st_size for p in paths)) as moved, ThreadPoolExecutor(AT_ONCE) as pool:
        for part in ([path for path in paths if path not in seal], seal):
            _all(pool.map(lambda p: store.upload(p, f"{prefix}/{p.relative_to(folder).as_posix()}", moved), part))


def delete_folder(store: Store, prefix: str) -> None:
    """Remove every object below `prefix/`; its manifest first, so that it is never seen with a part of it gone."""
    store.delete(f"{prefix}/{MANIFEST}")
    for key in store.list(f"{prefix}/"):
        store.delete(key)


def download_folder(store: Store, prefix: str, folder: Path, resume: bool = False) -> None:
    """Download every object below `prefix/` into `folder`, several at once; of the whole store when it is empty.

    Args:
        store, prefix, folder: from where to where.
        resume: keep the files that are there already. Only for a folder that nothing but this very download fills.

    Raises:
        UserError: a key would leave `folder`.
    """
    start = f"{prefix}/" if prefix else ""
    objects = (entry for entry in store.entries(start) if not entry.key.endswith("/"))  # as consoles mark a folder
    entries = {folder / entry.key.removeprefix(start): entry for entry in objects}
    root = folder.resolve()
    for path in entries:
        if not path.resolve().is_relative_to(root):
            raise UserError(f"the store {store.uri} holds the key '{entries[path].key}', which leaves the folder")
        path.parent.mkdir(parents=True, exist_ok=True)
    missing = {path: entry for path, entry in entries.items() if not (resume and path.exists())}
    total = sum(entry.size for entry in missing.values())
    with progress("downloading", total) as moved, ThreadPoolExecutor(AT_ONCE) as pool:
        _all(pool.map(lambda path: store.download(missing[path].key, path, moved), missing))


def _all(results: Iterator[None]) -> None:
    """Wait for all; the first error stops what has not begun."""
    for _ in results:
        pass


@contextmanager
def progress(what: str, total: int) -> Iterator[Moved]:
    """A bar on the terminal, where standard error is one; `total` in bytes."""
    if not sys.stderr.isatty():
        yield ignore
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(TextColumn(what), *columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda moved: bar.advance(task, moved)


def file_path(uri: str) -> Path:
    """The local path of a `file://` URI. Raises UserError when it is not absolute."""
    parts = urlparse(uri)
    if parts.netloc or not parts.path.startswith("/"):
        raise UserError(f"'{uri}' is not absolute: write file:///absolute/path (three slashes)")
    return Path(os.fsdecode(unquote_to_bytes(parts.path)))  # names that are not UTF-8 among them


@contextmanager
def os_errors(what: str, advice: str = "free space or choose a writable place") -> Iterator[None]:
    """Turn the operating system's refusal (no space, no permission) into one line for the user."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{what}: {error.strerror or error}; {advice}") from error


class FolderStore:
    """Objects are files below a folder. Writes go to a temporary name and are renamed, so that a reader
    sees an object whole or not at all; conditional writes hold a lock on the folder."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self._root = file_path(uri)

    def _path(self, key: str) -> Path:
        path = (self._root / key).resolve()
        if not path.is_relative_to(self._root.resolve()):
            raise UserError(f"the key '{key}' leaves the store: remove '..' from it")
        return path

    @contextmanager
    def _replacing(self, key: str, if_absent: bool = False) -> Iterator[Path]:
        target = self._path(key)
        with os_errors(f"cannot write '{key}' to the store {self.uri}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f"{PART}{uuid.uuid4().hex}")
            try:
                yield part
                with self._lock() if if_absent else nullcontext():
                    if if_absent and target.exists():
                        raise Conflict(key)
                    part.replace(target)
            finally:
                part.unlink(missing_ok=True)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with os_errors(f"cannot write to the store {self.uri}"):
            self._root.mkdir(parents=True, exist_ok=True)
            lock = (self._root / ".lock").open("w")
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _reading(self, key: str) -> AbstractContextManager[None]:
        return os_errors(f"cannot read '{key}' from the store {self.uri}", "check the rights of the folder")

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        with self._lock():
            if if_absent and self.exists(key):
                raise Conflict(key)
            if if_match is not None and (not self.exists(key) or self.get(key)[1] != if_match):
                raise Conflict(key)
            with self._replacing(key) as part, part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        return hashlib.sha256(data).hexdigest()

    def _open(self, key: str) -> BinaryIO:
        with self._reading(key):
            try:
                return self._path(key).open("rb")
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
                raise KeyError(key) from error

    def get(self, key: str) -> tuple[bytes, str]:
        with self._open(key) as file, self._reading(key):
            data = file.read()
        return data, hashlib.sha256(data).hexdigest()

    def etag(self, key: str) -> str:
        return self.get(key)[1]

    def exists(self, key: str) -> bool:
        with self._reading(key):
            return self._path(key).is_file()

    def _files(self, prefix: str) -> Iterator[tuple[str, Path]]:
        start, root = self._path(prefix.rpartition("/")[0]), self._root.resolve()
        for path in start.rglob("*"):
            key = path.relative_to(root).as_posix()
            if key.startswith(prefix) and path.name != ".lock":
                yield key, path

    def unfinished(self, before: datetime, drop: bool = False) -> list[str]:
        parts = {key: path for key, path in self._files("") if path.name.startswith(PART)}
        old = [key for key, path in parts.items() if path.exists() and path.stat().st_mtime < before.timestamp()]
        for key in old if drop else []:
            self.delete(key)
        return sorted(old)

    def entries(self, prefix: str = "") -> list[Entry]:
        found = []
        for key, path in self._files(prefix):
            if not path.name.startswith(PART):
                try:
                    facts = path.stat()
                except FileNotFoundError:  # deleted since it was listed
                    continue
                if stat.S_ISREG(facts.st_mode):
                    found.append(Entry(key, facts.st_size, datetime.fromtimestamp(facts.st_mtime, UTC)))
        return sorted(found, key=lambda entry: entry.key)

    def list(self, prefix: str = "") -> list[str]:
        return [entry.key for entry in self.entries(prefix)]

    def delete(self, key: str) -> None:
        with os_errors(f"cannot delete '{key}' from the store {self.uri}"):
            self._path(key).unlink(missing_ok=True)

    def upload(self, path: Path, key: str, moved: Moved = ignore, *, if_absent: bool = False) -> None:
        with self._replacing(key, if_absent) as part:
            shutil.copyfile(path, part)
            _to_disk(part)
        moved(path.stat().st_size)

    def download(self, key: str, path: Path, moved: Moved = ignore) -> None:
        part = path.with_name(f"{PART}{uuid.uuid4().hex[:8]}-{path.name}")
        with self._open(key) as file, os_errors(f"cannot write {path}"):
            try:
                with part.open("wb") as copy:
                    shutil.copyfileobj(file, copy, 1 << 20)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
        moved(path.stat().st_size)


def _to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
