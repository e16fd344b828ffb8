"""What only S3 has: parts, interrupted and damaged transfers, lost responses, error messages, encryption, settings."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from io import BytesIO
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.response import StreamingBody
from s3_support import a_store, bucket, free_memory

from clinadapt.errors import UserError
from clinadapt.storage import open_store, s3_checksums
from clinadapt.storage.object_store import PARTIAL_PREFIX, Conflict, CorruptObject, Store
from clinadapt.storage.s3_client import s3_client
from clinadapt.storage.s3_errors import explain
from clinadapt.storage.s3_store import S3Store
from clinadapt.storage.transfer import download_folder, upload_folder
from components.preflight.checks import check_store

SMALL = 5 * 2**20  # the smallest part that S3 takes


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(S3Store, "part_size", SMALL)


def a_file(path: Path, size: int) -> bytes:
    data = os.urandom(size)
    path.write_bytes(data)
    return data


def body(data: bytes) -> StreamingBody:
    """The body of a response."""
    return StreamingBody(BytesIO(data), len(data))


def hooked(store: Store, event: str, hook: Callable[..., Any]) -> None:
    """Call `hook` for an event of the store's boto3 client; it may change or fail the request or response."""
    assert isinstance(store, S3Store)
    store._client.meta.events.register(event, hook)


@pytest.mark.parametrize("size", [SMALL, SMALL + 1, 3 * SMALL + 17])
def test_parts(s3: Store, tmp_path: Path, size: int) -> None:
    data = a_file(tmp_path / "file", size)
    moved: list[int] = []
    s3.upload(tmp_path / "file", "a/file", moved.append)
    s3.download("a/file", tmp_path / "copy", moved.append)
    assert (tmp_path / "copy").read_bytes() == data == s3.get("a/file")[0]
    assert sum(moved) == 2 * size
    s3.put("a/put", data)
    s3.upload(tmp_path / "file", "a/once", if_absent=True)
    for key in ("a/put", "a/once"):
        s3.download(key, tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == data == s3.get(key)[0]
    assert {p.name for p in tmp_path.iterdir() if p.is_file()} == {"file", "copy"}


def test_a_file_that_changes_while_it_is_uploaded_is_refused(s3: Store, tmp_path: Path) -> None:
    a_file(tmp_path / "file", 12 * SMALL)

    def change(params: dict[str, Any], **_: Any) -> None:
        with (tmp_path / "file").open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"?")

    hooked(s3, "before-call.s3.CreateMultipartUpload", change)
    with pytest.raises(UserError, match="file changed during the upload"):
        s3.upload(tmp_path / "file", "file")
    assert not s3.exists("file") and s3.incomplete_uploads(datetime.now(UTC) + timedelta(days=1)) == []


def test_an_interrupted_download_resumes(s3: Store, tmp_path: Path) -> None:
    """The connection fails after two parts and a crash damages one of them: the next attempt fetches the other four."""
    data = a_file(tmp_path / "file", 5 * SMALL)
    s3.upload(tmp_path / "file", "file")
    number = count()

    def cut(params: dict[str, Any], **_: Any) -> None:
        if "Range" in params["headers"] and next(number) >= 2:
            raise EndpointConnectionError(endpoint_url="cut")

    hooked(s3, "before-call.s3.GetObject", cut)
    with pytest.raises(UserError, match="AWS_ENDPOINT_URL_S3"):
        s3.download("file", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    (part,) = (path for path in tmp_path.glob(f"{PARTIAL_PREFIX}*") if path.suffix != ".list")
    torn = int((tmp_path / f"{part.name}.list").read_text().split()[0])
    with part.open("r+b") as file:
        file.seek(torn * SMALL + 1000)
        file.write(bytes(4096))
    again = open_store(s3.uri)
    fetched: list[str] = []
    hooked(again, "before-call.s3.GetObject", lambda params, **_: fetched.append(params["headers"].get("Range", "")))
    again.download("file", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data
    assert len([each for each in fetched if each]) == 4
    assert not list(tmp_path.glob(f"{PARTIAL_PREFIX}*"))


def test_a_partial_file_of_other_content_is_not_used(s3: Store, tmp_path: Path) -> None:
    for _ in range(2):
        data = a_file(tmp_path / "file", 2 * SMALL)
        s3.upload(tmp_path / "file", "file")
        s3.download("file", tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == data


def test_concurrent_downloads_to_one_path(s3: Store, tmp_path: Path) -> None:
    """A part that one process has verified is not written by another."""
    data = a_file(tmp_path / "file", 6 * SMALL)
    s3.upload(tmp_path / "file", "file")
    stores = [open_store(s3.uri) for _ in range(4)]
    answers = count()

    def damage(parsed: dict[str, Any], **_: Any) -> None:
        if next(answers) % 3 == 0:
            parsed["Body"] = body(bytes(len(parsed["Body"].read())))

    def fetch(store: Store) -> bool:
        hooked(store, "after-call.s3.GetObject", damage)
        store.download("file", tmp_path / "copy")
        return (tmp_path / "copy").read_bytes() == data

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(fetch, stores))
    assert not list(tmp_path.glob(f"{PARTIAL_PREFIX}*"))


def test_a_response_that_is_too_long_overwrites_no_other_part(s3: Store, tmp_path: Path) -> None:
    data = a_file(tmp_path / "file", 3 * SMALL)
    s3.upload(tmp_path / "file", "file")
    answers = count()

    def lengthen(parsed: dict[str, Any], **_: Any) -> None:
        if "ContentRange" in parsed and next(answers) < 6:
            parsed["Body"] = body(bytes(2 * SMALL))

    hooked(s3, "after-call.s3.GetObject", lengthen)
    s3.download("file", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data


def test_responses_without_a_length(s3: Store, tmp_path: Path) -> None:
    data = a_file(tmp_path / "file", 3 * SMALL)
    s3.upload(tmp_path / "file", "file")

    def forget_length(parsed: dict[str, Any], **_: Any) -> None:
        if "ContentRange" in parsed:
            del parsed["ContentLength"]

    hooked(s3, "after-call.s3.GetObject", forget_length)
    s3.download("file", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data


def test_an_object_deleted_during_the_download_leaves_no_files(s3: Store, tmp_path: Path) -> None:
    a_file(tmp_path / "file", 3 * SMALL)
    s3.upload(tmp_path / "file", "file")
    (tmp_path / "to").mkdir()
    hooked(s3, "after-call.s3.HeadObject", lambda **_: s3.delete("file"))
    with pytest.raises(KeyError):
        s3.download("file", tmp_path / "to" / "copy")
    assert list((tmp_path / "to").iterdir()) == []


@pytest.mark.parametrize(
    "checksums", [{"crc32": "abc", "part": "1"}, {"crc32": "", "part": "0"}, {"crc32": "", "part": "x"}]
)
def test_impossible_checksums_in_the_metadata_are_damage(
    s3: Store, checksums: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    location = {"Bucket": s3.uri.split("/")[2], "Key": "prefix/x"}
    boto3.client("s3").put_object(**location, Body=b"x", Metadata={"write": "x", **checksums})
    with pytest.raises(CorruptObject):
        s3.get("x")


def test_parts_under_way_are_bounded_over_all_files(s3: Store, tmp_path: Path) -> None:
    under_way, most, lock = 0, 0, Lock()

    def begin(**_: Any) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)

    def end(**_: Any) -> None:
        nonlocal under_way
        with lock:
            under_way -= 1

    hooked(s3, "before-call.s3.UploadPart", begin)
    hooked(s3, "after-call.s3.UploadPart", end)
    (tmp_path / "in").mkdir()
    contents = {name: a_file(tmp_path / "in" / name, 4 * SMALL) for name in "abc"}
    upload_folder(s3, tmp_path / "in", "in")
    assert {name: s3.get(f"in/{name}")[0] for name in contents} == contents
    assert 1 < most <= 8


@pytest.mark.parametrize("size", [SMALL + 1, 3 * SMALL, 5 * SMALL])
def test_parts_larger_than_those_of_the_upload(
    s3: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Checksums of a large file are of larger parts, so that metadata can hold them."""
    monkeypatch.setattr(s3_checksums, "_MAX_PARTS", 2)
    data = a_file(tmp_path / "file", size)
    s3.upload(tmp_path / "file", "file")
    s3.download("file", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data == s3.get("file")[0]


@pytest.mark.parametrize("removed", [1, SMALL])
def test_a_file_that_shrinks_while_it_is_uploaded_is_refused(s3: Store, tmp_path: Path, removed: int) -> None:
    a_file(tmp_path / "file", 3 * SMALL)
    hooked(
        s3,
        "before-call.s3.CreateMultipartUpload",
        lambda **_: os.truncate(tmp_path / "file", 3 * SMALL - removed),
    )
    with pytest.raises(UserError, match="file changed during the upload"):
        s3.upload(tmp_path / "file", "file")
    assert not s3.exists("file")


@pytest.mark.parametrize("size", [100, 3 * SMALL])
@pytest.mark.parametrize("read", ["download", "get"])
def test_damage_on_the_way_is_fetched_again(s3: Store, tmp_path: Path, size: int, read: str) -> None:
    data = a_file(tmp_path / "file", size)
    s3.upload(tmp_path / "file", "file")
    answers = count()

    def damage(parsed: dict[str, Any], **_: Any) -> None:
        if next(answers) < 3:
            data = bytearray(parsed["Body"].read())
            data[len(data) // 2] ^= 1
            parsed["Body"] = body(bytes(data))

    hooked(s3, "after-call.s3.GetObject", damage)
    if read == "get":
        assert s3.get("file")[0] == data
    else:
        s3.download("file", tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == data
    assert next(answers) > 3


def test_requests_carry_the_user_agent(s3: Store) -> None:
    agents: list[bytes] = []
    hooked(s3, "before-send.s3.PutObject", lambda request, **_: agents.append(request.headers["User-Agent"]))
    s3.put("file", b"content")
    assert agents[0].startswith(f"clinadapt/{version('clinadapt')} ".encode())


@pytest.mark.parametrize("left", [0, SMALL, 2 * SMALL, 3 * SMALL + 1])
def test_an_object_of_another_length_than_its_checksums_is_refused(
    s3: Store, tmp_path: Path, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    data = a_file(tmp_path / "file", 3 * SMALL)
    s3.upload(tmp_path / "file", "file")
    location = {"Bucket": s3.uri.split("/")[2], "Key": "prefix/file"}
    client = boto3.client("s3")
    client.put_object(Body=(data + b"x")[:left], Metadata=client.head_object(**location)["Metadata"], **location)
    for read in (s3.get, lambda key: s3.download(key, tmp_path / "copy")):
        with pytest.raises(UserError, match="checksum"):
            read("file")


def test_damage_to_a_large_object_of_another_tool_is_refused(
    s3: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its etag is its MD5."""
    location = {"Bucket": s3.uri.split("/")[2], "Key": "prefix/file"}
    boto3.client("s3").put_object(Body=os.urandom(2 * SMALL), **location)
    s3.download("file", tmp_path / "copy")

    def damage(parsed: dict[str, Any], **_: Any) -> None:
        data = bytearray(parsed["Body"].read())
        data[7] ^= 1
        parsed["Body"] = body(bytes(data))

    hooked(s3, "after-call.s3.GetObject", damage)
    with pytest.raises(UserError, match="checksum"):
        s3.download("file", tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("foreign", [False, True])
def test_permanent_damage_is_refused(s3: Store, tmp_path: Path, foreign: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for an object that another tool wrote, whose etag is its MD5."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    if foreign:
        boto3.client("s3").put_object(Bucket=s3.uri.split("/")[2], Key="prefix/file", Body=b"content")
    else:
        s3.put("file", b"content")
    assert s3.get("file")[0] == b"content"
    hooked(s3, "after-call.s3.GetObject", lambda parsed, **_: parsed.update(Body=body(b"cOntent")))
    for read in (s3.get, lambda key: s3.download(key, tmp_path / "copy")):
        with pytest.raises(UserError, match=r"'file' in the store .* checksum after 8 attempts"):
            read("file")
    assert not (tmp_path / "copy").exists()


def test_an_upload_that_arrives_damaged_is_refused_by_the_server(s3: Store) -> None:
    """The request is signed with the SHA-256 of its body, which is replaced after signing."""
    if "rgw" not in os.environ["AWS_ACCESS_KEY_ID"]:
        pytest.skip("moto checks no signature")

    def swap(request: Any, **_: Any) -> None:
        request.body = b"cOntent"

    hooked(s3, "before-send.s3.PutObject", swap)
    with pytest.raises(UserError, match="the store s3://"):
        s3.put("file", b"content")
    assert not open_store(s3.uri).exists("file")


@pytest.mark.parametrize("condition", ["if_absent", "if_match"])
def test_a_write_whose_response_is_lost_has_succeeded(s3: Store, condition: str) -> None:
    """The server writes, but responds 500: boto3 retries the request, which meets its own object."""
    seen = s3.put("other", b"x") if condition == "if_absent" else s3.put("key", b"one")
    lost: list[int] = []

    original = s3._client._endpoint.http_session.send  # type: ignore[attr-defined]

    def send(request: Any) -> Any:
        answer = original(request)
        if request.method == "PUT" and not lost:
            lost.append(1)
            answer.status_code = 500
        return answer

    s3._client._endpoint.http_session.send = send  # type: ignore[attr-defined]
    etag = s3.put("key", b"two", if_absent=True) if condition == "if_absent" else s3.put("key", b"two", if_match=seen)
    assert lost
    assert s3.get("key") == (b"two", etag)
    with pytest.raises(Conflict):
        s3.put("key", b"three", if_absent=True)


def test_incomplete_uploads(request: pytest.FixtureRequest) -> None:
    s3 = a_store("rgw", request)  # moto does not record when they began
    client, name = boto3.client("s3"), s3.uri.split("/")[2]
    client.create_multipart_upload(Bucket=name, Key="prefix/big/file")
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert s3.incomplete_uploads(datetime.now(UTC) - timedelta(hours=1)) == []
    assert s3.incomplete_uploads(later) == ["big/file"]
    assert s3.incomplete_uploads(later, delete=True) == ["big/file"]
    assert s3.incomplete_uploads(later) == []


@pytest.mark.parametrize("size", [400_000, 2 * SMALL])
def test_a_disk_that_is_full(s3: Store, tmp_path: Path, mounted: Callable[[str], Path], size: int) -> None:
    a_file(tmp_path / "file", size)
    s3.upload(tmp_path / "file", "file")
    volume = mounted("size=256k")
    with pytest.raises(UserError, match=r"cannot write .*copy: No space left on device; free space"):
        s3.download("file", volume / "copy")
    assert not (volume / "copy").exists()


def test_a_failed_upload_leaves_no_parts(s3: Store, tmp_path: Path) -> None:
    a_file(tmp_path / "file", 3 * SMALL)

    def refuse(**_: Any) -> None:
        raise EndpointConnectionError(endpoint_url="cut")

    hooked(s3, "before-call.s3.UploadPart", refuse)
    with pytest.raises(UserError, match="AWS_ENDPOINT_URL_S3"):
        s3.upload(tmp_path / "file", "file")
    assert s3.incomplete_uploads(datetime.now(UTC) + timedelta(minutes=1)) == []
    assert s3.list() == []


def test_a_key_cannot_leave_the_folder_it_is_downloaded_to(s3: Store, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    s3.put("version/a/../../../out", b"x")
    with pytest.raises(UserError, match=r"version/a/\.\./\.\./\.\./out"):
        download_folder(s3, "version", tmp_path / "in")
    assert not (tmp_path / "out").exists()


def test_preflight_accepts_a_server_with_conditional_writes(s3: Store) -> None:
    check_store(s3)
    assert s3.list() == []


def test_preflight_refuses_a_server_that_ignores_conditions(s3: Store) -> None:
    def ignore(params: dict[str, Any], **_: Any) -> None:
        for name in ("If-None-Match", "If-Match"):
            params["headers"].pop(name, None)

    hooked(s3, "before-call.s3.PutObject", ignore)
    with pytest.raises(
        UserError, match=r"ignores conditional writes .*, so two runs could both win: update the server"
    ):
        check_store(s3)
    assert s3.list() == []


REFUSALS = {
    "unknown key": ({"AWS_ACCESS_KEY_ID": "nobody"}, "", "check AWS_ACCESS_KEY_ID"),
    "wrong secret": ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "", "check AWS_SECRET_ACCESS_KEY"),
    "no server": ({"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}, "", "cannot connect.*AWS_ENDPOINT_URL_S3"),
    "no address": ({"AWS_ENDPOINT_URL_S3": "not an address"}, "", "check AWS_ENDPOINT_URL_S3"),
    "no profile": ({"AWS_PROFILE": "none"}, "", "AWS_PROFILE"),
    "no CA file": ({"AWS_ENDPOINT_URL_S3": "https://127.0.0.1:9", "AWS_CA_BUNDLE": "/none.pem"}, "", "AWS_CA_BUNDLE"),
    "no seconds": ({"AWS_READ_TIMEOUT": "soon"}, "", "AWS_READ_TIMEOUT 'soon'.*seconds"),
    "infinite seconds": ({"AWS_CONNECT_TIMEOUT": "inf"}, "", "AWS_CONNECT_TIMEOUT 'inf'.*seconds"),
    "unknown encryption": ({"AWS_SERVER_SIDE_ENCRYPTION": "rot13"}, "", "set it to AES256 or aws:kms"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_of_rgw_are_one_line(
    name: str, rgw_environment: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    changes, uri, message = REFUSALS[name]
    uri = uri or f"s3://{bucket()}"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for variable, value in changes.items():
        monkeypatch.setenv(variable, value)
    free_memory(monkeypatch)
    with pytest.raises(UserError, match=message) as raised:
        check_store(open_store(uri))
    assert "\n" not in str(raised.value)
    print(f"\n{name:22} {raised.value}", end="")


def client_error(code: str, operation: str = "PutObject", status: int = 403, **error: str) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, **error}, "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {}}},
        operation,
    )


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (client_error("ExpiredToken"), "AWS_SESSION_TOKEN"),
        (client_error("AuthorizationHeaderMalformed", Region="eu-west-1"), "set AWS_DEFAULT_REGION to eu-w"),
        (client_error("IllegalLocationConstraintException"), "set AWS_DEFAULT_REGION"),
        (client_error("QuotaExceeded"), "quota"),
        (client_error("SomethingElse", "GetObject"), "GetObject failed with 'SomethingElse'"),
    ],
)
def test_errors_that_no_server_here_returns(error: ClientError, message: str) -> None:
    assert message in explain(error)


def test_encryption_is_requested(s3_environment: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_SERVER_SIDE_ENCRYPTION", "aws:kms")
    monkeypatch.setenv("AWS_SSE_KMS_KEY_ID", "a-key")
    name = bucket()
    store = open_store(f"s3://{name}")
    store.put("small", b"x")
    data = a_file(tmp_path / "file", 2 * SMALL)
    store.upload(tmp_path / "file", "large")
    for key in ("small", "large"):
        head = boto3.client("s3").head_object(Bucket=name, Key=key)
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"].rpartition("/")[2]) == ("aws:kms", "a-key")
    store.download("large", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data


def test_keys_of_every_kind(s3: Store, tmp_path: Path) -> None:
    names = ["plain", "two words", "a+b=c&d?e#f%20", "Ärzte/人.txt", "deep/er/x~y", "empty"]
    for name in names:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        a_file(tmp_path / "in" / name, 0 if name == "empty" else 1000)
    upload_folder(s3, tmp_path / "in", "a b/c")
    assert s3.list() == sorted(f"a b/c/{name}" for name in names)
    download_folder(s3, "a b/c", tmp_path / "out")
    for name in names:
        data = (tmp_path / "in" / name).read_bytes()
        assert (tmp_path / "out" / name).read_bytes() == data == s3.get(f"a b/c/{name}")[0]


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("size", [1000, 2 * SMALL])
def test_tls_with_a_private_ca(
    rgw: dict[str, str],
    rgw_environment: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    trusted: bool,
    size: int,
) -> None:
    uri = f"s3://{bucket()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", rgw["RGW_TLS"])
    if trusted:
        monkeypatch.setenv("AWS_CA_BUNDLE", rgw["RGW_CA"])
    free_memory(monkeypatch)
    store, data = open_store(uri), a_file(tmp_path / "file", size)
    if trusted:
        store.upload(tmp_path / "file", "file")
        store.download("file", tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == data
    else:
        with pytest.raises(UserError, match="AWS_CA_BUNDLE"):
            store.upload(tmp_path / "file", "file")


def test_settings_of_the_client(s3_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    config = s3_client(10).meta.config
    assert (config.connect_timeout, config.read_timeout, config.s3["addressing_style"]) == (10, 60, "path")
    for name, value in {
        "AWS_CONNECT_TIMEOUT": "3",
        "AWS_READ_TIMEOUT": "2.5",
        "AWS_S3_ADDRESSING_STYLE": "virtual",
        "AWS_MAX_ATTEMPTS": "9",
    }.items():
        monkeypatch.setenv(name, value)
    free_memory(monkeypatch)
    config = s3_client(10).meta.config
    assert (config.connect_timeout, config.read_timeout, config.s3["addressing_style"]) == (3, 2.5, "virtual")
    assert config.retries["total_max_attempts"] == 9
