"""The stores that the contract is held against: a folder, moto's S3 in this process, Ceph's RADOS Gateway where its
packages are installed, and any endpoint that the environment names: CLINADAPT_TEST_S3=s3://bucket beside
AWS_ENDPOINT_URL_S3 and keys. That bucket has to exist."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from s3_support import KINDS, a_store

from components.common.store import Store


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest) -> Store:
    """An empty store of each kind."""
    return a_store(request.param, request)


@pytest.fixture(params=KINDS[1:])
def s3(request: pytest.FixtureRequest) -> Store:
    """An empty store of each kind of S3."""
    return a_store(request.param, request)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a tmpfs with the given options, or skip where this process may not."""
    place = tmp_path / "mounted"
    place.mkdir()

    def mount(options: str) -> Path:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("this process may not mount a tmpfs")
        return place

    yield mount
    subprocess.run(["umount", place], capture_output=True, check=False)
