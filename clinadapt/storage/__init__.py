"""Object stores: a local folder (`file://`) or an S3 bucket (`s3://`)."""

from __future__ import annotations

from clinadapt.config.uri_credentials import refuse_credentials
from clinadapt.errors import UserError
from clinadapt.storage.folder_store import FolderStore
from clinadapt.storage.object_store import Store
from clinadapt.storage.uris import parse_uri


def open_store(uri: str) -> Store:
    """Open the store at a `file://` or `s3://` URI.

    Raises:
        UserError: unsupported scheme, a `file://` path that is not absolute, or an `s3://` URI without a bucket.
    """
    scheme = parse_uri(refuse_credentials(uri)).scheme
    if scheme == "file":
        return FolderStore(uri)
    if scheme == "s3":
        from clinadapt.storage.s3_store import S3Store  # boto3 takes a second to load

        return S3Store(uri)
    raise UserError(f"unsupported URI scheme in store '{uri}': use file:///folder or s3://bucket/prefix")
