"""The object-store interface that folders and S3 buckets implement.

Keys are relative to the store's URI and use `/`. An entity tag (etag) identifies the content of an object, so
`put(..., if_match=etag)` is a compare-and-swap, and of concurrent `put(..., if_absent=True)` exactly one succeeds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from clinadapt.errors import UserError

MAX_CONCURRENCY = 32  # files of a folder transferred at the same time
PARTIAL_PREFIX = ".part-"  # of the names of incomplete files

ProgressCallback = Callable[[int], None]  # called with the number of bytes transferred since the last call


class CorruptObject(UserError):
    """The content of an object does not match its checksum, even after retries."""


class Conflict(Exception):
    """A conditional write failed: the object exists already, or has changed since it was read."""


@dataclass(frozen=True)
class Entry:
    """An object as listed: key, size in bytes, time of the last write."""

    key: str
    size: int
    modified: datetime


def no_progress(transferred: int) -> None:
    """Ignore the progress of a transfer."""


class Store(Protocol):
    """An object store. All methods raise UserError when the store cannot be used, and may be called by several threads.

    Attributes:
        uri: without a slash at its end.
    """

    uri: str

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """Write an object atomically and return its etag.

        Raises:
            Conflict: `if_absent` and the object exists, or `if_match` is no longer its etag.
        """
        ...

    def get(self, key: str) -> tuple[bytes, str]:
        """Return content and etag of an object. Raises KeyError when it does not exist."""
        ...

    def etag(self, key: str) -> str:
        """Return the etag of an object. Raises KeyError when it does not exist."""
        ...

    def exists(self, key: str) -> bool:
        """Whether there is an object of that key."""
        ...

    def incomplete_uploads(self, before: datetime, delete: bool = False) -> list[str]:
        """Keys of uploads that began before a point in time and never completed; `delete` removes their data."""
        ...

    def entries(self, prefix: str = "") -> list[Entry]:
        """All objects whose keys start with `prefix`, sorted by key."""
        ...

    def list(self, prefix: str = "") -> list[str]:
        """All keys that start with `prefix`, sorted."""
        ...

    def delete(self, key: str) -> None:
        """Delete an object if it exists."""
        ...

    def upload(
        self, path: Path, key: str, progress: ProgressCallback = no_progress, *, if_absent: bool = False
    ) -> None:
        """Write a local file to an object, atomically and without loading it into memory.

        Raises:
            Conflict: `if_absent` and the object exists.
        """
        ...

    def download(self, key: str, path: Path, progress: ProgressCallback = no_progress) -> None:
        """Write an object to a local file, which appears under its name once it is complete and verified.

        Raises:
            KeyError: the object does not exist.
            CorruptObject: the content does not match its checksum.
        """
        ...
