"""An object store in a plain folder (`file://`)."""

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
from clinadapt.storage.local_files import file_path, os_errors
from clinadapt.storage.object_store import PART, Conflict, Entry, Moved, ignore


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
