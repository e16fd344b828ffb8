"""Outputs that Kubeflow Pipelines' cache hands out after their objects were removed or changed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from s3_support import bucket

from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.artifacts.sealed_folder import SealedFolder
from clinadapt.artifacts.step_input import cache_generation, current_generation, input_folder, record_output
from clinadapt.artifacts.step_record import RUN
from clinadapt.errors import UserError
from clinadapt.storage import open_store
from clinadapt.storage.object_store import Store

URI = "minio://mlpipeline/v2/artifacts/x/splits"


def dataset(folder: Path, rows: bytes = b"rows") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "train.parquet").write_bytes(rows)
    write_manifest(folder, {})
    return folder


@pytest.mark.parametrize("left", ["nothing", "a folder", "some files", "the manifest alone", "other bytes"])
def test_one_that_is_gone_is_named_and_made_anew_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    """Whatever the launcher leaves; every later run would end there, since the cache goes by inputs alone."""
    store, folder = (tmp_path / "store").as_uri(), tmp_path / "splits"
    artifact = SimpleNamespace(path=str(folder), uri=URI)
    monkeypatch.setenv(RUN, "run-7")
    if left != "nothing":
        folder.mkdir()
    if left == "some files":
        (folder / "train.parquet").write_bytes(b"rows")
    if left == "the manifest alone":
        (dataset(folder) / "train.parquet").unlink()
    if left == "other bytes":
        (dataset(folder) / "train.parquet").write_bytes(b"more")
    assert cache_generation(open_store(store)) == ""
    what = "is not what the step before wrote" if left == "other bytes" else "is gone"
    with pytest.raises(UserError, match=f"^the input {URI} {what} .*: run again, the steps before") as error:
        input_folder(artifact, store)
    assert "\n" not in str(error.value)
    assert cache_generation(open_store(store)) == "run-7"


def test_one_that_is_there(tmp_path: Path) -> None:
    store, folder = (tmp_path / "store").as_uri(), dataset(tmp_path / "splits")
    assert input_folder(SimpleNamespace(path=str(folder), uri="x"), store) == folder
    assert (folder / MANIFEST).is_file() and cache_generation(open_store(store)) == ""


# As preflight makes them, and as they arrive in a step
SETTINGS = {"notes": {"min": 3, "label": None}, "source_digest": "a", "code_version": "1", "cache_generation": ""}
PASSED = {"notes": {"min": 3.0}, "source_digest": "a", "code_version": "1", "cache_generation": ""}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv(RUN, "run-7")
    return open_store((tmp_path / "store").as_uri())


@pytest.fixture
def output(s3_environment: None, tmp_path: Path, store: Store) -> SealedFolder:
    """What download has left in the store of artifacts, and a record of it."""
    name, folder = bucket(), dataset(tmp_path / "output")
    sealed = SealedFolder(open_store(f"s3://{name}"), "v2/artifacts/p/r/dataset")
    sealed.publish(folder)
    artifact = SimpleNamespace(path=str(folder), uri=f"minio://{name}/{sealed.prefix}")
    record_output(artifact, "download", PASSED, store.uri)
    return sealed


def test_what_is_there_is_reused(store: Store, output: SealedFolder) -> None:
    assert current_generation(store, {"download": SETTINGS}) == ("", [])


@pytest.mark.parametrize("how", ["removed", "replaced", "damaged"])
def test_what_is_gone_is_made_anew_by_this_run_already(
    store: Store, output: SealedFolder, tmp_path: Path, how: str
) -> None:
    """Preflight finds it, so that no run has to fail first; once."""
    if how == "removed":
        output.delete()
    elif how == "replaced":
        output.delete()
        output.publish(dataset(tmp_path / "other", b"other rows"))
    else:
        output.store.put(output.key(MANIFEST), b"{}")
    assert current_generation(store, {"format": SETTINGS, "download": SETTINGS}) == ("run-7", ["download"])
    renewed = SETTINGS | {"cache_generation": "run-7"}
    assert current_generation(store, {"download": renewed}) == ("run-7", [])


@pytest.mark.parametrize(
    "other", [{"source_digest": "b"}, {"code_version": "2"}, {"notes": {"min": 4}}], ids=["data", "code", "settings"]
)
def test_what_other_inputs_left_does_not_matter(store: Store, output: SealedFolder, other: dict[str, Any]) -> None:
    output.delete()
    assert current_generation(store, {"download": SETTINGS | other}) == ("", [])


def test_where_preflight_cannot_read_the_artifacts_the_steps_find_out(
    store: Store, output: SealedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert current_generation(store, {"download": SETTINGS}) == ("", [])


def test_nothing_is_left_by_a_run_on_this_machine(store: Store, tmp_path: Path) -> None:
    """Whose paths another machine does not have."""
    folder = dataset(tmp_path / "output")
    record_output(SimpleNamespace(path=str(folder), uri=str(folder)), "download", PASSED, store.uri)
    assert store.list() == []


def test_one_record_for_the_runs_of_a_pipeline(store: Store, output: SealedFolder, tmp_path: Path) -> None:
    """With other data another place, and no object more."""
    artifact = SimpleNamespace(path=str(tmp_path / "output"), uri="minio://b/other")
    record_output(artifact, "download", PASSED | {"source_digest": "b"}, store.uri)
    assert len(store.list("cache/outputs/")) == 1
