"""A server that speaks the API of Kubeflow Pipelines, and a connection to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fake_kfp import FakeKfp
from fake_server import serve

from pipelines.kfp_api import Remote, connect


@pytest.fixture
def fake() -> FakeKfp:
    return FakeKfp()


@pytest.fixture
def endpoint(fake: FakeKfp) -> Iterator[str]:
    with serve(fake) as address:
        yield address


@pytest.fixture
def remote(endpoint: str) -> Remote:
    return connect(endpoint, None)
