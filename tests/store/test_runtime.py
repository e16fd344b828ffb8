"""Small objects through the AWS Common Runtime: what is stored is what boto3 stores, and boto3 does what it cannot."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import boto3
import pytest
from awscrt.http import HttpRequest
from s3_support import bucket, free_memory

from clinadapt.errors import UserError
from clinadapt.storage import open_store, s3_runtime
from clinadapt.storage.object_store import Store
from clinadapt.storage.s3_runtime import Runtime
from clinadapt.storage.s3_store import S3Store
from clinadapt.storage.transfer import download_folder, upload_folder

NAMES = ["plain", "two words", "a+b=c&d?e#f%20", "Ärzte/人.txt", "deep/er/x~y", "empty"]


def the_runtime(store: Store) -> Runtime:
    assert isinstance(store, S3Store)
    return store._runtime


def worked(store: Store) -> tuple[bool, int]:
    return the_runtime(store)._worked, the_runtime(store)._failed


def a_folder(folder: Path) -> Path:
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"" if name == "empty" else os.urandom(1000))
    return folder


def test_names_of_every_kind(s3: Store, tmp_path: Path) -> None:
    upload_folder(s3, a_folder(tmp_path / "in"), "a b/c")
    assert s3.list() == sorted(f"a b/c/{name}" for name in NAMES)
    download_folder(s3, "a b/c", tmp_path / "out")
    for name in NAMES:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "in" / name).read_bytes()
        assert s3.get(f"a b/c/{name}")[0] == (tmp_path / "in" / name).read_bytes()
    assert worked(s3) == (True, 0)


def test_what_is_stored_is_what_boto3_stores(s3: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    s3.upload(tmp_path / "file", "upload")
    s3.put("put", b"content")
    heads = []
    for key in ("upload", "put"):
        head = boto3.client("s3").head_object(Bucket=s3.uri.split("/")[2], Key=f"prefix/{key}")
        assert head["Metadata"].pop("write")
        heads.append([head[name] for name in ("ETag", "ContentLength", "ContentType", "Metadata")])
    assert heads[0] == heads[1] and worked(s3) == (True, 0)


def test_over_tls_with_the_ca_of_the_house(
    rgw: dict[str, str], rgw_environment: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    uri = f"s3://{bucket()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", rgw["RGW_TLS"])
    monkeypatch.setenv("AWS_CA_BUNDLE", rgw["RGW_CA"])
    free_memory(monkeypatch)
    store = open_store(uri)
    upload_folder(store, a_folder(tmp_path / "in"), "x")
    assert worked(store) == (True, 0)


def test_a_certificate_that_is_not_trusted(
    rgw: dict[str, str], rgw_environment: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    uri = f"s3://{bucket()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", rgw["RGW_TLS"])
    free_memory(monkeypatch)
    store = open_store(uri)
    with pytest.raises(UserError, match="its certificate is not trusted"):
        store.upload(a_folder(tmp_path / "in") / "plain", "x")
    assert not worked(store)[0]


def test_encryption_is_asked_for(s3_environment: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_SERVER_SIDE_ENCRYPTION", "aws:kms")
    monkeypatch.setenv("AWS_SSE_KMS_KEY_ID", "a-key")
    name = bucket()
    store = open_store(f"s3://{name}")
    store.upload(a_folder(tmp_path / "in") / "plain", "small")
    head = boto3.client("s3").head_object(Bucket=name, Key="small")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"].rpartition("/")[2]) == ("aws:kms", "a-key")
    store.download("small", tmp_path / "copy")
    assert worked(store) == (True, 0)


def test_what_is_absent_is_a_key_error(s3: Store, tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        s3.download("nothing", tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", ["refuses", "is silent"])
def test_where_it_cannot_reach_the_server_boto3_does_and_soon_alone(
    s3: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(s3_runtime, "_FIRST_ANSWER", 0.2)
    runtime = the_runtime(s3)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if how == "is silent":
            listener.listen()
        runtime._url = runtime._url._replace(netloc=f"127.0.0.1:{listener.getsockname()[1]}")
        for number in range(12):
            s3.upload(a_folder(tmp_path / "in") / "plain", f"x{number}")
    assert len(s3.list()) == 12 and worked(s3) == (False, 5)


class Asks:
    """Asks for another range than was wanted, None for whole objects."""

    def __init__(self, client: Any, range_: str | None) -> None:
        self._client, self._range = client, range_

    def make_request(self, *, request: HttpRequest, signing_config: Any, **rest: Any) -> Any:
        request.headers.remove("Range")
        if self._range:
            request.headers.add("Range", self._range)
        return self._client.make_request(request=request, signing_config=signing_config, **rest)


@pytest.mark.parametrize("style", ["path", "virtual"])
def test_it_asks_where_boto3_asks(s3_environment: None, monkeypatch: pytest.MonkeyPatch, style: str) -> None:
    monkeypatch.setenv("AWS_S3_ADDRESSING_STYLE", style)
    store = open_store("s3://bucket/a b")
    signed = boto3.client("s3", config=the_runtime(store)._config).generate_presigned_url(
        "get_object", {"Bucket": "bucket", "Key": "a b/x"}
    )
    assert the_runtime(store)._url.geturl() + "x" == signed.partition("?")[0]
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    free_memory(monkeypatch)
    host = the_runtime(open_store("s3://bucket"))._url.netloc
    assert host == ("" if style == "path" else "bucket.") + "s3.eu-central-1.amazonaws.com"


@pytest.mark.parametrize("range_", [None, "bytes=0-99"])
def test_a_server_that_ignores_ranges_is_left_to_boto3(s3: Store, tmp_path: Path, range_: str | None) -> None:
    s3.upload(a_folder(tmp_path / "in") / "plain", "x")
    runtime = the_runtime(s3)
    assert runtime.get("x", 10) is not None
    assert runtime.get("absent", 1000) is None
    assert worked(s3) == (True, 0)  # what is absent is an answer too
    known = runtime._crt
    runtime._crt = Asks(known, range_)
    assert runtime.get("x", 10) is None
    assert worked(s3) == (True, 1)
    runtime._crt = Asks(known, None)
    s3.download("x", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "in" / "plain").read_bytes()


def test_certificates_that_cannot_be_read(s3: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for bundle in (tmp_path / "ca.pem", tmp_path):
        monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
        assert the_runtime(open_store(s3.uri))._crt is None


def test_a_proxy_is_left_to_boto3(s3: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    server = urlparse(os.environ["AWS_ENDPOINT_URL_S3"])
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert the_runtime(open_store(s3.uri))._crt is None
    monkeypatch.setenv("no_proxy", str(server.hostname))
    assert the_runtime(open_store(s3.uri))._crt is not None
