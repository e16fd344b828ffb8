"""An object store in an S3 bucket (`s3://`), through boto3.

Uploads are signed with their SHA-256, which every S3 server verifies. Objects carry checksums in their metadata (see
`s3_checksums`), so downloads are verified end to end and damaged parts are fetched again. Files of a base model, a
checkpoint or a version have their SHA-256 in a manifest as well.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import ProgressCallbackInvoker, TransferConfig, create_transfer_manager
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from clinadapt.errors import UserError
from clinadapt.storage.local_files import atomic_write, os_errors
from clinadapt.storage.object_store import (
    MAX_CONCURRENCY,
    Conflict,
    CorruptObject,
    Entry,
    ProgressCallback,
    no_progress,
)
from clinadapt.storage.s3_checksums import ChecksumMismatch, PartChecksums, VerifiedFile, unquoted, verified_content
from clinadapt.storage.s3_client import MAX_ATTEMPTS, retry, s3_client, server_side_encryption
from clinadapt.storage.s3_download import download_parts
from clinadapt.storage.s3_errors import NOT_FOUND, PRECONDITION_FAILED, error_code, explain
from clinadapt.storage.uris import parse_uri

_MAX_PART_REQUESTS = 8  # parts transferred at the same time, of all files together


class S3Store:
    """Objects in a bucket, below a key prefix."""

    part_size = 8 * 2**20  # bytes; larger files are transferred in parts

    def __init__(self, uri: str) -> None:
        parts = parse_uri(uri)
        if not parts.authority:
            raise UserError(f"no bucket in '{uri}': write s3://bucket/prefix")
        self.uri = uri.rstrip("/")
        self._bucket = parts.authority
        self._prefix = parts.path.strip("/") + "/" if parts.path.strip("/") else ""
        with self._errors(""):
            self._client = s3_client(MAX_CONCURRENCY + _MAX_PART_REQUESTS)
        self._encryption = server_side_encryption()
        self._pool = ThreadPoolExecutor(_MAX_PART_REQUESTS)  # shared by all downloads
        config = TransferConfig(
            multipart_threshold=self.part_size,
            multipart_chunksize=self.part_size,
            max_concurrency=_MAX_PART_REQUESTS,
            preferred_transfer_client="classic",
        )
        # parts in memory: those being sent, and one for each of the files being read
        config.max_in_memory_upload_chunks, config.max_submission_concurrency = _MAX_PART_REQUESTS, 2
        self._uploads = create_transfer_manager(self._client, config)  # shared by all uploads

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            if error_code(error) in PRECONDITION_FAILED:
                raise Conflict(key) from error
            if error_code(error) in NOT_FOUND:
                raise KeyError(key) from error
            raise UserError(f"the store {self.uri}: {explain(error)}") from error
        except (BotoCoreError, Boto3Error, ResponseParserError) as error:
            raise UserError(f"the store {self.uri}: {explain(error)}") from error
        except ChecksumMismatch as error:
            raise CorruptObject(
                f"'{key}' in the store {self.uri} does not match its checksum after {MAX_ATTEMPTS} attempts: "
                "check the network and the disks of the store"
            ) from error

    def _location(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + key}

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        if len(data) <= self.part_size:
            checksums = {"sha256": hashlib.sha256(data).hexdigest()}
        else:
            checksums = PartChecksums.compute(
                lambda at, length: data[at : at + length], len(data), self.part_size, self._pool
            ).to_metadata()
        condition: dict[str, str] = {}
        if if_absent:
            condition["IfNoneMatch"] = "*"
        if if_match is not None:
            condition["IfMatch"] = unquoted(if_match)
        with self._errors(key):
            return self._put(key, data, checksums, condition)

    def _put(self, key: str, body: bytes | BinaryIO, checksums: dict[str, str], condition: dict[str, str]) -> str:
        """Write an object with a single request and return its etag.

        boto3 retries a request whose response was lost; the retry can get 412 for its own write. The `write` id in the
        metadata tells whose write it was.
        """
        metadata = _with_write_id(checksums)
        try:
            return self._client.put_object(
                **self._location(key), Body=body, Metadata=metadata, **condition, **self._encryption
            )["ETag"]
        except ClientError as error:
            # NOT_FOUND: If-Match on an object that was deleted
            if not condition or error_code(error) not in PRECONDITION_FAILED | NOT_FOUND:
                raise
            etag = self._etag_of_write(key, metadata["write"])
            if not etag:
                raise Conflict(key) from error
            return etag

    def _etag_of_write(self, key: str, write_id: str) -> str | None:
        """The etag of an object if it was written with this id."""
        try:
            head = self._client.head_object(**self._location(key))
        except ClientError as error:
            if error_code(error) in NOT_FOUND:
                return None
            raise
        return head["ETag"] if head["Metadata"].get("write") == write_id else None

    def get(self, key: str) -> tuple[bytes, str]:
        def read() -> tuple[bytes, str]:
            response = self._client.get_object(**self._location(key))
            return verified_content(response), response["ETag"]

        with self._errors(key):
            return retry(read)

    def etag(self, key: str) -> str:
        with self._errors(key):
            return self._client.head_object(**self._location(key))["ETag"]

    def exists(self, key: str) -> bool:
        try:
            self.etag(key)
        except KeyError:
            return False
        return True

    def incomplete_uploads(self, before: datetime, delete: bool = False) -> list[str]:
        paginator = self._client.get_paginator("list_multipart_uploads")
        with self._errors(""):
            pages = retry(lambda: list(paginator.paginate(Bucket=self._bucket, Prefix=self._prefix)))
            old = [upload for page in pages for upload in page.get("Uploads", []) if upload["Initiated"] < before]
            for upload in old if delete else []:
                with suppress(self._client.exceptions.NoSuchUpload):  # completed or aborted since it was listed
                    self._client.abort_multipart_upload(
                        Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )
        return sorted(upload["Key"].removeprefix(self._prefix) for upload in old)

    def entries(self, prefix: str = "") -> list[Entry]:
        paginator = self._client.get_paginator("list_objects_v2")
        with self._errors(prefix):
            pages = retry(lambda: list(paginator.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix)))
        items = (item for page in pages for item in page.get("Contents", []))
        return sorted(
            (Entry(item["Key"].removeprefix(self._prefix), item["Size"], item["LastModified"]) for item in items),
            key=lambda entry: entry.key,
        )

    def list(self, prefix: str = "") -> list[str]:
        return [entry.key for entry in self.entries(prefix)]

    def delete(self, key: str) -> None:
        with self._errors(key):
            self._client.delete_object(**self._location(key))

    def upload(
        self, path: Path, key: str, progress: ProgressCallback = no_progress, *, if_absent: bool = False
    ) -> None:
        with os_errors(f"cannot read {path}", "check the path and its permissions"), path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= self.part_size:
                self.put(key, file.read(), if_absent=if_absent)
                progress(size)
                return
            checksums = PartChecksums.compute(
                lambda at, length: os.pread(file.fileno(), length, at), size, self.part_size, self._pool
            )
            with self._errors(key):
                if if_absent:  # Ceph supports no conditions on multipart uploads
                    self._put(key, file, checksums.to_metadata(), {"IfNoneMatch": "*"})
                    progress(size)
                else:
                    self._upload_parts(path, key, checksums, progress)

    def _upload_parts(self, path: Path, key: str, checksums: PartChecksums, progress: ProgressCallback) -> None:
        metadata = _with_write_id(checksums.to_metadata())
        with VerifiedFile(path, checksums) as file:
            try:
                self._uploads.upload(
                    file,
                    self._bucket,
                    self._prefix + key,
                    {"Metadata": metadata, **self._encryption},
                    [ProgressCallbackInvoker(progress)],
                ).result()
            except ClientError as error:
                # a retried completion gets NoSuchUpload if the response to the first was lost
                if error_code(error) != "NoSuchUpload" or not self._etag_of_write(key, metadata["write"]):
                    raise

    def download(self, key: str, path: Path, progress: ProgressCallback = no_progress) -> None:
        with self._errors(key):
            data = retry(lambda: self._small_object(key))
            if data is None:
                retry(
                    lambda: download_parts(
                        self._client, self._location(key), path, progress, self._pool, self.part_size
                    ),
                    max_attempts=2,
                )
                return
        with atomic_write(path) as partial:
            partial.write_bytes(data)
        progress(len(data))

    def _small_object(self, key: str) -> bytes | None:
        """Content of an object, None if it is larger than a part. Raises ChecksumMismatch."""
        response = self._client.get_object(**self._location(key))
        if response["ContentLength"] > self.part_size:
            response["Body"].close()
            return None
        return verified_content(response)


def _with_write_id(metadata: dict[str, str]) -> dict[str, str]:
    """Add the id that identifies one write."""
    return {**metadata, "write": uuid.uuid4().hex}
