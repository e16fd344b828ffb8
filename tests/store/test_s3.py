"""What only S3 has: parts, cuts, damage, lost answers, refusals, encryption, settings."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from io import BytesIO
from itertools import count
from pathlib import Path
from threading import Event, Lock
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.response import StreamingBody
from s3_support import a_store, bucket, free_memory

from clinadapt.errors import UserError
from clinadapt.storage import open_store
from clinadapt.storage import s3_store as module
from clinadapt.storage.object_store import PART, Conflict, CorruptObject, Store
from clinadapt.storage.s3_store import S3Store
from clinadapt.storage.transfer import download_folder
from components.preflight.checks import check_store

SMALL = 5 * 2**20  # the smallest part that S3 takes


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PART", SMALL)


def a_file(path: Path, size: int) -> bytes:
    data = os.urandom(size)
    path.write_bytes(data)
    return data


def body(data: bytes) -> StreamingBody:
    """That of an answer."""
    return StreamingBody(BytesIO(data), len(data))


def hooked(store: Store, event: str, hook: Callable[..., Any]) -> None:
    """Let `hook` see, or answer, each request of a kind before it is sent; boto3 sends them all."""
    assert isinstance(store, S3Store)
    store._runtime._crt = None
    store._client.meta.events.register(event, hook)


@pytest.mark.parametrize("size", [SMALL, SMALL + 1, 3 * SMALL + 17])
def test_parts(s3: Store, tmp_path: Path, small_parts: None, size: int) -> None:
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


def test_a_file_that_changes_while_it_is_uploaded_is_refused(s3: Store, tmp_path: Path, small_parts: None) -> None:
    a_file(tmp_path / "file", 12 * SMALL)

    def change(params: dict[str, Any], **_: Any) -> None:
        with (tmp_path / "file").open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"?")

    hooked(s3, "before-call.s3.CreateMultipartUpload", change)
    with pytest.raises(UserError, match=r"file changed while it was uploaded: let nothing write to it, and run again"):
        s3.upload(tmp_path / "file", "file")
    assert not s3.exists("file") and s3.unfinished(datetime.now(UTC) + timedelta(days=1)) == []


def test_a_cut_download_goes_on(s3: Store, tmp_path: Path, small_parts: None) -> None:
    """The network goes away after two parts, a crash tears one of them; the next attempt fetches the others only."""
    data = a_file(tmp_path / "file", 5 * SMALL)
    s3.upload(tmp_path / "file", "file")
    number = count()

    def cut(params: dict[str, Any], **_: Any) -> None:
        if "Range" in params["headers"] and next(number) >= 2:
            raise EndpointConnectionError(endpoint_url="cut")

    hooked(s3, "before-call.s3.GetObject", cut)
    with pytest.raises(UserError, match="nothing answers there"):
        s3.download("file", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    (part,) = (path for path in tmp_path.glob(f"{PART}*") if path.suffix != ".list")
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
    assert not list(tmp_path.glob(f"{PART}*"))


def test_a_part_file_of_another_content_is_not_used(s3: Store, tmp_path: Path, small_parts: None) -> None:
    for _ in range(2):
        data = a_file(tmp_path / "file", 2 * SMALL)
        s3.upload(tmp_path / "file", "file")
        s3.download("file", tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == data


def test_two_downloads_of_the_same_to_one_place(s3: Store, tmp_path: Path, small_parts: None) -> None:
    """What one has verified, the other does not write to."""
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
    assert not list(tmp_path.glob(f"{PART}*"))


def test_an_answer_that_is_too_long_touches_no_other_part(s3: Store, tmp_path: Path, small_parts: None) -> None:
    data = a_file(tmp_path / "file", 3 * SMALL)
    s3.upload(tmp_path / "file", "file")
    answers = count()

    def lengthen(parsed: dict[str, Any], **_: Any) -> None:
        if "ContentRange" in parsed and next(answers) < 6:
            parsed["Body"] = body(bytes(2 * SMALL))

    hooked(s3, "after-call.s3.GetObject", lengthen)
    s3.download("file", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data


def test_answers_that_do_not_say_how_long_they_are(s3: Store, tmp_path: Path, small_parts: None) -> None:
    data = a_file(tmp_path / "file", 3 * SMALL)
    s3.upload(tmp_path / "file", "file")

    def forget_length(parsed: dict[str, Any], **_: Any) -> None:
        if "ContentRange" in parsed:
            del parsed["ContentLength"]

    hooked(s3, "after-call.s3.GetObject", forget_length)
    s3.download("file", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data


def test_a_download_of_what_goes_meanwhile_leaves_nothing(s3: Store, tmp_path: Path, small_parts: None) -> None:
    a_file(tmp_path / "file", 3 * SMALL)
    s3.upload(tmp_path / "file", "file")
    (tmp_path / "to").mkdir()
    hooked(s3, "after-call.s3.HeadObject", lambda **_: s3.delete("file"))
    with pytest.raises(KeyError):
        s3.download("file", tmp_path / "to" / "copy")
    assert list((tmp_path / "to").iterdir()) == []


@pytest.mark.parametrize(
    "told", [{"crc32": "abc", "part": "1"}, {"crc32": "", "part": "0"}, {"crc32": "", "part": "x"}]
)
def test_what_an_object_says_of_itself_and_cannot_be_is_damage(s3: Store, told: dict[str, str]) -> None:
    place = {"Bucket": s3.uri.split("/")[2], "Key": "prefix/x"}
    boto3.client("s3").put_object(**place, Body=b"x", Metadata={"write": "x", **told})
    with pytest.raises(CorruptObject):
        s3.get("x")


def test_parts_in_memory_are_bounded(
    s3: Store, tmp_path: Path, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_IN_MEMORY", 2 * SMALL)
    store = open_store(s3.uri)
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

    hooked(store, "before-call.s3.UploadPart", begin)
    hooked(store, "after-call.s3.UploadPart", end)
    data = a_file(tmp_path / "file", 8 * SMALL)
    store.upload(tmp_path / "file", "file")
    assert store.get("file")[0] == data and most == 2


def test_a_part_larger_than_all_memory_goes_alone() -> None:
    room, inside = module._Room(10), Event()
    with ThreadPoolExecutor(1) as pool:
        with room.hold(25):

            def follow() -> None:
                with room.hold(1):
                    inside.set()

            follower = pool.submit(follow)
            assert not inside.wait(0.2)
        follower.result(5)
    assert inside.is_set()


@pytest.mark.parametrize("size", [100, 3 * SMALL])
@pytest.mark.parametrize("read", ["download", "get"])
def test_damage_on_the_way_is_fetched_again(s3: Store, tmp_path: Path, small_parts: None, size: int, read: str) -> None:
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


def test_the_access_log_of_a_server_tells_who_asks(s3: Store) -> None:
    agents: list[bytes] = []
    hooked(s3, "before-send.s3.PutObject", lambda request, **_: agents.append(request.headers["User-Agent"]))
    s3.put("file", b"content")
    assert agents[0].startswith(f"clinadapt/{version('clinadapt')} ".encode())


@pytest.mark.parametrize("left", [0, SMALL, 2 * SMALL, 3 * SMALL + 1])
def test_an_object_of_another_length_than_its_checksums_is_refused(
    s3: Store, tmp_path: Path, small_parts: None, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    data = a_file(tmp_path / "file", 3 * SMALL)
    s3.upload(tmp_path / "file", "file")
    place = {"Bucket": s3.uri.split("/")[2], "Key": "prefix/file"}
    client = boto3.client("s3")
    client.put_object(Body=(data + b"x")[:left], Metadata=client.head_object(**place)["Metadata"], **place)
    for read in (s3.get, lambda key: s3.download(key, tmp_path / "copy")):
        with pytest.raises(UserError, match="does not match its checksum"):
            read("file")


def test_damage_of_a_large_object_of_another_tool_is_refused(
    s3: Store, tmp_path: Path, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its etag is its MD5."""
    place = {"Bucket": s3.uri.split("/")[2], "Key": "prefix/file"}
    boto3.client("s3").put_object(Body=os.urandom(2 * SMALL), **place)
    s3.download("file", tmp_path / "copy")

    def damage(parsed: dict[str, Any], **_: Any) -> None:
        data = bytearray(parsed["Body"].read())
        data[7] ^= 1
        parsed["Body"] = body(bytes(data))

    hooked(s3, "after-call.s3.GetObject", damage)
    with pytest.raises(UserError, match="does not match its checksum"):
        s3.download("file", tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("foreign", [False, True])
def test_damage_that_stays_is_refused_by_name(
    s3: Store, tmp_path: Path, foreign: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of an object that another tool wrote, whose etag is its MD5."""
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    if foreign:
        boto3.client("s3").put_object(Bucket=s3.uri.split("/")[2], Key="prefix/file", Body=b"content")
    else:
        s3.put("file", b"content")
    assert s3.get("file")[0] == b"content"
    hooked(s3, "after-call.s3.GetObject", lambda parsed, **_: parsed.update(Body=body(b"cOntent")))
    for read in (s3.get, lambda key: s3.download(key, tmp_path / "copy")):
        with pytest.raises(UserError, match=r"'file' in the store .* does not match its checksum, 8 times: check"):
            read("file")
    assert not (tmp_path / "copy").exists()


def test_an_upload_that_arrives_damaged_is_refused_by_the_server(s3: Store) -> None:
    """The request is signed with its SHA-256; here another body goes out under that signature, every time."""
    if "rgw" not in os.environ["AWS_ACCESS_KEY_ID"]:
        pytest.skip("moto checks no signature")

    def swap(request: Any, **_: Any) -> None:
        request.body = b"cOntent"

    hooked(s3, "before-send.s3.PutObject", swap)
    with pytest.raises(UserError, match="the store s3://"):
        s3.put("file", b"content")
    assert not open_store(s3.uri).exists("file")


@pytest.mark.parametrize("condition", ["if_absent", "if_match"])
def test_a_write_whose_answer_is_lost_has_won(s3: Store, condition: str) -> None:
    """The server has written, its answer is a 500: boto3 repeats the request, which now meets its own object."""
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


def test_uploads_that_were_never_finished(request: pytest.FixtureRequest) -> None:
    s3 = a_store("rgw", request)  # moto does not tell when they began
    client, name = boto3.client("s3"), s3.uri.split("/")[2]
    client.create_multipart_upload(Bucket=name, Key="prefix/big/file")
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert s3.unfinished(datetime.now(UTC) - timedelta(hours=1)) == []
    assert s3.unfinished(later) == ["big/file"]
    assert s3.unfinished(later, drop=True) == ["big/file"]
    assert s3.unfinished(later) == []


@pytest.mark.parametrize("size", [400_000, 2 * SMALL])
def test_a_disk_that_is_full(
    s3: Store, tmp_path: Path, mounted: Callable[[str], Path], small_parts: None, size: int
) -> None:
    a_file(tmp_path / "file", size)
    s3.upload(tmp_path / "file", "file")
    place = mounted("size=256k")
    with pytest.raises(UserError, match=r"cannot write .*copy: No space left on device; free space"):
        s3.download("file", place / "copy")
    assert not (place / "copy").exists()


def test_a_failed_upload_leaves_no_parts(s3: Store, tmp_path: Path, small_parts: None) -> None:
    a_file(tmp_path / "file", 3 * SMALL)

    def refuse(**_: Any) -> None:
        raise EndpointConnectionError(endpoint_url="cut")

    hooked(s3, "before-call.s3.UploadPart", refuse)
    with pytest.raises(UserError, match="nothing answers"):
        s3.upload(tmp_path / "file", "file")
    assert s3.unfinished(datetime.now(UTC) + timedelta(minutes=1)) == []
    assert s3.list() == []


def test_a_key_cannot_leave_the_folder_it_is_downloaded_to(s3: Store, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    s3.put("version/a/../../../out", b"x")
    with pytest.raises(UserError, match="leaves the folder"):
        download_folder(s3, "version", tmp_path / "in")
    assert not (tmp_path / "out").exists()


def test_preflight_is_content_with_a_server_that_keeps_conditions(s3: Store) -> None:
    check_store(s3)
    assert s3.list() == []


def test_preflight_finds_a_server_that_ignores_conditions(s3: Store) -> None:
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
    "unknown key": ({"AWS_ACCESS_KEY_ID": "nobody"}, "", "does not know the access key: check AWS_ACCESS_KEY_ID"),
    "wrong secret": ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "", "the secret key is wrong: check AWS_SECRET_ACCESS_KEY"),
    "nothing there": ({"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}, "", "nothing answers there; check endpoint"),
    "no address": ({"AWS_ENDPOINT_URL_S3": "not an address"}, "", "check AWS_ENDPOINT_URL_S3"),
    "no profile": ({"AWS_PROFILE": "none"}, "", "AWS_PROFILE names no profile"),
    "no CA file": ({"AWS_ENDPOINT_URL_S3": "https://127.0.0.1:9", "AWS_CA_BUNDLE": "/none.pem"}, "", "AWS_CA_BUNDLE"),
    "no seconds": ({"AWS_READ_TIMEOUT": "soon"}, "", "AWS_READ_TIMEOUT is 'soon': give seconds"),
    "no end": ({"AWS_CONNECT_TIMEOUT": "inf"}, "", "AWS_CONNECT_TIMEOUT is 'inf': give seconds"),
    "unknown encryption": ({"AWS_SERVER_SIDE_ENCRYPTION": "rot13"}, "", "set it to AES256 or aws:kms"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_rgw_refuses_is_one_line(
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


def answer(code: str, operation: str = "PutObject", status: int = 403, **error: str) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, **error}, "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {}}},
        operation,
    )


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (answer("ExpiredToken"), "the credentials have expired: sign in again, or renew AWS_SESSION_TOKEN"),
        (answer("AuthorizationHeaderMalformed", Region="eu-west-1"), "another region: set AWS_DEFAULT_REGION to eu-w"),
        (answer("IllegalLocationConstraintException"), "the bucket is in another region: set AWS_DEFAULT_REGION"),
        (answer("QuotaExceeded"), "its quota is used up"),
        (
            answer("SomethingElse", "GetObject"),
            "answered 'SomethingElse' to GetObject: check bucket, rights and region",
        ),
    ],
)
def test_answers_that_no_server_here_gives(error: ClientError, message: str) -> None:
    assert message in module.explain(error)


def test_encryption_is_asked_for(s3_environment: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_PART", SMALL)
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


def test_settings_of_the_client(s3_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    config = module.s3_client().meta.config
    assert (config.connect_timeout, config.read_timeout, config.s3["addressing_style"]) == (10, 60, "path")
    for name, value in {
        "AWS_CONNECT_TIMEOUT": "3",
        "AWS_READ_TIMEOUT": "2.5",
        "AWS_S3_ADDRESSING_STYLE": "virtual",
        "AWS_MAX_ATTEMPTS": "9",
    }.items():
        monkeypatch.setenv(name, value)
    free_memory(monkeypatch)
    config = module.s3_client().meta.config
    assert (config.connect_timeout, config.read_timeout, config.s3["addressing_style"]) == (3, 2.5, "virtual")
    assert config.retries["total_max_attempts"] == 9
