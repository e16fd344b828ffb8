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
from review_cases import NAME as QUEUE_NAME
from review_cases import VERSION, a_flag, a_queue
from typer.testing import CliRunner

from clinadapt.artifacts.manifest import write_manifest
from clinadapt.data.duplicates import normal_form
from clinadapt.data.duplicates import note_id as id_of_note
from clinadapt.errors import UserError
from clinadapt.feedback.marks import Judgement, add_mark
from clinadapt.feedback.settled import read_reviews
from clinadapt.registry.pipeline_artifacts import ArtifactRoot
from clinadapt.registry.purge import LOCAL, TEXTS, note_id_tables, of_note, older_than, purge, same_note
from clinadapt.storage.folder_store import FolderStore
from pipelines.cli.main import app
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
    items, adapters = of_note(store, home, {NOTE_ID})
    assert adapters == ["name/run1"]
    purge(store, items, lambda line: None)
    assert store.list("sources/") == ["sources/2/rows.parquet", "sources/a/file"]
    assert store.list("flagged/") == ["flagged/name/2.json"]  # one that cannot be read may be about the note
    for kind in ("teacher", "judge", "tokens", "evaluations", "restricted"):
        assert store.list(f"{kind}/") == []
    assert not (home / "outputs/run1").exists() and (home / "outputs/run2").exists()
    assert of_note(store, home, {NOTE_ID})[0] == []


def test_what_people_said_of_a_note_goes_with_it(store: FolderStore, home: Path) -> None:
    queue = a_queue(store)
    for case in queue:
        add_mark(store, case, "rita", Judgement(verdict="wrong", correction="lisinopril 20 mg"))
    a_flag(store, "rita", note=NOTE, correction="No drug.")
    (flagged,) = [each.case for each in read_reviews(store, QUEUE_NAME, VERSION).cases if each.case.origin == "flag"]
    add_mark(store, flagged, "omar", Judgement(verdict="wrong", correction="None."))
    purge(store, of_note(store, home, {queue[0].note_id})[0], lambda line: None)
    left = "".join(store.list("reviews/"))
    assert queue[0].case not in left and queue[1].case in left and flagged.case in left and "queue.json" in left
    purge(store, of_note(store, home, {NOTE_ID})[0], lambda line: None)
    reviews = read_reviews(store, QUEUE_NAME, VERSION)
    assert [(each.case.case, each.state) for each in reviews.cases] == [(case.case, "waiting") for case in queue[1:]]
    assert flagged.case not in "".join(store.list("reviews/")) and not reviews.left_out


RUN = "v2/artifacts/classify-t4/0f-1"
OURS = (
    RUN,
    "artifacts/scheduled-7-1",
    "private-artifacts/us/v2/artifacts/instruct-phi/0f-2",
    "private-artifacts/us/instruct-phi-x1",
)
OTHERS = (
    "v2/artifacts/mnist/0f-3",
    "v2/artifacts/classify-chest-xrays/9f",
    "artifacts/mnist-x1",
    "artifacts/instruct-phi-x1",  # ours have this name in another namespace
    "private-artifacts/us/mnist-x2",
    "private-artifacts/team-b/classify-leaves-9z",
    f"exports/2019/{RUN}",
    "exports/2019/artifacts/classify-t4-old",
    "pipelines",
)


@pytest.fixture
def bucket(store: FolderStore, tmp_path: Path) -> FolderStore:
    """The bucket of Kubeflow Pipelines: a run of ours with the note, logs, another run, and what other teams have."""
    bucket = FolderStore((tmp_path / "mlpipeline").as_uri())
    splits = tmp_path / "pipeline-splits"
    splits.mkdir()
    pq.write_table(pa.table({"note_id": [NOTE_ID]}), splits / "test.parquet")
    digest = write_manifest(splits, {})["digest"]
    for file in ("test.parquet", "manifest.json"):
        bucket.upload(splits / file, f"{RUN}/format-classify/{file}")
    for place in (*OURS, *OTHERS):
        bucket.put(f"{place}/step/executor-logs", b"log")
    for place in OURS[::2]:
        bucket.put(f"{place}/preflight-{place.split('/')[-2].split('-')[0]}/7c/executor-logs", b"log")
    bucket.put(f"exports/2019/{RUN}/preflight-classify/7c/executor-logs", b"log")
    pq.write_table(pa.table({"note_id": ["0" * 16]}), splits / "test.parquet")
    bucket.upload(splits / "test.parquet", f"{OURS[2]}/format-instruct/test.parquet")
    store.put("runs/scheduled-7-1/gate.json", b"{}")  # of a schedule, whose runs Kubeflow Pipelines names
    store.put("adapters/name/cluster/manifest.json", json.dumps({"splits_digest": digest}).encode())
    return bucket


def places(bucket: FolderStore) -> set[str]:
    return {key.rpartition("/step/")[0] for key in bucket.list() if "/step/" in key}


def run_purge(store: FolderStore, home: Path, *options: str) -> str:
    arguments = ["purge", "--store", store.uri, "--home", str(home), "--json", *options]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.stderr


@pytest.mark.parametrize("root", ["", "v2/artifacts", "private-artifacts/us", "private-artifacts/us/v2/artifacts"])
def test_the_copies_of_kubeflow_pipelines_go_by_age(
    store: FolderStore, home: Path, bucket: FolderStore, tmp_path: Path, root: str
) -> None:
    age(tmp_path, 10)
    bucket.put("artifacts/scheduled-7-1/new", b"log")  # so that the place is as new
    uri = f"{bucket.uri}/{root}".rstrip("/")
    wanted = {place for place in OURS if place.startswith(root) and place != "artifacts/scheduled-7-1"}
    report = run_purge(store, home, "--older-than", "9", "--artifacts", uri)
    assert {place for place in OURS if f"{bucket.uri}/{place}: artifacts and logs" in report} == wanted
    assert f" objects in {len(wanted)} places of our runs" in report and places(bucket) == {*OURS, *OTHERS}
    run_purge(store, home, "--older-than", "9", "--artifacts", uri, "--delete")
    assert places(bucket) == {*OURS, *OTHERS} - wanted
    assert not any(key.startswith(place + "/") for place in wanted for key in bucket.list())


def test_the_copies_of_kubeflow_pipelines_go_with_a_note(store: FolderStore, home: Path, bucket: FolderStore) -> None:
    report = run_purge(store, home, "--patient", NOTE_ID, "--artifacts", bucket.uri, "--delete")
    assert places(bucket) == {*OURS, *OTHERS} - {RUN}
    assert "adapters/name/cluster was made of these outputs" in report
    assert f"Kubeflow Pipelines: 4 objects in 1 places of our runs; {len(OTHERS) + 1} of others stay" in report


RAW = "Mr. Velnadal has a cough."


@pytest.mark.parametrize("given", [NOTE_ID, id_of_note(RAW)], ids=["screened", "raw"])
def test_the_copies_go_by_either_hash_of_a_note(
    store: FolderStore, home: Path, bucket: FolderStore, tmp_path: Path, given: str
) -> None:
    """The only table with both hashes lies below the artifact root, in a run of its own."""
    run = "v2/artifacts/classify-t4/0f-9"
    bucket.put(f"{run}/preflight-classify/7c/executor-logs", b"log")
    ids = {"note_id": [NOTE_ID, None], "original": [id_of_note(RAW), None]}
    for table, name in ((ids, "screen-classify/7c/note_ids"), ({"text": [RAW]}, "download-classify/7c/notes")):
        pq.write_table(pa.table(table), tmp_path / "table.parquet")
        bucket.upload(tmp_path / "table.parquet", f"{run}/{name}.parquet")
    store.upload(tmp_path / "table.parquet", "sources/raw/rows.parquet")
    report = run_purge(store, home, "--patient", given, "--artifacts", bucket.uri, "--delete")
    assert "adapters/name/cluster was made of" in report and "adapters/name/run1 was made of" in report
    assert not any(key.startswith((f"{RUN}/", f"{run}/")) for key in bucket.list())
    assert store.list("sources/") == ["sources/2/rows.parquet", "sources/a/file"]
    assert not (home / "outputs/run1").exists() and (home / "outputs/run2").exists()
    assert places(bucket) == {*OURS, *OTHERS} - {RUN}


def test_a_table_of_hashes_goes_by_either(store: FolderStore, home: Path) -> None:
    for folder, ids in (("one", ["1" * 16, "a" * 16]), ("two", ["2" * 16, "a" * 16]), ("three", ["3" * 16, "c" * 16])):
        (home / "outputs" / folder).mkdir()
        table = pa.table({"note_id": ids[:1], "original": ids[1:]})
        pq.write_table(table, home / "outputs" / folder / "note_ids.parquet")
    paths = {item.path for item in of_note(store, home, {"a" * 16})[0]}
    assert {home / "outputs/one", home / "outputs/two"} <= paths and home / "outputs/three" not in paths
    every = {"1" * 16, "2" * 16, "a" * 16}
    assert [same_note(each, note_id_tables(home)) for each in sorted(every)] == [every] * 3, "of two policies"
    assert same_note(NOTE_ID, note_id_tables(home)) == {NOTE_ID}


def test_copies_that_are_not_looked_at_are_named(store: FolderStore, home: Path) -> None:
    for which in (("--patient", NOTE_ID), ("--older-than", "9")):
        assert "copies that Kubeflow Pipelines keeps are not looked at: name" in run_purge(store, home, *which)


def test_the_splits_of_a_trainjob_go_with_a_note(store: FolderStore, home: Path, tmp_path: Path) -> None:
    for name, note_id in (("1", NOTE_ID), ("2", "0" * 16)):
        pq.write_table(pa.table({"note_id": [note_id]}), tmp_path / "train.parquet")
        store.upload(tmp_path / "train.parquet", f"splits/{name}/train.parquet")
    purge(store, of_note(store, home, {NOTE_ID})[0], lambda line: None)
    assert store.list("splits/") == ["splits/2/train.parquet", "splits/a/file"]


def test_minio_is_the_store_at_the_endpoint(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens there."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(UserError, match="the store s3://mlpipeline: cannot connect"):
        ArtifactRoot.below("minio://mlpipeline", store)


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


def test_a_note_is_also_found_by_its_hash_before_screening(store: FolderStore, home: Path) -> None:
    original, screened = home / "outputs/download", home / "outputs/screen"
    for folder in (original, screened):
        folder.mkdir()
    pq.write_table(pa.table({"text": ["Mr. Velnadal has a cough."]}), original / "notes.parquet")
    ids = {"note_id": [NOTE_ID], "original": [id_of_note("Mr. Velnadal has a cough.")]}
    pq.write_table(pa.table(ids), screened / "note_ids.parquet")
    for wanted in (ids["note_id"][0], ids["original"][0]):
        paths = {item.path for item in of_note(store, home, same_note(wanted, note_id_tables(home)))[0]}
        assert {home / "outputs/download", home / "outputs/screen", home / "outputs/run1"} <= paths
