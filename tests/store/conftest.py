"""The stores that the contract is held against: a folder, moto's S3 in this process, Ceph's RADOS Gateway where its
packages are installed, and any endpoint that the environment names: CLINADAPT_TEST_S3=s3://bucket beside
AWS_ENDPOINT_URL_S3 and keys. That bucket has to exist."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from components.common.store import Store, open_store

REAL = os.environ.get("CLINADAPT_TEST_S3")
RGW = Path(__file__).with_name("rgw.sh")
KINDS = ["folder", "moto", "rgw", *(["endpoint"] if REAL else [])]


def free_ports() -> int:
    """The first of three ports in a row that nothing listens on."""
    while True:
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                for number in (port + 1, port + 2):
                    with socket.socket() as other:
                        other.bind(("127.0.0.1", number))
            except OSError:
                continue
            return port


@pytest.fixture(scope="session")
def rgw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment that leads boto3 to a fresh RADOS Gateway."""
    if not shutil.which("radosgw"):
        pytest.skip("radosgw is not installed: apt-get install ceph-mon ceph-osd radosgw ceph-common")
    folder = tmp_path_factory.mktemp("rgw")
    try:
        with (folder / "environment").open("w") as file:  # a pipe would stay open as long as the daemons live
            subprocess.run([RGW, "start", folder, str(free_ports())], stdout=file, check=True, timeout=120)
        lines = (folder / "environment").read_text().splitlines()
        yield {"AWS_DEFAULT_REGION": "us-east-1"} | dict(line.split("=", 1) for line in lines)
    finally:
        subprocess.run([RGW, "stop", folder], check=False)


@pytest.fixture
def rgw_environment(rgw: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Lead boto3 in this process to the RADOS Gateway."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it would remember the keys that it found first
    for name, value in rgw.items():
        monkeypatch.setenv(name, value)


def bucket() -> str:
    """The name of a new bucket."""
    name = f"test-{uuid.uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=name)
    return name


def a_store(kind: str, request: pytest.FixtureRequest) -> Store:
    """An empty store of one kind."""
    if kind == "folder":
        return open_store((request.getfixturevalue("tmp_path") / "store").as_uri())
    if kind == "endpoint":
        request.getfixturevalue("monkeypatch").setattr(boto3, "DEFAULT_SESSION", None)
        return open_store(f"{REAL}/test-{uuid.uuid4().hex}")
    request.getfixturevalue("s3_environment" if kind == "moto" else "rgw_environment")
    return open_store(f"s3://{bucket()}/prefix")


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest) -> Store:
    """An empty store of each kind."""
    return a_store(request.param, request)


@pytest.fixture(params=KINDS[1:])
def s3(request: pytest.FixtureRequest) -> Store:
    """An empty store of each kind of S3."""
    return a_store(request.param, request)
