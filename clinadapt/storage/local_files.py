"""Local paths of `file://` URIs, atomic writes, and errors of the operating system as one-line messages."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote_to_bytes

from clinadapt.errors import UserError
from clinadapt.storage.object_store import PARTIAL_PREFIX
from clinadapt.storage.uris import parse_uri


def file_path(uri: str) -> Path:
    """Return the local path of a `file://` URI. Raises UserError when it is not absolute or no path."""
    parts = parse_uri(uri)
    path = unquote_to_bytes(parts.path)
    if parts.authority or not parts.path.startswith("/") or b"\0" in path:
        raise UserError(f"'{uri}' is not an absolute path: write file:///absolute/path (three slashes)")
    return Path(os.fsdecode(path))  # file names need not be UTF-8


def private_folder(path: Path) -> None:
    """Create a folder and its missing parents, for this user only (0700). Folders that exist stay as they are."""
    if not path.is_dir():
        private_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def private_file(path: Path) -> None:
    """Create an empty file for this user only (0600)."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def restrict_new_files() -> None:
    """Let this process and its children create files and folders for this user only: they may contain notes."""
    os.umask(0o077)


@contextmanager
def os_errors(message: str, advice: str = "free space or choose a writable location") -> Iterator[None]:
    """Raise an OSError (no space, no permission) as UserError("<message>: <reason>; <advice>")."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{message}: {error.strerror or error}; {advice}") from error


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path that is renamed to `path` on success and deleted on failure."""
    partial = path.with_name(f"{PARTIAL_PREFIX}{uuid.uuid4().hex[:8]}-{path.name}")
    with os_errors(f"cannot write {path}"):
        try:
            yield partial
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
