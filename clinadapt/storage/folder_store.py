"""An object store in a local folder (`file://`)."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from clinadapt.errors import UserError
from clinadapt.storage.local_files import atomic_write, file_path, os_errors, private_file, private_folder
from clinadapt.storage.object_store import PARTIAL_PREFIX, Conflict, Entry, ProgressCallback, no_progress


class FolderStore:
    """Objects as files below a folder.

    Files are written under a temporary name and renamed, so readers never see partial content. Conditional writes
    lock the folder. What is new is readable for this user only: it may contain notes.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self._root = file_path(uri)

    def _path(self, key: str) -> Path:
        if "\0" in key:
            raise UserError("a key of a store has no NUL character: remove it")
        path = (self._root / key).resolve()
        if not path.is_relative_to(self._root.resolve()):
            raise UserError(f"key '{key}' points outside of the store: remove '..' from it")
        return path

    @contextmanager
    def _replacing(
        self, key: str, *, locked: bool, if_absent: bool = False, if_match: str | None = None
    ) -> Iterator[Path]:
        """Yield a temporary path that becomes the object on success; where `locked`, between two other conditional
        writes. The lock is not held while the file is written: many write at once. Raises Conflict as `put`."""
        target = self._path(key)
        with os_errors(f"cannot write '{key}' to the store {self.uri}"):
            private_folder(target.parent)
            partial = target.with_name(f"{PARTIAL_PREFIX}{uuid.uuid4().hex}")
            private_file(partial)
            try:
                yield partial
                with self._lock() if locked else nullcontext():
                    if if_absent and self.exists(key):
                        raise Conflict(key)
                    if if_match is not None and (not self.exists(key) or self.get(key)[1] != if_match):
                        raise Conflict(key)
                    partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with os_errors(f"cannot write to the store {self.uri}"):
            private_folder(self._root)
            lock = os.fdopen(os.open(self._root / ".lock", os.O_CREAT | os.O_WRONLY, 0o600), "w")
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _read_errors(self, key: str) -> AbstractContextManager[None]:
        return os_errors(f"cannot read '{key}' from the store {self.uri}", "check the permissions of the folder")

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        if if_absent and self.exists(key):  # before anything is written; below, for good
            raise Conflict(key)
        replacing = self._replacing(key, locked=True, if_absent=if_absent, if_match=if_match)
        with replacing as partial, partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return hashlib.sha256(data).hexdigest()

    def _open(self, key: str) -> BinaryIO:
        with self._read_errors(key):
            try:
                return self._path(key).open("rb")
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
                raise KeyError(key) from error

    def get(self, key: str) -> tuple[bytes, str]:
        with self._open(key) as file, self._read_errors(key):
            data = file.read()
        return data, hashlib.sha256(data).hexdigest()

    def etag(self, key: str) -> str:
        return self.get(key)[1]

    def exists(self, key: str) -> bool:
        with self._read_errors(key):
            return self._path(key).is_file()

    def _files(self, prefix: str) -> Iterator[tuple[str, Path]]:
        start, root = self._path(prefix.rpartition("/")[0]), self._root.resolve()
        for path in start.rglob("*"):
            key = path.relative_to(root).as_posix()
            if key.startswith(prefix) and path.name != ".lock":
                yield key, path

    def incomplete_uploads(self, before: datetime, delete: bool = False) -> list[str]:
        partials = {key: path for key, path in self._files("") if path.name.startswith(PARTIAL_PREFIX)}
        old = [key for key, path in partials.items() if path.exists() and path.stat().st_mtime < before.timestamp()]
        for key in old if delete else []:
            self.delete(key)
        return sorted(old)

    def entries(self, prefix: str = "") -> list[Entry]:
        entries = []
        for key, path in self._files(prefix):
            if not path.name.startswith(PARTIAL_PREFIX):
                try:
                    info = path.stat()
                except FileNotFoundError:  # deleted since it was listed
                    continue
                if stat.S_ISREG(info.st_mode):
                    entries.append(Entry(key, info.st_size, datetime.fromtimestamp(info.st_mtime, UTC)))
        return sorted(entries, key=lambda entry: entry.key)

    def list(self, prefix: str = "") -> list[str]:
        return [entry.key for entry in self.entries(prefix)]

    def delete(self, key: str) -> None:
        with os_errors(f"cannot delete '{key}' from the store {self.uri}"):
            self._path(key).unlink(missing_ok=True)

    def upload(
        self, path: Path, key: str, progress: ProgressCallback = no_progress, *, if_absent: bool = False
    ) -> None:
        with self._replacing(key, locked=if_absent, if_absent=if_absent) as partial:
            shutil.copyfile(path, partial)
            with partial.open("rb") as file:
                os.fsync(file.fileno())
        progress(path.stat().st_size)

    def download(self, key: str, path: Path, progress: ProgressCallback = no_progress) -> None:
        with self._open(key) as file, atomic_write(path) as partial, partial.open("wb") as copy:
            shutil.copyfileobj(file, copy, 1 << 20)
        progress(path.stat().st_size)
