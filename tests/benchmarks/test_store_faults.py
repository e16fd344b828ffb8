"""2,000 operations with one request in five broken; prints operations and faults."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlparse

import pytest
from faults import work
from faulty_proxy import FaultyProxy
from s3_support import bucket, free_memory

from clinadapt.storage import open_store


def test_faults(rgw_environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"s3://{bucket()}"
    server = urlparse(os.environ["AWS_ENDPOINT_URL_S3"])
    with FaultyProxy((str(server.hostname), int(server.port or 80))).serving() as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{proxy.port}")
        free_memory(monkeypatch)
        counts = work(open_store(uri), tmp_path, 2000, threads=8)
    print(f"\n{sum(counts.values())} operations: {dict(counts)}\n{proxy.requests} requests: {dict(proxy.done)}")
    assert sum(counts.values()) == 2000
