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
    """Return the local path of a `file://` URI. Raises UserError when it is not absolute."""
    parts = parse_uri(uri)
    if parts.authority or not parts.path.startswith("/"):
        raise UserError(f"'{uri}' is not an absolute path: write file:///absolute/path (three slashes)")
    return Path(os.fsdecode(unquote_to_bytes(parts.path)))  # file names need not be UTF-8


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
