"""Fixtures of the synthesize step: a dataset, a store and a chat endpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chat_support import ChatServer, environment, scripted

from clinadapt.artifacts.manifest import write_manifest
from clinadapt.data.schemas.instruct import PREFERENCES, TEXTS, TRIPLES
from clinadapt.storage.folder_store import FolderStore


@pytest.fixture
def dataset(tmp_path: Path) -> Callable[..., Path]:
    """Write a folder as download does."""

    def write(
        rows: list[dict[str, Any]],
        triples: list[dict[str, Any]] | None = None,
        preferences: list[dict[str, Any]] | None = None,
        decimal_comma: list[int] | None = None,
    ) -> Path:
        folder = tmp_path / "dataset"
        folder.mkdir()
        for name, table, schema in (
            ("texts", rows, TEXTS),
            ("triples", triples or [], TRIPLES),
            ("preferences", preferences or [], PREFERENCES),
        ):
            pq.write_table(pa.Table.from_pylist(table, schema=schema), folder / f"{name}.parquet")
        manifest = {"source": ["builtin://cases"], "quarantined": {"empty": 2}, "unused": {"keywords": 3}, "origin": {}}
        write_manifest(folder, manifest | {"decimal_comma": decimal_comma or []})
        return folder

    return write


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore((tmp_path / "store").as_uri())


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ChatServer]]:
    """Start an endpoint and set the environment variables that point the teacher to it."""
    with ExitStack() as stack:

        def start(answer: Any = scripted, **options: Any) -> ChatServer:
            server = stack.enter_context(ChatServer(answer, **options).serving())
            for name, value in environment(server.url).items():
                monkeypatch.setenv(name, value)
            return server

        yield start
