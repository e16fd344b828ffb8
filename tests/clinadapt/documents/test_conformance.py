"""Whether a version is within the change control plan, decided field by field."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pydantic import ValidationError
from support import instruct_profile

from clinadapt.config.instruct import InstructProfile
from clinadapt.config.resolve import resolve
from clinadapt.documents.conformance import conformance
from clinadapt.documents.facts import Facts

RECORDS: dict[str, Any] = {
    "manifest.json": {
        "version": "1",
        "recipe": "instruct",
        "dataset_digest": "sha256:1",
        "splits_digest": "sha256:1",
        "base_digest": "sha256:base",
        "code_version": "0.1.0+a",
        "settings": {"seed": 0, "learning_rate": 1e-4, "base_model": "file:///a", "lora": {"r": 16}},
        "gate": {
            "gain_over_base": 0.0,
            "max_unsupported": 0.1,
            "champion_margin": 0.02,
            "approval": {"signers": 2, "of": ["a", "b"]},
        },
        "change_control": {"bounds": {"learning_rate": [5e-5, 2e-4]}},
        "chain": [{"step": "train", "inputs": {}, "output": "sha256:2"}],
    },
    "clinadapt.json": {"tasks": ["Summarization"]},
    "data.json": {"settings": {"seed": 0, "test": "random"}, "phi": {"policy": "redact", "types": {}}},
    "verdict.json": {"decision": "pass"},
}


def changed(file: str, path: str, value: Any) -> Facts:
    """The records with another value at a dotted path."""
    records = copy.deepcopy(RECORDS)
    place = records[file]
    *parents, name = path.split(".")
    for parent in parents:
        place = place[parent]
    place[name] = value
    return Facts(records)


@pytest.mark.parametrize(
    ("file", "path", "value", "outside"),
    [
        ("manifest.json", "version", "2", []),
        ("manifest.json", "dataset_digest", "sha256:new", []),
        ("manifest.json", "splits_digest", "sha256:new", []),
        ("manifest.json", "settings.seed", 7, []),
        ("data.json", "settings.seed", 7, []),
        ("manifest.json", "settings.base_model", "file:///elsewhere", []),
        ("manifest.json", "settings.learning_rate", 2e-4, []),
        ("manifest.json", "settings.learning_rate", 2.1e-4, ["training learning_rate"]),
        ("manifest.json", "settings.learning_rate", "high", ["training learning_rate"]),
        ("manifest.json", "settings.lora.r", 32, ["training lora.r"]),
        ("manifest.json", "settings.new", 1, ["training new"]),
        ("manifest.json", "base_digest", "sha256:other", ["base model"]),
        ("manifest.json", "code_version", "0.2.0", ["code"]),
        ("manifest.json", "recipe", "classify", ["recipe"]),
        ("clinadapt.json", "tasks", ["Summarization", "Paraphrasing"], ["tasks"]),
        ("data.json", "phi.policy", "off", ["screening of identifiers"]),
        ("data.json", "phi.types", {"DATE": "report"}, ["screening by type"]),
        ("data.json", "settings.test", "newest 10%", ["preparation test"]),
        ("manifest.json", "gate.max_unsupported", 0.05, []),
        ("manifest.json", "gate.max_unsupported", 0.2, ["gate max_unsupported"]),
        ("manifest.json", "gate.champion_margin", 0.03, ["gate champion_margin"]),
        ("manifest.json", "gate.gain_over_base", 0.1, []),
        ("manifest.json", "gate.gain_over_base", -0.1, ["gate gain_over_base"]),
        ("manifest.json", "gate.approval", {"signers": 3, "of": ["a", "b"]}, []),
        ("manifest.json", "gate.approval", {"signers": 1, "of": ["a", "b"]}, ["gate approval.signers"]),
        ("manifest.json", "gate.approval", {"signers": 2, "of": ["a"]}, ["gate approval.of"]),
        ("manifest.json", "gate.approval", {"signers": 2, "of": ["a", "b"], "days": 3}, []),
        ("manifest.json", "change_control.bounds", {"learning_rate": [0.0, 1.0]}, ["bounds of the plan"]),
        ("verdict.json", "decision", "fail", ["gate"]),
    ],
)
def test_what_may_change(file: str, path: str, value: Any, outside: list[str]) -> None:
    record = conformance(changed(file, path, value), Facts(RECORDS))
    assert record["outside"] == outside and record["within"] is not bool(outside)
    assert record["compared_with"] == "1"
    assert all({"field", "rule", "before", "now", "within", "source"} == entry.keys() for entry in record["fields"])


def test_asking_people_where_nobody_was_asked_is_not_looser() -> None:
    earlier = copy.deepcopy(RECORDS)
    del earlier["manifest.json"]["gate"]["approval"]
    assert conformance(Facts(RECORDS), Facts(earlier))["outside"] == []
    assert conformance(Facts(earlier), Facts(RECORDS))["outside"] == ["gate approval.signers", "gate approval.of"]


@pytest.mark.parametrize(("before", "now"), [(14, 7), (7, 14)])
def test_the_time_for_approval_may_change(before: int, now: int) -> None:
    both = [changed("manifest.json", "gate.approval.days", days) for days in (now, before)]
    assert conformance(*both)["outside"] == []


def test_a_first_version_is_reviewed_as_a_whole() -> None:
    record = conformance(Facts(RECORDS), None)
    assert record["within"] is None and record["compared_with"] is None and record["fields"] == []


def test_what_the_earlier_version_does_not_record_has_changed() -> None:
    record = conformance(Facts(RECORDS), Facts({"manifest.json": {"version": "0"}}))
    assert record["within"] is False
    assert {"base model", "code", "tasks", "training lora.r", "gate max_unsupported"} <= set(record["outside"])
    assert not {"data", "training seed"} & set(record["outside"])


def test_a_pretrained_base_is_known_by_the_one_it_began_with() -> None:
    """Its own digest changes with the data."""
    chain = [{"step": "pretrain", "inputs": {"base_model": "hf:abc"}, "output": "sha256:x"}]
    one, other = changed("manifest.json", "chain", chain), changed("manifest.json", "chain", chain)
    other.records["manifest.json"]["base_digest"] = "sha256:other"
    assert conformance(other, one)["within"] is True
    other.records["manifest.json"]["chain"] = [{**chain[0], "inputs": {"base_model": "hf:def"}}]
    assert conformance(other, one)["outside"] == ["base model"]


def test_bounds_of_a_profile_reach_gate_and_publish() -> None:
    bounds = {"learning_rate": [0.001, 0.01], "lora.r": [8, 16]}
    profile = InstructProfile.model_validate(instruct_profile(change_control={"bounds": bounds}))
    without = InstructProfile.model_validate(instruct_profile())
    for step in ("gate", "publish"):
        assert resolve(profile, {})[step]["change_control"] == {"bounds": bounds}
        assert resolve(without, {})[step]["change_control"] == {"bounds": {}}


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"learning_rat": [0, 1]}, "is no number among the settings of training"),
        ({"lora": [0, 1]}, "is no number"),
        ({"precision": [0, 1]}, "is no number"),
        ({"preference.beta": [0, 1]}, "is no number"),
        ({"learning_rate": [1, 0]}, "as \\[lowest, highest\\]"),
        ({"learning_rate": [1]}, "as \\[lowest, highest\\]"),
        ({"learning_rate": [0, float("nan")]}, "as \\[lowest, highest\\]"),
        ({"learning_rate": "any"}, "list"),
    ],
)
def test_bounds_that_mean_nothing(bounds: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        InstructProfile.model_validate(instruct_profile(change_control={"bounds": bounds}))
