"""The list of drugs, and the file that it is kept in."""

from pathlib import Path

import pytest

from clinadapt.artifacts import built_files
from clinadapt.clinical import drug_names
from clinadapt.clinical.drug_names import generics_by_name
from clinadapt.errors import UserError


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, ...]]:
    """A list in place of the whole one, which takes seconds to read."""
    names: dict[str, tuple[str, ...]] = {"velnastatin": ("velnastatin",), "velnaduo": ("velnastatin", "aspirin")}
    file = drug_names.FILE._replace(name="drug-names-test", make=lambda: names)
    monkeypatch.setattr(drug_names, "FILE", file)
    return names


def test_the_kept_list_is_the_one_that_was_collected(
    collected: dict[str, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert generics_by_name.__wrapped__() == collected
    monkeypatch.setattr(drug_names, "FILE", drug_names.FILE._replace(make=dict))
    assert generics_by_name.__wrapped__() == collected, "it was collected again"


def test_without_a_place_to_keep_it_the_list_is_collected(
    collected: dict[str, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise UserError("cannot write")

    monkeypatch.setattr(built_files, "built_file", refuse)
    assert generics_by_name.__wrapped__() == collected


def test_a_list_of_another_version_has_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    name = drug_names.FILE.file_name()
    monkeypatch.setattr(built_files, "version", lambda _: "0.0.0")
    assert drug_names.FILE.file_name() != name and name.endswith(".json")
