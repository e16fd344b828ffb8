"""Inputs that Kubeflow Pipelines' cache hands out after their objects were removed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.artifacts.step_input import cache_generation, input_folder
from clinadapt.artifacts.step_record import RUN
from clinadapt.errors import UserError
from clinadapt.storage import open_store


@pytest.mark.parametrize("left", ["nothing", "a folder", "some files"])
def test_one_that_is_gone_is_named_and_made_anew_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    """Whatever the launcher leaves; every later run would end there, since the cache goes by inputs alone."""
    store, folder = (tmp_path / "store").as_uri(), tmp_path / "splits"
    artifact = SimpleNamespace(path=str(folder), uri="minio://mlpipeline/v2/artifacts/x/splits")
    monkeypatch.setenv(RUN, "run-7")
    if left != "nothing":
        folder.mkdir()
    if left == "some files":
        (folder / "train.parquet").write_bytes(b"rows")
    assert cache_generation(open_store(store)) == ""
    with pytest.raises(UserError, match="^the input minio://mlpipeline/v2/artifacts/x/splits is gone, ") as error:
        input_folder(artifact, store)
    assert "\n" not in str(error.value)
    assert cache_generation(open_store(store)) == "run-7"


def test_one_that_is_there(tmp_path: Path) -> None:
    store, folder = (tmp_path / "store").as_uri(), tmp_path / "splits"
    folder.mkdir()
    write_manifest(folder, {})
    assert input_folder(SimpleNamespace(path=str(folder), uri="x"), store) == folder
    assert (folder / MANIFEST).is_file() and cache_generation(open_store(store)) == ""
