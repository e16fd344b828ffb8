"""Resumable download of large objects from S3.

boto3's transfer manager neither resumes a download nor verifies its parts, so parts are fetched here. The incomplete
file and the list of its completed parts stay on disk when a download is interrupted; the next one continues it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from clinadapt.storage.local_files import os_errors
from clinadapt.storage.object_store import PARTIAL_PREFIX, ProgressCallback
from clinadapt.storage.s3_checksums import ChecksumMismatch, PartChecksums, chunks, crc32, etag_is_md5, unquoted
from clinadapt.storage.s3_client import retry
from clinadapt.storage.s3_errors import NOT_FOUND, PRECONDITION_FAILED, error_code


def download_parts(
    client: Any,
    location: dict[str, str],
    path: Path,
    progress: ProgressCallback,
    pool: ThreadPoolExecutor,
    default_part_size: int,
) -> None:
    """Download the parts of an object that are not on disk yet; the file gets its name once it is complete.

    Args:
        client: boto3 client for S3.
        location: `Bucket` and `Key` of the object.
        path: local file to write.
        progress: called with the bytes of each completed part.
        pool: threads for the requests.
        default_part_size: bytes; for objects that carry no checksums of their parts.

    Raises:
        ChecksumMismatch: the content does not match its checksums, or was replaced during the download.
        ClientError: the object cannot be read.
        UserError: the file cannot be written.
    """
    head = client.head_object(**location)
    size, etag = head["ContentLength"], unquoted(head["ETag"])
    checksums = PartChecksums.from_metadata(head["Metadata"], size)
    part_size = checksums.part_size if checksums else default_part_size

    def fetch(number: int) -> None:
        start, end, crc = number * part_size, min(size, (number + 1) * part_size), 0
        response = client.get_object(**location, Range=f"bytes={start}-{end - 1}", IfMatch=etag)
        for data in chunks(response):
            if start + len(data) > end:  # would overwrite the next part, which may be verified already
                raise ChecksumMismatch
            partial.write(start, data)
            start, crc = start + len(data), zlib.crc32(data, crc)
        if start != end or (checksums and crc != checksums.crcs[number]):
            raise ChecksumMismatch

    def complete(number: int) -> None:
        start = number * part_size
        done = number in partial.completed
        if not done or (checksums and crc32(partial.read, start, part_size) != checksums.crcs[number]):
            retry(lambda: fetch(number))
            partial.mark_completed(number)
        progress(min(part_size, size - start))

    with _PartialFile(path, f"{location['Bucket']}/{location['Key']} {etag} {size}") as partial:
        try:
            _run_all(pool, complete, -(-size // part_size))
        except ClientError as error:
            if error_code(error) in PRECONDITION_FAILED | NOT_FOUND:  # replaced or deleted during the download
                partial.discard()
            if error_code(error) not in PRECONDITION_FAILED:
                raise
            raise ChecksumMismatch from error
        if checksums is None and etag_is_md5(head) and partial.md5() != etag:
            partial.discard()
            raise ChecksumMismatch
        partial.finish()


class _PartialFile:
    """An incomplete file and, beside it, the list of its completed parts.

    The names contain a hash of the object's location, etag and size, so that only a download of the same content
    continues it. The file is locked: another process that downloads the same content waits.
    """

    def __init__(self, path: Path, content_id: str) -> None:
        name = f"{PARTIAL_PREFIX}{hashlib.sha256(content_id.encode()).hexdigest()[:16]}-{path.name}"
        self._path, self._list, self._target = path.with_name(name), path.with_name(f"{name}.list"), path
        self._lock = threading.Lock()

    def __enter__(self) -> _PartialFile:
        with self._errors(), ExitStack() as stack:
            self._file = stack.enter_context(_locked(self._path))
            if os.fstat(self._file).st_size == 0:  # a list without content belongs to a file that was renamed
                self._list.unlink(missing_ok=True)
            lines = self._list.read_text(errors="replace").splitlines() if self._list.exists() else []
            self._stack = stack.pop_all()
        self.completed = {int(line) for line in lines if line.isdecimal()}
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _errors(self) -> AbstractContextManager[None]:
        return os_errors(f"cannot write {self._target}")

    def write(self, offset: int, data: bytes) -> None:
        with self._errors(), self._lock:  # concurrent writes to one file contend in the kernel
            view = memoryview(data)
            while view:
                written = os.pwrite(self._file, view, offset)
                view, offset = view[written:], offset + written

    def mark_completed(self, number: int) -> None:
        with self._errors(), self._lock, self._list.open("a") as file:
            file.write(f"{number}\n")

    def read(self, offset: int, length: int) -> bytes:
        with self._errors():
            return os.pread(self._file, length, offset)

    def md5(self) -> str:
        with self._errors(), self._path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()

    def discard(self) -> None:
        with self._errors():
            self._list.unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)

    def finish(self) -> None:
        with self._errors():
            self._list.unlink(missing_ok=True)
            self._path.replace(self._target)


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Open a file, created if missing, under an exclusive lock, and yield its descriptor."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            current = False
            with suppress(FileNotFoundError):  # the previous owner of the lock has renamed or deleted it
                current = os.path.samestat(os.fstat(file), path.stat())
            if current:
                yield file
                return
        finally:
            os.close(file)


def _run_all(pool: ThreadPoolExecutor, work: Callable[[int], None], count: int) -> None:
    """Run `work` for 0 to `count` - 1. After an error, cancel what has not begun and wait for the rest, which still
    writes to the file."""
    futures = [pool.submit(work, number) for number in range(count)]
    try:
        for future in futures:
            future.result()
    finally:
        for future in futures:
            future.cancel()
        wait(futures)
