"""Profiles of both recipes, by name and by path."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from components.common.errors import UserError
from components.common.instruct_recipe import InstructProfile
from components.common.recipe import Profile
from pipelines import profile as profiles


def test_a_recipe_decides_what_a_profile_is() -> None:
    kinds = {name: type(profiles.load(name)) for name in profiles.names()}
    assert set(kinds.values()) == {Profile, InstructProfile}
    assert profiles.names("instruct") == [name for name, kind in kinds.items() if kind is InstructProfile]


def test_every_profile_has_its_file_s_name_and_a_name_to_publish_under_of_its_own() -> None:
    loaded = {name: profiles.load(name) for name in profiles.names()}
    assert all(profile.name == name for name, profile in loaded.items())
    assert len({profile.adapter_name for profile in loaded.values()}) == len(loaded)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": "summarise"}, "recipe: use classify or instruct"),
        ({"recipe": ["instruct"]}, "recipe: use classify or instruct"),
        ({"instruct": {"base_model": "hf://a/b", "epoch": 1}}, "instruct.epoch: extra inputs are not permitted"),
        ({"sources": []}, "sources: list should have at least 1 item"),
        ({"sources": [{"kind": "pairs", "uri": "hf://a/b"}]}, "sources.0: .*an instruction belongs to pairs"),
        ({"recipe": "classify"}, "source: field required"),
    ],
)
def test_a_wrong_value_is_named_by_its_path(tmp_path: Path, change: dict, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(profiles.load("t4-phi2").model_dump() | change))
    with pytest.raises(UserError, match=message):
        profiles.load(str(path))


@pytest.mark.parametrize("text", ["- a\n- b\n", "", "instruct\n"])
def test_a_file_that_is_no_profile(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match="recipe: use classify or instruct"):
        profiles.load(str(path))
