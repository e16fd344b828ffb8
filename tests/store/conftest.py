"""The stores that the contract is held against: a folder, an S3 server in this process, and any endpoint that the
environment names: CLINADAPT_TEST_S3=s3://bucket beside AWS_ENDPOINT_URL_S3 and keys. That bucket has to exist."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import boto3
import pytest

from components.common.store import Store, open_store

REAL = os.environ.get("CLINADAPT_TEST_S3")


@pytest.fixture(params=["folder", "s3", *(["endpoint"] if REAL else [])])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store of each kind."""
    place = f"test-{uuid.uuid4().hex}"
    if request.param == "folder":
        return open_store((tmp_path / place).as_uri())
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it would remember the keys that it found first
    if request.param == "endpoint":
        return open_store(f"{REAL}/{place}")
    request.getfixturevalue("s3_environment")
    boto3.client("s3").create_bucket(Bucket=place)
    return open_store(f"s3://{place}/prefix")
