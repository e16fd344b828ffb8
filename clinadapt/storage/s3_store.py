"""The store in a bucket, through boto3.

Everything is set up in the environment, with the names that boto3 reads: AWS_ENDPOINT_URL_S3, AWS_DEFAULT_REGION,
AWS_CA_BUNDLE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE or a web identity (AWS_ROLE_ARN and
AWS_WEB_IDENTITY_TOKEN_FILE), AWS_MAX_ATTEMPTS, AWS_RETRY_MODE. boto3 has none for these:

AWS_S3_ADDRESSING_STYLE                   path or virtual; path where an endpoint is given (Ceph, SeaweedFS)
AWS_CONNECT_TIMEOUT, AWS_READ_TIMEOUT     seconds; 10 and 60
AWS_SERVER_SIDE_ENCRYPTION                AES256 (SSE-S3) or aws:kms
AWS_SSE_KMS_KEY_ID                        the key of aws:kms, else the bucket's own

Uploads are signed with their SHA-256, which every S3 server checks. An object carries the SHA-256 of its content, or
the CRC-32 of each of its parts where it has several, as metadata: a download is compared with it, and a part that came
damaged is fetched again. The files of a base model, a checkpoint or a version have their SHA-256 in a manifest besides.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import math
import os
import random
import struct
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urlparse

import boto3
from boto3.exceptions import Boto3Error
from botocore import exceptions
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from clinadapt.errors import UserError
from clinadapt.storage.local_files import os_errors
from clinadapt.storage.object_store import AT_ONCE, PART, Conflict, CorruptObject, Entry, Moved, ignore
from clinadapt.storage.s3_errors import code, explain
from clinadapt.storage.s3_runtime import Runtime

_PART = 8 * 2**20  # bytes
_PARTS_AT_ONCE = 8
_PIECE = 2**20  # bytes that a part is read in
_IN_MEMORY = 256 * 2**20  # bytes of parts that are uploaded at once, a part at least
_MOST_PARTS = 256  # so that their checksums fit into the 2 KB that S3 gives metadata
_TURNS = 8
_ABSENT = {"404", "NoSuchKey"}
_LOST = {"PreconditionFailed", "ConditionalRequestConflict", "412"}
_AGAIN = {  # boto3 repeats what the server or the network broke; these too come of a broken request or answer
    "BadDigest",
    "ConditionalRequestConflict",
    "IncompleteBody",
    "InvalidDigest",
    "MalformedXML",
    "RequestTimeout",
    "XAmzContentSHA256Mismatch",
}
_CUT = (exceptions.IncompleteReadError, exceptions.ReadTimeoutError, exceptions.ResponseStreamingError)

T = TypeVar("T")


class _Damaged(Exception):
    """What arrived is not what was stored."""


@dataclass(frozen=True)
class _Facts:
    """What an object in several parts says of its content: bytes of a part, and the CRC-32 of each, in order."""

    part: int
    crcs: list[int]

    @classmethod
    def stored(cls, metadata: dict[str, str], size: int) -> _Facts | None:
        """Those of an object that this module wrote. Raises _Damaged when they are not those of `size` bytes."""
        if not metadata.keys() >= {"write", "crc32", "part"}:
            return None
        try:
            packed, part = base64.b64decode(metadata["crc32"]), int(metadata["part"])
        except ValueError as error:
            raise _Damaged from error
        if part < 1 or len(packed) != 4 * -(-size // part):
            raise _Damaged
        return cls(part, list(struct.unpack(f">{len(packed) // 4}I", packed)))

    def fits(self, number: int, data: bytes) -> bool:
        return zlib.crc32(data) == self.crcs[number]

    def metadata(self) -> dict[str, str]:
        packed = struct.pack(f">{len(self.crcs)}I", *self.crcs)
        return {"part": str(self.part), "crc32": base64.b64encode(packed).decode()}


class S3Store:
    """Objects in a bucket, below a prefix."""

    def __init__(self, uri: str) -> None:
        parts = urlparse(uri)
        if not parts.netloc:
            raise UserError(f"'{uri}' names no bucket: write s3://bucket/prefix")
        self.uri = uri.rstrip("/")
        self._bucket = parts.netloc
        self._prefix = parts.path.strip("/") + "/" if parts.path.strip("/") else ""
        with self._errors(""):
            self._client = s3_client()
        self._encryption = encryption()
        self._parts = ThreadPoolExecutor(_PARTS_AT_ONCE)  # of all transfers together
        self._room = _Room(_IN_MEMORY)
        self._runtime = Runtime(self._client, self._bucket, self._prefix)

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            if code(error) in _LOST:
                raise Conflict(key) from error
            if code(error) in _ABSENT:
                raise KeyError(key) from error
            raise UserError(f"the store {self.uri}: {explain(error)}") from error
        except (BotoCoreError, Boto3Error, ResponseParserError) as error:
            raise UserError(f"the store {self.uri}: {explain(error)}") from error
        except _Damaged as error:
            raise CorruptObject(
                f"'{key}' in the store {self.uri} does not match its checksum, {_TURNS} times: "
                "check the network and the disks of the store"
            ) from error

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + key}

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        condition: dict[str, str] = {}
        if if_absent:
            condition["IfNoneMatch"] = "*"
        if if_match is not None:
            condition["IfMatch"] = _bare(if_match)
        with self._errors(key):
            return self._put(key, lambda: data, self._checks(data), condition)

    def _checks(self, data: bytes) -> dict[str, str]:
        if len(data) <= _PART:
            return {"sha256": hashlib.sha256(data).hexdigest()}
        return self._facts(len(data), lambda at, length: data[at : at + length]).metadata()

    def _facts(self, size: int, read: Callable[[int, int], bytes]) -> _Facts:
        """Of something that `read` gives from an offset on."""
        part = max(_PART, -(-size // _MOST_PARTS) + 2**20 - 1 >> 20 << 20)
        return _Facts(part, _each(self._parts, lambda n: _crc(read, n * part, part), -(-size // part)))

    def _put(
        self, key: str, body: Callable[[], bytes | BinaryIO], facts: dict[str, str], condition: dict[str, str]
    ) -> str:
        """A write whose answer was lost is repeated and may meet itself: then it has won, which its mark tells."""
        metadata = _with_mark(facts)
        request = {**self._at(key), "Metadata": metadata, **condition, **self._encryption}
        try:
            return _again(lambda: self._client.put_object(Body=body(), **request))["ETag"]
        except ClientError as error:
            if not condition or code(error) not in _LOST | _ABSENT:  # absent: If-Match on an object that is gone
                raise
            found = self._marked(key, metadata["write"])
            if not found:
                raise Conflict(key) from error
            return found

    def _marked(self, key: str, mark: str) -> str | None:
        """The etag of an object if it is the one that was written with this mark."""
        try:
            found = _again(lambda: self._client.head_object(**self._at(key)))
        except ClientError as error:
            if code(error) in _ABSENT:
                return None
            raise
        return found["ETag"] if found["Metadata"].get("write") == mark else None

    def get(self, key: str) -> tuple[bytes, str]:
        with self._errors(key):
            return _again(lambda: _whole(self._client.get_object(**self._at(key))))

    def etag(self, key: str) -> str:
        with self._errors(key):
            return _again(lambda: self._client.head_object(**self._at(key)))["ETag"]

    def exists(self, key: str) -> bool:
        try:
            self.etag(key)
        except KeyError:
            return False
        return True

    def unfinished(self, before: datetime, drop: bool = False) -> list[str]:
        pages = self._client.get_paginator("list_multipart_uploads")
        with self._errors(""):
            found = _again(lambda: list(pages.paginate(Bucket=self._bucket, Prefix=self._prefix)))
            old = [u for page in found for u in page.get("Uploads", []) if u["Initiated"] < before]
            for upload in old if drop else []:
                with suppress(self._client.exceptions.NoSuchUpload):  # it has ended meanwhile
                    self._client.abort_multipart_upload(
                        Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )
        return sorted(upload["Key"].removeprefix(self._prefix) for upload in old)

    def entries(self, prefix: str = "") -> list[Entry]:
        pages = self._client.get_paginator("list_objects_v2")
        with self._errors(prefix):
            listed = _again(lambda: list(pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix)))
        found = (item for page in listed for item in page.get("Contents", []))
        return sorted(
            (Entry(item["Key"].removeprefix(self._prefix), item["Size"], item["LastModified"]) for item in found),
            key=lambda entry: entry.key,
        )

    def list(self, prefix: str = "") -> list[str]:
        return [entry.key for entry in self.entries(prefix)]

    def delete(self, key: str) -> None:
        with self._errors(key):
            _again(lambda: self._client.delete_object(**self._at(key)))

    def upload(self, path: Path, key: str, moved: Moved = ignore, *, if_absent: bool = False) -> None:
        condition = {"IfNoneMatch": "*"} if if_absent else {}
        with os_errors(f"cannot read {path}", "check the path and its rights"), path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read() if size <= _PART else b""
            facts = self._facts(size, lambda at, length: os.pread(file.fileno(), length, at)) if size > _PART else None
        with self._errors(key):
            if facts is None:
                checks, small = self._checks(data), size <= _PIECE and not if_absent
                if not (small and self._runtime.put(key, data, _with_mark(checks), self._encryption)):
                    self._put(key, lambda: data, checks, condition)
            elif if_absent:  # Ceph knows no condition for what is uploaded in parts
                self._put(key, lambda: path.open("rb"), facts.metadata(), condition)
            else:
                self._upload_parts(path, key, facts, moved)
                return
        moved(size)

    def _upload_parts(self, path: Path, key: str, facts: _Facts, moved: Moved) -> None:
        metadata = _with_mark(facts.metadata())
        begin = {**self._at(key), "Metadata": metadata, **self._encryption}
        upload = {
            **self._at(key),
            "UploadId": _again(lambda: self._client.create_multipart_upload(**begin))["UploadId"],
        }

        def send(number: int) -> dict[str, Any]:
            with self._room.hold(facts.part):
                with path.open("rb") as file:
                    data = os.pread(file.fileno(), facts.part, number * facts.part)
                if not facts.fits(number, data):
                    raise UserError(f"{path} changed while it was uploaded: let nothing write to it, and run again")
                answer = _again(lambda: self._client.upload_part(PartNumber=number + 1, Body=data, **upload))
            moved(len(data))
            return {"PartNumber": number + 1, "ETag": answer["ETag"]}

        try:
            sent = _each(self._parts, send, len(facts.crcs))
            _again(lambda: self._client.complete_multipart_upload(MultipartUpload={"Parts": sent}, **upload))
        except BaseException as error:
            if (
                isinstance(error, ClientError)
                and code(error) == "NoSuchUpload"
                and self._marked(key, metadata["write"])
            ):
                return  # it was completed, and the answer was lost
            with suppress(ClientError, BotoCoreError):
                self._client.abort_multipart_upload(**upload)
            raise

    def download(self, key: str, path: Path, moved: Moved = ignore) -> None:
        with self._errors(key):
            data = _again(lambda: self._small(key))
            if data is None:
                _again(lambda: self._download_parts(key, path, moved), turns=2)
                return
        with os_errors(f"cannot write {path}"):
            partial = path.with_name(f"{PART}{uuid.uuid4().hex[:8]}-{path.name}")
            try:
                partial.write_bytes(data)
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
        moved(len(data))

    def _small(self, key: str) -> bytes | None:
        """The content of an object, None where it is larger than a part."""
        answer = self._runtime.get(key, _PIECE)
        if answer is None or _PIECE < answer["ContentLength"] <= _PART:
            answer = self._client.get_object(**self._at(key))
        if answer["ContentLength"] > _PART:
            answer["Body"].close()
            return None
        return _whole(answer)[0]

    def _download_parts(self, key: str, path: Path, moved: Moved) -> None:
        """Fetch what a part file beside `path` does not hold yet; give it its name once it is whole, and verified where
        the object says what it holds."""
        head = _again(lambda: self._client.head_object(**self._at(key)))
        size, etag = head["ContentLength"], _bare(head["ETag"])
        facts = _Facts.stored(head["Metadata"], size)
        step = facts.part if facts else _PART

        def fetch(number: int) -> None:
            at, end, crc = number * step, min(size, (number + 1) * step), 0
            wanted = {"Range": f"bytes={at}-{end - 1}", "IfMatch": etag}
            for data in _pieces(self._client.get_object(**self._at(key), **wanted)):
                if at + len(data) > end:  # the next part may be there already, verified
                    raise _Damaged
                partial.write(at, data)
                at, crc = at + len(data), zlib.crc32(data, crc)
            if at != end or (facts and crc != facts.crcs[number]):
                raise _Damaged

        with _Partial(path, f"{self.uri}/{key} {etag} {size}") as partial:

            def keep(number: int) -> None:
                at = number * step
                if number not in partial.have or (facts and _crc(partial.read, at, step) != facts.crcs[number]):
                    _again(lambda: fetch(number))
                    partial.keep(number)
                moved(min(step, size - at))

            try:
                _each(self._parts, keep, -(-size // step))
            except ClientError as error:
                if code(error) in _LOST | _ABSENT:  # another content has come meanwhile, or none is there any more
                    partial.drop()
                if code(error) not in _LOST:
                    raise
                raise _Damaged from error
            if facts is None and _is_md5(head) and partial.md5() != etag:
                partial.drop()
                raise _Damaged
            partial.finish()


class _Room:
    """Bytes that may be in memory at once. One that needs more than all of it gets all."""

    def __init__(self, most: int) -> None:
        self._most = self._free = most
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        size = min(size, self._most)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()


class _Partial:
    """A file that is not whole yet, and beside it a list of the parts that have arrived. Both stay when the download is
    cut, and are found again by what names the content. Another that wants the same waits."""

    def __init__(self, path: Path, content: str) -> None:
        name = hashlib.sha256(content.encode()).hexdigest()[:16]
        self._path, self._target = path.with_name(f"{PART}{name}-{path.name}"), path
        self._list = path.with_name(f"{PART}{name}-{path.name}.list")
        self._lock = threading.Lock()

    def __enter__(self) -> _Partial:
        with self._errors(), ExitStack() as stack:
            self._file = stack.enter_context(_held(self._path))
            if os.fstat(self._file).st_size == 0:  # a list alone is that of a file which has got its name
                self._list.unlink(missing_ok=True)
            known = self._list.read_text(errors="replace").splitlines() if self._list.exists() else []
            self._stack = stack.pop_all()
        self.have = {int(line) for line in known if line.isdecimal()}
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _errors(self) -> AbstractContextManager[None]:
        return os_errors(f"cannot write {self._target}")

    def write(self, offset: int, data: bytes) -> None:
        with self._errors(), self._lock:  # threads that write to one file at once spin in the kernel
            view = memoryview(data)
            while view:
                written = os.pwrite(self._file, view, offset)
                view, offset = view[written:], offset + written

    def keep(self, number: int) -> None:
        """Note that a part is there, whole."""
        with self._errors(), self._lock, self._list.open("a") as file:
            file.write(f"{number}\n")

    def read(self, offset: int, length: int) -> bytes:
        with self._errors():
            return os.pread(self._file, length, offset)

    def md5(self) -> str:
        with self._errors(), self._path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()

    def drop(self) -> None:
        with self._errors():
            self._list.unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)

    def finish(self) -> None:
        with self._errors():
            self._list.unlink(missing_ok=True)
            self._path.replace(self._target)


@contextmanager
def _held(path: Path) -> Iterator[int]:
    """The descriptor of a file, made where there is none, that nobody else has meanwhile: who finds it held waits."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            there = False
            with suppress(FileNotFoundError):  # who held it has given it its name
                there = os.path.samestat(os.fstat(file), path.stat())
            if there:
                yield file
                return
        finally:
            os.close(file)


def _each(pool: ThreadPoolExecutor, work: Callable[[int], T], count: int) -> list[T]:
    """Results of all parts, in order. After an error none is begun, and those under way are waited for: what they work
    on goes away."""
    futures = [pool.submit(work, number) for number in range(count)]
    try:
        return [future.result() for future in futures]
    finally:
        for future in futures:
            future.cancel()
        wait(futures)


def _again(attempt: Callable[[], T], turns: int = _TURNS) -> T:
    """Repeat what the network broke in a way that boto3 does not repeat."""
    for turn in range(turns - 1):
        try:
            return attempt()
        except ClientError as error:
            if code(error) not in _AGAIN:
                raise
        except (ResponseParserError, _Damaged):
            pass
        time.sleep(random.uniform(0, min(5, 0.05 * 2**turn)))
    return attempt()


def _body(answer: dict[str, Any]) -> bytes:
    """The content of an answer, as long as it says it is. Raises _Damaged."""
    try:
        data = answer["Body"].read()
    except _CUT as error:
        raise _Damaged from error
    if len(data) != answer["ContentLength"]:
        raise _Damaged
    return data


def _pieces(answer: dict[str, Any]) -> Iterator[bytes]:
    """The content of an answer, as it comes. Raises _Damaged where it is cut."""
    try:
        while data := answer["Body"].read(_PIECE):
            yield data
    except _CUT as error:
        raise _Damaged from error


def _crc(read: Callable[[int, int], bytes], offset: int, length: int) -> int:
    """CRC-32 of what `read` gives, from an offset on; to the end where that comes before."""
    crc = 0
    for at in range(offset, offset + length, _PIECE):
        crc = zlib.crc32(read(at, min(_PIECE, offset + length - at)), crc)
    return crc


def _whole(answer: dict[str, Any]) -> tuple[bytes, str]:
    """Content and etag of an answer, compared with its checksums, or the MD5 that its etag is. Raises _Damaged."""
    data, etag, metadata = _body(answer), _bare(answer["ETag"]), answer["Metadata"]
    if facts := _Facts.stored(metadata, len(data)):
        parts = (data[at : at + facts.part] for at in range(0, len(data), facts.part))
        intact = all(facts.fits(number, part) for number, part in enumerate(parts))
    elif metadata.keys() >= {"write", "sha256"}:
        intact = hashlib.sha256(data).hexdigest() == metadata["sha256"]
    else:
        intact = not _is_md5(answer) or hashlib.md5(data, usedforsecurity=False).hexdigest() == etag
    if not intact:
        raise _Damaged
    return data, answer["ETag"]


def _with_mark(metadata: dict[str, str]) -> dict[str, str]:
    """By which this very write is known again."""
    return {**metadata, "write": uuid.uuid4().hex}


def _is_md5(answer: dict[str, Any]) -> bool:
    """Whether the etag of an object is its MD5: neither sent in parts nor encrypted with a key of KMS."""
    return len(_bare(answer["ETag"])) == 32 and not answer.get("ServerSideEncryption", "").startswith("aws:kms")


def _bare(etag: str) -> str:
    """Without its quotes: Ceph compares an etag as it is, and those of its listings have none."""
    return etag.strip('"')


def encryption() -> dict[str, str]:
    """How the server is to encrypt what is written, from the environment.

    Raises:
        UserError: it is neither AES256 nor aws:kms.
    """
    kind, key = os.environ.get("AWS_SERVER_SIDE_ENCRYPTION", ""), os.environ.get("AWS_SSE_KMS_KEY_ID", "")
    if kind not in ("", "AES256", "aws:kms"):
        raise UserError(f"AWS_SERVER_SIDE_ENCRYPTION is '{kind}': set it to AES256 or aws:kms")
    chosen = {"ServerSideEncryption": kind} if kind else {}
    return chosen | ({"SSEKMSKeyId": key} if kind == "aws:kms" and key else {})


def s3_client() -> Any:
    """A boto3 client, as the environment says. Raises UserError when something there cannot be."""
    bundle = os.environ.get("AWS_CA_BUNDLE")
    if bundle and not Path(bundle).exists():
        raise UserError(f"AWS_CA_BUNDLE is '{bundle}', where there is no file: give the CA's PEM file")
    own = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    settings: dict[str, Any] = {
        "connect_timeout": _seconds("AWS_CONNECT_TIMEOUT", 10),
        "read_timeout": _seconds("AWS_READ_TIMEOUT", 60),
        "max_pool_connections": AT_ONCE + _PARTS_AT_ONCE,
        "user_agent": f"clinadapt/{version('clinadapt')}",  # boto3 builds its own anew for each request
        "s3": {
            "addressing_style": os.environ.get("AWS_S3_ADDRESSING_STYLE", "path" if own else "auto"),
            "payload_signing_enabled": True,
        },
    }
    if "AWS_MAX_ATTEMPTS" not in os.environ:
        settings["retries"] = {"max_attempts": 5, "mode": os.environ.get("AWS_RETRY_MODE", "standard")}
    if own and "AWS_REQUEST_CHECKSUM_CALCULATION" not in os.environ:
        settings["request_checksum_calculation"] = "when_required"  # older servers refuse boto3's trailing checksums
    try:
        return boto3.client("s3", config=Config(**settings))
    except ValueError as error:
        raise UserError(f"S3 cannot be used: {error}; check AWS_ENDPOINT_URL_S3") from error


def _seconds(name: str, default: float) -> float:
    with suppress(ValueError):
        if 0 < (seconds := float(os.environ.get(name, default))) < math.inf:
            return seconds
    raise UserError(f"{name} is '{os.environ[name]}': give seconds")
