"""Helpers for tests of S3 stores."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import boto3
import pytest
from ports import free_ports
from support import ROOT

from clinadapt.storage import open_store
from clinadapt.storage.object_store import Store

REAL = os.environ.get("CLINADAPT_TEST_S3")
KINDS = ["folder", "moto", "rgw", *(["endpoint"] if REAL else [])]


def free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drop boto3's default session, which caches the settings of its first use."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


def bucket() -> str:
    """Create a bucket and return its name."""
    name = f"test-{uuid.uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=name)
    return name


@contextmanager
def rados_gateway(folder: Path, address: str = "127.0.0.1") -> Iterator[dict[str, str]]:
    """Start a RADOS Gateway at an address; yield the environment variables for boto3. What does not start is stopped,
    and started once more in another folder, at other ports."""
    if not shutil.which("radosgw"):
        pytest.skip("radosgw is not installed: apt-get install ceph-mon ceph-osd radosgw ceph-common")
    with ExitStack() as started:
        try:
            lines = _start_gateway(folder / "1", address, started)
        except subprocess.SubprocessError as error:
            print(error, file=sys.stderr)
            started.close()
            lines = _start_gateway(folder / "2", address, started)
        yield {"AWS_DEFAULT_REGION": "us-east-1"} | dict(line.split("=", 1) for line in lines)


def _start_gateway(folder: Path, address: str, started: ExitStack) -> list[str]:
    script = ROOT / "tests/helpers/rgw.sh"
    started.callback(subprocess.run, [script, "stop", folder], check=False)
    folder.mkdir()
    with (folder / "environment").open("w") as file:  # a pipe would stay open as long as the daemons live
        subprocess.run([script, "start", folder, str(free_ports()), address], stdout=file, check=True, timeout=600)
    return (folder / "environment").read_text().splitlines()


def a_store(kind: str, request: pytest.FixtureRequest) -> Store:
    """An empty store of one kind."""
    if kind == "folder":
        return open_store((request.getfixturevalue("tmp_path") / "store").as_uri())
    if kind == "endpoint":
        free_memory(request.getfixturevalue("monkeypatch"))
        return open_store(f"{REAL}/test-{uuid.uuid4().hex}")
    request.getfixturevalue("s3_environment" if kind == "moto" else "rgw_environment")
    return open_store(f"s3://{bucket()}/prefix")
