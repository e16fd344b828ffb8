"""The interface of an object store, which folders and S3 buckets implement.

Keys are relative to the store's URI and use `/`. An entity tag (etag) names the content of an object at
one moment, so that `put(..., if_match=etag)` is a compare-and-swap and `put(..., if_absent=True)` lets
exactly one writer win.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from clinadapt.errors import UserError

AT_ONCE = 32  # files of a folder that are on their way together


PART = ".part-"  # begins the names of files that are not whole yet


Moved = Callable[[int], None]  # told how many bytes have arrived since it was told last


class CorruptObject(UserError):
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
