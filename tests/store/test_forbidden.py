"""Stores that are full or refuse access: preflight and the commands print one line, exit with status 2, leave no data.

`pytest tests/store/test_forbidden.py -s` prints the table (case, detected by preflight, line) for Ceph's gateway. The
wrong clock is botocore's, set an hour ahead. The expired token is one of Ceph's STS, whose shortest lifetime is 15
minutes: it is decrypted with the gateway's key and backdated. Ceph accepts any region, so a proxy responds like AWS.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import boto3
import botocore.auth
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from faulty_proxy import RegionalProxy
from s3_support import bucket, free_memory

from clinadapt.artifacts.step_record import RUN
from clinadapt.config.classify import ClassifyProfile, ClassifyTraining
from clinadapt.config.resolve import form_defaults
from clinadapt.storage import open_store, s3_errors
from clinadapt.storage.object_store import Store
from components.preflight.component import preflight_classify
from pipelines.cli.main import main

Capture = pytest.CaptureFixture[str]
RECORD = "runs/a-run/preflight.json"


class Scenario:
    """A new bucket of the gateway with one object, and changes to the environment."""

    def __init__(
        self, environment: dict[str, str], patch: pytest.MonkeyPatch, mounted: Callable[[str], Path], cleanup: ExitStack
    ) -> None:
        self.environment, self.patch, self.mounted, self.cleanup = environment, patch, mounted, cleanup
        self.bucket = bucket()
        self.client = boto3.client("s3")  # not affected by later changes of the environment
        self.client.put_object(Bucket=self.bucket, Key="before", Body=b"x")
        self.uri = f"s3://{self.bucket}"
        self.store: Store | None = None  # a folder instead of the bucket
        self.before = self.content()

    def set(self, **variables: str) -> None:
        for name, value in variables.items():
            self.patch.setenv(name, value)
        free_memory(self.patch)

    def admin(self, *arguments: str) -> None:
        subprocess.run(["radosgw-admin", *arguments], check=True, capture_output=True)

    def policy(self, uri: str, action: str) -> str:
        statement = {"Effect": "Deny", "Principal": "*", "Action": [action], "Resource": [uri]}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.client.put_bucket_policy(Bucket=self.bucket, Policy=policy)
        return self.uri

    def content(self) -> Any:
        """All objects and incomplete uploads, without the record of the step itself."""
        if self.store:
            return [key for key in self.store.list() if key != RECORD]
        self.client.delete_bucket_policy(Bucket=self.bucket)
        listed = self.client.list_objects_v2(Bucket=self.bucket)["Contents"]
        begun = self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        return [(each["Key"], each["ETag"]) for each in listed if each["Key"] != RECORD], begun


def full_disk(scenario: Scenario) -> str:
    folder = scenario.mounted("size=256k")
    scenario.store = open_store(folder.as_uri())
    scenario.store.put("before", b"x" * 50_000)
    scenario.before = scenario.content()
    return folder.as_uri()


def quota_used_up(scenario: Scenario) -> str:
    scenario.admin("quota", "set", "--quota-scope=bucket", f"--bucket={scenario.bucket}", "--max-objects=1")
    scenario.admin("quota", "enable", "--quota-scope=bucket", f"--bucket={scenario.bucket}")
    return scenario.uri


def read_only_bucket(scenario: Scenario) -> str:
    return scenario.policy(f"arn:aws:s3:::{scenario.bucket}/*", "s3:PutObject")


def bucket_not_listed(scenario: Scenario) -> str:
    return scenario.policy(f"arn:aws:s3:::{scenario.bucket}", "s3:ListBucket")


def expired_token(scenario: Scenario) -> str:
    endpoint = {"endpoint_url": scenario.environment["RGW_STS"]}
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["sts:*", "s3:*"], "Resource": "*"}]}
    boto3.client("iam", **endpoint).put_user_policy(UserName="test", PolicyName="p", PolicyDocument=json.dumps(policy))
    given = boto3.client("sts", **endpoint).get_session_token()["Credentials"]
    cipher = Cipher(algorithms.AES(scenario.environment["RGW_STS_KEY"].encode()), modes.CBC(b"cephsageyudagreg"))
    text = cipher.decryptor().update(base64.b64decode(given["SessionToken"]))
    scenario.set(
        AWS_ENDPOINT_URL_S3=scenario.environment["RGW_STS"],
        AWS_ACCESS_KEY_ID=given["AccessKeyId"],
        AWS_SECRET_ACCESS_KEY=given["SecretAccessKey"],
        AWS_SESSION_TOKEN=given["SessionToken"],
    )
    open_store(scenario.uri).put("before", b"x")  # valid before it is backdated
    dated_back = re.sub(rb"\d{4}(-\d\d-\d\dT)", rb"2020\1", text)
    scenario.set(AWS_SESSION_TOKEN=base64.b64encode(cipher.encryptor().update(dated_back)).decode())
    return scenario.uri


def another_user(scenario: Scenario) -> None:
    key = f"key-{scenario.bucket}"
    scenario.admin("user", "create", f"--uid={key}", "--display-name=x", f"--access-key={key}", "--secret-key=secret")
    scenario.set(AWS_ACCESS_KEY_ID=key, AWS_SECRET_ACCESS_KEY="secret")


def suspended_user(scenario: Scenario) -> str:
    another_user(scenario)
    scenario.admin("user", "suspend", f"--uid=key-{scenario.bucket}")
    return scenario.uri


def bucket_of_another(scenario: Scenario) -> str:
    another_user(scenario)
    return scenario.uri


def key_withdrawn(scenario: Scenario) -> str:
    another_user(scenario)
    scenario.admin("user", "rm", f"--uid=key-{scenario.bucket}")
    return scenario.uri


def wrong_ca(scenario: Scenario) -> str:
    scenario.set(AWS_ENDPOINT_URL_S3=scenario.environment["RGW_TLS"], AWS_CA_BUNDLE=scenario.environment["RGW_CA"])
    assert open_store(scenario.uri).list() == ["before"]  # works with the right one
    other = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=other"],
        check=True, capture_output=True,
    )  # fmt: skip
    file = Path(scenario.environment["RGW_CA"]).with_name("other.pem")
    file.write_bytes(other.stdout)
    scenario.set(AWS_CA_BUNDLE=str(file))
    return scenario.uri


def wrong_region(scenario: Scenario) -> str:
    server = urlparse(scenario.environment["AWS_ENDPOINT_URL_S3"])
    proxy = RegionalProxy((str(server.hostname), int(server.port or 80)), region="eu-central-1", reports_region=False)
    scenario.cleanup.enter_context(proxy.serving())
    scenario.set(AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{proxy.port}", AWS_DEFAULT_REGION="eu-central-1")
    assert open_store(scenario.uri).list() == ["before"]  # works with the right one
    scenario.set(AWS_DEFAULT_REGION="us-east-1")
    return scenario.uri


def clock_off_by_an_hour(scenario: Scenario) -> str:
    class Late(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(hours=1)

    signer = sys.modules[botocore.auth.AUTH_TYPE_MAPS["s3v4"].__module__]
    scenario.patch.setattr(signer, "get_current_datetime", lambda **_: Late.now(UTC))
    scenario.patch.setattr(s3_errors, "datetime", Late)
    return scenario.uri


def bucket_missing(scenario: Scenario) -> str:
    return f"{scenario.uri}-no"


WRITING = "writes only"  # reading still works
CASES: dict[Callable[[Scenario], str], tuple[str, str]] = {
    full_disk: (r" has 0\.0 GiB free, the run needs 1\.0: .*--store$", WRITING),
    quota_used_up: (r": quota exceeded: ", WRITING),
    read_only_bucket: (r": permission denied \(PutObject\): ", WRITING),
    bucket_not_listed: (r": permission denied \(ListObjectsV2\): ", ""),
    expired_token: (r": permission denied for the session \(.*\): .*renew AWS_SESSION_TOKEN", ""),
    suspended_user: (r": the user is suspended: ", ""),
    bucket_of_another: (r": permission denied \(.*\): ", ""),
    key_withdrawn: (r": unknown access key: check AWS_ACCESS_KEY_ID$", ""),
    wrong_ca: (r": the server's certificate is not trusted: .*AWS_CA_BUNDLE", ""),
    wrong_region: (r": the bucket is in another region: set AWS_DEFAULT_REGION", ""),
    clock_off_by_an_hour: (r": this machine's clock is off by more than 15 minutes: ", ""),
    bucket_missing: (r"\(NoSuchBucket\): .*AWS_ENDPOINT_URL_S3", ""),
}


@pytest.fixture(scope="module")
def table() -> Iterator[list[tuple[str, str, str]]]:
    """Case, whether preflight detects it, its line."""
    rows: list[tuple[str, str, str]] = []
    yield rows
    print("\n")
    for name, detected, line in rows:
        print(f"{name:22} {detected:10} {line}")


@pytest.fixture
def scenario(
    rgw: dict[str, str], rgw_environment: None, monkeypatch: pytest.MonkeyPatch, mounted: Callable[[str], Path]
) -> Iterator[Scenario]:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with ExitStack() as cleanup:
        yield Scenario(rgw, monkeypatch, mounted, cleanup)


def preflight_line(uri: str, base: Path, capsys: Capture) -> str:
    """The line that the step prints before it exits with status 2."""
    profile = ClassifyProfile(
        name="forbidden",
        description="for a test",
        adapter_name="specialty",
        recipe="classify",
        source="builtin://cases?rows=100",
        train=ClassifyTraining(base_model=base.as_uri()),
    )
    with pytest.raises(SystemExit) as stopped:
        preflight_classify.python_func(
            profile=profile.model_dump(), **form_defaults(profile), store=uri, started_by="test"
        )
    assert stopped.value.code == 2
    started, line = capsys.readouterr().err.splitlines()
    assert started == "clinadapt | preflight | started"
    return line.removeprefix("clinadapt | preflight | error: ")


def command_line(monkeypatch: pytest.MonkeyPatch, capsys: Capture, *arguments: str) -> tuple[int, str]:
    """Exit status of a command, and what it prints."""
    monkeypatch.setattr("sys.argv", ["clinadapt", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_one_line(
    case: Callable[[Scenario], str],
    scenario: Scenario,
    table: list[tuple[str, str, str]],
    tiny_bert: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    uri, (line, scope) = case(scenario), CASES[case]
    monkeypatch.setenv(RUN, "a-run")  # its record cannot be written either, silently
    preflight_error = preflight_line(uri, tiny_bert, capsys)
    assert re.search(line, preflight_error)
    status, stderr = command_line(monkeypatch, capsys, "registry", "list", "--store", uri)
    if scope == WRITING:
        assert status == 0
    else:
        assert status == 2 and stderr.startswith(f"error: the store {uri}: ") and stderr.count("\n") == 1
        assert re.search(line, stderr.rstrip())
    if scope == WRITING and scenario.store is None:  # a small model still fits on the full disk
        status, stderr = command_line(monkeypatch, capsys, "mirror", str(tiny_bert), f"{uri}/models/tiny")
        assert status == 2 and stderr.count("\n") == 1 and re.search(line, stderr.rstrip())
    monkeypatch.undo()
    assert scenario.content() == scenario.before
    table.append((case.__name__.replace("_", " "), "preflight", preflight_error))


def test_a_disk_that_fills_up_on_the_way(
    mounted: Callable[[str], Path],
    table: list[tuple[str, str, str]],
    tiny_bert: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    """Preflight cannot detect that a model to copy exceeds the free space. No manifest is left."""
    uri = mounted("size=64k").as_uri()
    status, stderr = command_line(monkeypatch, capsys, "mirror", str(tiny_bert), f"{uri}/tiny")
    assert status == 2 and stderr.count("\n") == 1
    assert re.search(
        r"^error: cannot write '.*' to the store .*: No space left on device; free space or choose", stderr
    )
    assert not [path for path in Path(uri.removeprefix("file://")).rglob("*") if path.name == "manifest.json"]
    assert not list(Path(uri.removeprefix("file://")).rglob(".part-*"))
    table.append(("disk fills up later", "cannot", stderr.rstrip().removeprefix("error: ")))


def test_a_redirect_to_another_region_is_followed(
    rgw: dict[str, str], rgw_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS returns the bucket's region when it refuses another; boto3 retries there."""
    uri, server = f"s3://{bucket()}", urlparse(rgw["AWS_ENDPOINT_URL_S3"])
    proxy = RegionalProxy((str(server.hostname), int(server.port or 80)), region="eu-central-1", reports_region=True)
    with proxy.serving():
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{proxy.port}")
        free_memory(monkeypatch)
        open_store(uri).put("key", b"x")
        assert open_store(uri).get("key")[0] == b"x"
    assert proxy.done["another region"]
