"""Purge finds everything that holds text, by age and for one note, and leaves adapters alone."""

from __future__ import annotations

import hashlib
import json
import os
import time
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clinadapt.artifacts.manifest import write_manifest
from clinadapt.data.duplicates import normal_form
from clinadapt.errors import UserError
from clinadapt.registry.purge import LOCAL, TEXTS, of_note, older_than, purge
from clinadapt.storage.folder_store import FolderStore
from pipelines.cli.purge import purge as command

NOTE, OTHER = "Emilia Sandoval has a cough.", "Somebody else is well."
NOTE_ID = hashlib.sha256(normal_form(NOTE).encode()).hexdigest()[:16]


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    store = FolderStore((tmp_path / "store").as_uri())
    for kind in TEXTS:
        store.put(f"{kind}/a/file", b"text")
    for name, note in (("1", NOTE), ("2", OTHER)):
        store.put(f"flagged/name/{name}.json", json.dumps({"note": note}).encode())
        pq.write_table(pa.table({"text": [note]}), tmp_path / "rows.parquet")
        store.upload(tmp_path / "rows.parquet", f"sources/{name}/rows.parquet")
    store.put("adapters/name/1/report.html", b"no text")
    return store


@pytest.fixture
def home(tmp_path: Path, store: FolderStore) -> Path:
    home = tmp_path / "home"
    for name in LOCAL:
        (home / name).mkdir(parents=True)
        (home / name / "other.txt").write_text("x")
    for name, note_id in (("run1", NOTE_ID), ("run2", "0" * 16)):
        splits = home / "outputs" / name / "splits"
        splits.mkdir(parents=True)
        pq.write_table(pa.table({"note_id": [note_id]}), splits / "test.parquet")
        digest = write_manifest(splits, {})["digest"]
        store.put(f"adapters/name/{name}/manifest.json", json.dumps({"splits_digest": digest}).encode())
    return home


def age(path: Path, days: float) -> None:
    then = time.time() - days * 86400
    for each in [path, *path.rglob("*")]:
        os.utime(each, (then, then))


def test_everything_old_goes_and_nothing_else(store: FolderStore, home: Path, tmp_path: Path) -> None:
    assert older_than(store, home, timedelta(days=1)) == []
    age(tmp_path, 10)
    store.put("flagged/new/1.json", b"{}")
    (home / "outputs/run2/new").write_text("x")
    items = older_than(store, home, timedelta(days=9))
    assert {item.place.partition("/")[0] for item in items if item.path is None} == set(TEXTS)
    lines: list[str] = []
    purge(store, items, lines.append)
    assert {key.partition("/")[0] for key in store.list()} == {"adapters", "flagged"}
    assert store.list("flagged/") == ["flagged/new/1.json"]
    left = {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}
    assert left == {f"outputs/run2/{name}" for name in ("new", "splits/test.parquet", "splits/manifest.json")}
    assert len(lines) == len(items)


def test_what_holds_a_note_goes_with_what_may(store: FolderStore, home: Path) -> None:
    items, adapters = of_note(store, home, NOTE_ID)
    assert adapters == ["name/run1"]
    purge(store, items, lambda line: None)
    assert store.list("sources/") == ["sources/2/rows.parquet", "sources/a/file"]
    assert store.list("flagged/") == ["flagged/name/2.json"]  # one that cannot be read may be about the note
    for kind in ("teacher", "judge", "tokens", "evaluations", "restricted"):
        assert store.list(f"{kind}/") == []
    assert not (home / "outputs/run1").exists() and (home / "outputs/run2").exists()
    assert of_note(store, home, NOTE_ID)[0] == []


def test_nothing_is_deleted_without_being_asked(
    store: FolderStore, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = store.list()
    command(older_than=0, patient=None, delete=False, store=store.uri, home=home, as_json=True)
    assert store.list() == before
    output = json.loads(capsys.readouterr().out)
    assert output["deleted"] is False and len(output["places"]) > len(TEXTS)
    for wrong in ({"older_than": None, "patient": None}, {"older_than": 1, "patient": NOTE_ID}):
        with pytest.raises(UserError, match="either"):
            command(**wrong, delete=False, store=store.uri, home=home, as_json=False)
    with pytest.raises(UserError, match="16 hexadecimal"):
        command(older_than=None, patient="../x", delete=True, store=store.uri, home=home, as_json=False)
