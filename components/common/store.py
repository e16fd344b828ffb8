"""The object store: one small interface over a plain folder (`file://`) and S3 (`s3://`).

Keys are relative to the store's URI and use `/`. An entity tag (etag) names the content of an object at
one moment, so that `put(..., if_match=etag)` is a compare-and-swap and `put(..., if_absent=True)` lets
exactly one writer win.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlparse

from components.common.errors import UserError


class Conflict(Exception):
    """A conditional write lost: the object exists already, or has changed since it was read."""


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

    def list(self, prefix: str = "") -> list[str]:
        """All keys that start with `prefix`, sorted."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; an absent one is no error."""
        ...

    def upload(self, path: Path, key: str) -> None:
        """Stream a local file into an object."""
        ...

    def download(self, key: str, path: Path) -> None:
        """Stream an object into a local file. Raises KeyError when there is no such object."""
        ...


def open_store(uri: str) -> Store:
    """The store at a `file://` or `s3://` URI.

    Raises:
        UserError: the scheme is another one, or a `file://` URI has no absolute path.
    """
    scheme = urlparse(uri).scheme
    if scheme == "file":
        return FolderStore(uri)
    if scheme == "s3":
        return S3Store(uri)
    raise UserError(f"the store '{uri}' has no scheme I know: use file:///folder or s3://bucket/prefix")


def upload_folder(store: Store, folder: Path, prefix: str) -> None:
    """Upload every file below `folder` to `prefix/<relative path>`."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        store.upload(path, f"{prefix}/{path.relative_to(folder).as_posix()}")


def download_folder(store: Store, prefix: str, folder: Path) -> None:
    """Download every object below `prefix/` into `folder`; of the whole store when it is empty."""
    start = f"{prefix}/" if prefix else ""
    for key in store.list(start):
        target = folder / key.removeprefix(start)
        target.parent.mkdir(parents=True, exist_ok=True)
        store.download(key, target)


def file_path(uri: str) -> Path:
    """The local path of a `file://` URI. Raises UserError when it is not absolute."""
    parts = urlparse(uri)
    if parts.netloc or not parts.path.startswith("/"):
        raise UserError(f"'{uri}' is not absolute: write file:///absolute/path (three slashes)")
    return Path(unquote(parts.path))


@contextmanager
def os_errors(what: str, advice: str = "free space or choose a writable place") -> Iterator[None]:
    """Turn the operating system's refusal (no space, no permission) into one line for the user."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{what}: {error.strerror or error}; {advice}") from error


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
    def _replacing(self, key: str) -> Iterator[Path]:
        target = self._path(key)
        with os_errors(f"cannot write '{key}' to the store {self.uri}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".part-{uuid.uuid4().hex}")
            try:
                yield part
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

    def get(self, key: str) -> tuple[bytes, str]:
        with self._reading(key):
            path = self._path(key)
            if not path.is_file():
                raise KeyError(key)
            data = path.read_bytes()
        return data, hashlib.sha256(data).hexdigest()

    def etag(self, key: str) -> str:
        return self.get(key)[1]

    def exists(self, key: str) -> bool:
        with self._reading(key):
            return self._path(key).is_file()

    def list(self, prefix: str = "") -> list[str]:
        start = self._path(prefix.rpartition("/")[0])
        files = (p for p in start.rglob("*") if p.is_file() and not p.name.startswith((".part-", ".lock")))
        keys = (p.relative_to(self._root.resolve()).as_posix() for p in files)
        return sorted(key for key in keys if key.startswith(prefix))

    def delete(self, key: str) -> None:
        with os_errors(f"cannot delete '{key}' from the store {self.uri}"):
            self._path(key).unlink(missing_ok=True)

    def upload(self, path: Path, key: str) -> None:
        with self._replacing(key) as part:
            shutil.copyfile(path, part)

    def download(self, key: str, path: Path) -> None:
        if not self.exists(key):
            raise KeyError(key)
        with os_errors(f"cannot write {path}"):
            shutil.copyfile(self._path(key), path)


class S3Store:
    """Objects in a bucket. Endpoint, credentials, region and CA bundle come from the names that boto3 reads:
    AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION, AWS_CA_BUNDLE, AWS_PROFILE."""

    def __init__(self, uri: str) -> None:
        parts = urlparse(uri)
        if not parts.netloc:
            raise UserError(f"'{uri}' names no bucket: write s3://bucket/prefix")
        self.uri = uri.rstrip("/")
        self._bucket = parts.netloc
        self._prefix = parts.path.strip("/") + "/" if parts.path.strip("/") else ""
        self._client = s3_client()

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            code = error.response["Error"].get("Code", "")
            if code in ("PreconditionFailed", "ConditionalRequestConflict"):
                raise Conflict(key) from error
            if code in ("404", "NoSuchKey"):
                raise KeyError(key) from error
            raise UserError(f"the store {self.uri} answered '{code}': check bucket, rights and region") from error
        except (BotoCoreError, Boto3Error) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"the store {self.uri} cannot be used: {reason}; check endpoint and keys") from error

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        condition: dict[str, Any] = {}
        if if_absent:
            condition["IfNoneMatch"] = "*"
        if if_match is not None:
            condition["IfMatch"] = if_match.strip('"')  # Ceph compares it as it is, without the quotes of ETag
        with self._errors(key):
            try:
                answer = self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=data, **condition)
            except self._client.exceptions.NoSuchKey as error:  # If-Match on an object that is gone
                raise Conflict(key) from error
        return answer["ETag"]

    def get(self, key: str) -> tuple[bytes, str]:
        with self._errors(key):
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)
            return answer["Body"].read(), answer["ETag"]

    def etag(self, key: str) -> str:
        with self._errors(key):
            return self._client.head_object(Bucket=self._bucket, Key=self._prefix + key)["ETag"]

    def exists(self, key: str) -> bool:
        try:
            self.etag(key)
        except KeyError:
            return False
        return True

    def list(self, prefix: str = "") -> list[str]:
        with self._errors(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            return sorted(item["Key"].removeprefix(self._prefix) for page in pages for item in page.get("Contents", []))

    def delete(self, key: str) -> None:
        with self._errors(key):
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)

    def upload(self, path: Path, key: str) -> None:
        with self._errors(key):
            self._client.upload_file(str(path), self._bucket, self._prefix + key)

    def download(self, key: str, path: Path) -> None:
        with self._errors(key), os_errors(f"cannot write {path}"):
            self._client.download_file(self._bucket, self._prefix + key, str(path))


def s3_client() -> Any:
    """A boto3 client that retries and, where an endpoint is given, uses path-style addresses (Ceph, SeaweedFS)."""
    import boto3
    from botocore.config import Config

    own = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    style = "path" if own else "auto"
    return boto3.client(
        "s3",
        config=Config(
            connect_timeout=10,
            read_timeout=60,
            retries={"max_attempts": 5, "mode": "standard"},
            s3={"addressing_style": style},
        ),
    )
