"""Checksums that objects in S3 carry in their metadata, and their verification.

An object has the SHA-256 of its content (`sha256`) or, if it is larger than a part, the CRC-32 of each part (`crc32`,
big-endian and base64) and the size of a part (`part`). Objects without them, written by other tools, are compared with
their etag where that is an MD5.
"""

from __future__ import annotations

import base64
import hashlib
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import IncompleteReadError, ReadTimeoutError, ResponseStreamingError

from clinadapt.errors import UserError

CHUNK_SIZE = 2**20  # bytes read at a time
_MAX_PARTS = 256  # S3 limits metadata to 2 KB


class ChecksumMismatch(Exception):
    """The received content is not the stored content."""


@dataclass(frozen=True)
class PartChecksums:
    """The CRC-32 of each part of an object, in order, and the size of a part in bytes."""

    part_size: int
    crcs: list[int]

    @classmethod
    def compute(
        cls, read: Callable[[int, int], bytes], size: int, part_size: int, pool: ThreadPoolExecutor
    ) -> PartChecksums:
        """Checksums of `size` bytes of `read(offset, length)`. The part size is doubled until metadata can hold all."""
        while size > _MAX_PARTS * part_size:
            part_size *= 2
        return cls(part_size, list(pool.map(lambda at: crc32(read, at, part_size), range(0, size, part_size))))

    @classmethod
    def from_metadata(cls, metadata: dict[str, str], size: int) -> PartChecksums | None:
        """Checksums of an object of `size` bytes, if a `S3Store` stored them.

        Raises:
            ChecksumMismatch: they are malformed or do not fit the size.
        """
        if not metadata.keys() >= {"write", "crc32", "part"}:
            return None
        try:
            packed, part_size = base64.b64decode(metadata["crc32"]), int(metadata["part"])
        except ValueError as error:
            raise ChecksumMismatch from error
        if part_size < 1 or len(packed) != 4 * -(-size // part_size):
            raise ChecksumMismatch
        return cls(part_size, list(struct.unpack(f">{len(packed) // 4}I", packed)))

    def to_metadata(self) -> dict[str, str]:
        packed = struct.pack(f">{len(self.crcs)}I", *self.crcs)
        return {"part": str(self.part_size), "crc32": base64.b64encode(packed).decode()}


class VerifiedFile(io.FileIO):
    """A file to upload, compared with its checksums while it is read from start to end.

    Read sizes must divide the part size.
    """

    def __init__(self, path: Path, checksums: PartChecksums) -> None:
        super().__init__(path)
        self._path, self._checksums, self._crc = path, checksums, 0

    def read(self, size: int = -1) -> bytes:  # type: ignore[override]
        """Read up to `size` bytes. Raises UserError when the file has changed since its checksums were computed."""
        data = super().read(size) or b""
        self._crc, end, part_size = zlib.crc32(data, self._crc), self.tell(), self._checksums.part_size
        if end % part_size == 0 or len(data) < size:
            number = (end - 1) // part_size
            if self._checksums.crcs[number : number + 1] != [self._crc]:
                raise UserError(f"{self._path} changed during the upload: stop what writes to it and run again")
            self._crc = 0
        return data


def crc32(read: Callable[[int, int], bytes], offset: int, length: int) -> int:
    """CRC-32 of up to `length` bytes from `offset`, read in chunks by `read(offset, length)`."""
    crc = 0
    for at in range(offset, offset + length, CHUNK_SIZE):
        crc = zlib.crc32(read(at, min(CHUNK_SIZE, offset + length - at)), crc)
    return crc


def chunks(response: dict[str, Any]) -> Iterator[bytes]:
    """Content of a GetObject response in chunks. Raises ChecksumMismatch when the connection breaks."""
    try:
        while data := response["Body"].read(CHUNK_SIZE):
            yield data
    except (IncompleteReadError, ReadTimeoutError, ResponseStreamingError) as error:
        raise ChecksumMismatch from error


def verified_content(response: dict[str, Any]) -> bytes:
    """Content of a GetObject response for a whole object. Raises ChecksumMismatch."""
    data, metadata = b"".join(chunks(response)), response["Metadata"]
    if len(data) != response["ContentLength"]:
        raise ChecksumMismatch
    if checksums := PartChecksums.from_metadata(metadata, len(data)):
        size = checksums.part_size
        matches = [zlib.crc32(data[at : at + size]) for at in range(0, len(data), size)] == checksums.crcs
    elif metadata.keys() >= {"write", "sha256"}:
        matches = hashlib.sha256(data).hexdigest() == metadata["sha256"]
    else:
        matches = not etag_is_md5(response) or hashlib.md5(data, usedforsecurity=False).hexdigest() == unquoted(
            response["ETag"]
        )
    if not matches:
        raise ChecksumMismatch
    return data


def etag_is_md5(response: dict[str, Any]) -> bool:
    """Whether an object's etag is the MD5 of its content: not after a multipart upload or encryption with KMS."""
    return len(unquoted(response["ETag"])) == 32 and not response.get("ServerSideEncryption", "").startswith("aws:kms")


def unquoted(etag: str) -> str:
    """An etag without quotes: Ceph compares conditions literally, and its listings have none."""
    return etag.strip('"')
