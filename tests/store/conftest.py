"""Stores under test: a folder, moto's S3 in this process, Ceph's RADOS Gateway if its packages are installed, and any
other endpoint by CLINADAPT_TEST_S3=s3://bucket (an existing bucket) with AWS_ENDPOINT_URL_S3 and keys."""

from __future__ import annotations

import pytest
from s3_support import KINDS, a_store

from clinadapt.storage.object_store import Store


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest) -> Store:
    """An empty store of each kind."""
    return a_store(request.param, request)


@pytest.fixture(params=KINDS[1:])
def s3(request: pytest.FixtureRequest) -> Store:
    """An empty store of each kind of S3."""
    return a_store(request.param, request)
