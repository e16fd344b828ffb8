"""Profiles of both recipes, by name and by path."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from clinadapt.config.classify import ClassifyProfile
from clinadapt.config.instruct import InstructProfile
from clinadapt.errors import UserError
from pipelines.named_settings import load_profile, profile_names


def test_a_recipe_decides_what_a_profile_is() -> None:
    kinds = {name: type(load_profile(name)) for name in profile_names()}
    assert set(kinds.values()) == {ClassifyProfile, InstructProfile}
    assert profile_names("instruct") == [name for name, kind in kinds.items() if kind is InstructProfile]


def test_every_profile_has_its_file_s_name_and_a_name_to_publish_under_of_its_own() -> None:
    loaded = {name: load_profile(name) for name in profile_names()}
    assert all(profile.name == name for name, profile in loaded.items())
    assert len({profile.adapter_name for profile in loaded.values()}) == len(loaded)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": "summarise"}, "recipe: use classify or instruct"),
        ({"recipe": ["instruct"]}, "recipe: use classify or instruct"),
        ({"instruct": {"base_model": "hf://a/b", "epoch": 1}}, "instruct.epoch: extra inputs are not permitted"),
        ({"sources": []}, "sources: list should have at least 1 item"),
        (
            {"sources": [{"kind": "pairs", "uri": "hf://a/b"}]},
            "sources.0: .*`instruction` belongs to a source of kind pairs",
        ),
        ({"recipe": "classify"}, "source: field required"),
    ],
)
def test_a_wrong_value_is_named_by_its_path(tmp_path: Path, change: dict, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(load_profile("t4-phi2").model_dump() | change))
    with pytest.raises(UserError, match=message):
        load_profile(str(path))


@pytest.mark.parametrize("text", ["- a\n- b\n", "", "instruct\n"])
def test_a_file_that_is_no_profile(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match="recipe: use classify or instruct"):
        load_profile(str(path))


def test_paths_in_a_profile_are_relative_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    path = tmp_path / "deep/mine.yaml"
    values = load_profile("t4-phi2").model_dump()
    values["sources"] = [{"kind": "notes", "uri": "../notes.csv"}, {"kind": "cases", "uri": "builtin://cases"}]
    values["instruct"]["base_model"] = "model"
    path.write_text(yaml.safe_dump(values))
    profile = load_profile(str(path))
    assert isinstance(profile, InstructProfile)
    assert [source.uri for source in profile.sources] == [(tmp_path / "notes.csv").as_uri(), "builtin://cases"]
    assert profile.instruct.base_model == (tmp_path / "deep/model").as_uri()
    path.write_text(yaml.safe_dump(load_profile("cpu-demo").model_dump() | {"source": str(tmp_path / "a.csv")}))
    profile = load_profile(str(path))
    assert isinstance(profile, ClassifyProfile) and profile.source == (tmp_path / "a.csv").as_uri()
    assert profile.train.base_model.startswith("builtin://")
