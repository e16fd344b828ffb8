"""Local paths of `file://` URIs, and the operating system's errors as one line for the user."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlparse

from clinadapt.errors import UserError


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
