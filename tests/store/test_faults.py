"""With one request in five broken, every operation succeeds or fails with one line, and no wrong data is accepted."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlparse

import pytest
from faults import work
from faulty_proxy import FAULTS, FaultyProxy
from s3_support import bucket, free_memory

from clinadapt.storage import open_store
from clinadapt.storage.s3_store import S3Store


def test_no_wrong_data_is_accepted(rgw_environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(S3Store, "part_size", 5 * 2**20)
    uri = f"s3://{bucket()}"
    server = urlparse(os.environ["AWS_ENDPOINT_URL_S3"])
    with FaultyProxy((str(server.hostname), int(server.port or 80))).serving() as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{proxy.port}")
        free_memory(monkeypatch)
        store = open_store(uri)
        assert isinstance(store, S3Store)
        counts = work(store, tmp_path, 200)
        data = os.urandom(17 * 2**20)  # four parts
        (tmp_path / "large").write_bytes(data)
        store.upload(tmp_path / "large", "large")
        store.download("large", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data
    print(f"\n{dict(counts)} in {proxy.requests} requests, of which {dict(proxy.done)}")
    assert sum(counts.values()) == 200
    assert counts["error"] <= 2
    assert all(proxy.done[fault] for fault in FAULTS)
