"""A profile and the run form become the settings of each step, once and for all of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError
from support import instruct_profile

from clinadapt.config.base import outcome_settings
from clinadapt.config.classify import ClassifyProfile
from clinadapt.config.instruct import InstructProfile, Source, allowed_hosts
from clinadapt.config.resolve import FORM, PinnedModel, apply_form, form_defaults, resolve
from pipelines.named_settings import load_profile, profile_names

BASE = PinnedModel("hf://org/name@0123", "hf:0123")


def classify() -> ClassifyProfile:
    return ClassifyProfile(
        name="test", recipe="classify", description="A test.", source="builtin://cases", adapter_name="specialty",
        train={"base_model": "builtin://minilm"},
    )  # fmt: skip


def instruct(**sections: Any) -> InstructProfile:
    return InstructProfile.model_validate(instruct_profile(**sections))


@pytest.mark.parametrize("name", profile_names())
def test_the_form_of_a_profile_without_changes_is_the_profile(name: str) -> None:
    profile = load_profile(name)
    defaults = form_defaults(profile)
    assert list(defaults) == list(FORM[profile.recipe])
    assert resolve(profile, {}) == resolve(profile, defaults)
    assert json.loads(json.dumps(resolve(profile, {}))) == resolve(profile, {})


@pytest.mark.parametrize("name", profile_names())
def test_no_setting_is_null(name: str) -> None:
    """kfp hands on none from one step to the next."""

    def nulls(value: Any, path: str) -> list[str]:
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
        return [path] if value is None else [each for key, item in inner for each in nulls(item, f"{path}.{key}")]

    assert nulls(resolve(load_profile(name), {}), name) == []


def test_every_field_of_the_form_reaches_a_step() -> None:
    values: dict[str, dict[str, Any]] = {
        "classify": {"source": "file:///a.csv", "feedback": "file:///s/flagged/", "columns": {"text": "t"},
                     "labels": ["a"], "top_labels": 3, "min_notes_per_label": 20, "test": "newest 10%", "base_model": "file:///m",
                     "quantization": "nf4", "num_train_epochs": 9, "learning_rate": 0.5, "seed": 11,
                     "adapter_name": "other"},
        "instruct": {"sources": [{"kind": "notes", "uri": "file:///a.csv"}], "teacher": "llm", "test": "newest 10%",
                     "base_model": "file:///m", "quantization": "none", "num_train_epochs": 9, "learning_rate": 0.5,
                     "seed": 11, "adapter_name": "other"},
    }  # fmt: skip
    for profile in (classify(), instruct()):
        assert set(values[profile.recipe]) == set(FORM[profile.recipe])
        plain = resolve(profile, {})
        for field, value in values[profile.recipe].items():
            assert resolve(profile, {field: value}) != plain, field


def test_an_audit_is_known_to_format_alone() -> None:
    """So that the steps of a run without one stay as they are."""
    plain, audited = (resolve(instruct(phi={"audit": audit}), {}) for audit in (False, True))
    assert audited.pop("format") == plain.pop("format") | {"canaries": 0}
    assert audited == plain and "audit" not in plain["screen"]["phi"]
    with pytest.raises(ValidationError, match="audit"):
        ClassifyProfile.model_validate(classify().model_dump() | {"phi": {"audit": True}})


def test_one_seed_for_all_stages() -> None:
    steps = resolve(instruct(), {"seed": 5})
    seeds = {steps[name]["training"]["seed"] for name in ("pretrain", "train")}
    seeds |= {steps["synthesize"]["synthesis"]["seed"], steps["format"]["examples"]["seed"], steps["evaluate"]["seed"]}
    assert seeds == {5}
    steps = resolve(classify(), {"seed": 5})
    assert {steps["train"]["training"]["seed"], steps["format"]["split"]["seed"], steps["evaluate"]["seed"]} == {5}


def test_the_base_model_is_pinned_wherever_it_is_read() -> None:
    profile = instruct(pretrain=None, instruct={"base_model": "hf://org/name"})
    steps = resolve(profile, {}, BASE)
    assert steps["train"]["training"]["base_model"] == steps["format"]["base_model"] == BASE.uri
    assert steps["train"]["base_digest"] == steps["format"]["tokenizer_digest"] == BASE.digest
    assert steps["lookup"]["settings"]["base_model"] == BASE.uri and steps["lookup"]["base_digest"] == BASE.digest


@pytest.mark.parametrize(
    ("field", "value", "unchanged"),
    [
        (
            "learning_rate",
            0.5,
            {"download", "screen", "synthesize", "format", "pretrain", "evaluate", "gate", "publish"},
        ),
        (
            "num_train_epochs",
            9,
            {"download", "screen", "synthesize", "format", "pretrain", "evaluate", "gate", "publish"},
        ),
        (
            "quantization",
            "none",
            {"download", "screen", "synthesize", "format", "pretrain", "evaluate", "gate", "publish"},
        ),
        (
            "teacher",
            "llm",
            {"download", "screen", "format", "lookup", "pretrain", "train", "evaluate", "gate", "publish"},
        ),
        ("seed", 5, {"download", "screen", "gate", "publish"}),
        (
            "test",
            "newest 5%",
            {"download", "screen", "synthesize", "lookup", "pretrain", "train", "evaluate", "gate", "publish"},
        ),
        ("adapter_name", "other", {"download", "screen", "synthesize", "format", "pretrain", "train"}),
    ],
)
def test_a_step_is_given_nothing_that_it_does_not_read(field: str, value: Any, unchanged: set[str]) -> None:
    """So that Kubeflow Pipelines' cache, which compares inputs, still answers for it."""
    before, after = resolve(instruct(), {}), resolve(instruct(), {field: value})
    assert {step for step in before if before[step] == after[step]} == unchanged


def test_the_lookup_has_what_train_records() -> None:
    profile = instruct(
        sources=[{"kind": "cases", "uri": "builtin://cases"}, {"kind": "preferences", "uri": "file:///pairs.csv"}],
        preference={"beta": 0.2},
    )
    steps = resolve(profile, {}, BASE)
    applied = apply_form(profile, {})
    training = applied.instruct.model_copy(update={"base_model": BASE.uri})
    assert steps["lookup"]["settings"] == outcome_settings(training) | {
        "preference": outcome_settings(applied.preference)
    }
    assert steps["lookup"]["pretraining"] == outcome_settings(applied.pretraining) | {"base_model": BASE.uri}
    often = instruct(instruct={**instruct_profile()["instruct"], "checkpoint_minutes": 1.0})
    assert resolve(often, {})["lookup"] == resolve(instruct(), {})["lookup"]


def test_a_model_from_nothing_is_trained_in_full() -> None:
    profile = instruct(pretrain={**instruct_profile()["pretrain"], "method": "lora"})
    steps = resolve(profile, {})
    assert steps["pretrain"]["training"]["method"] == "full" and steps["format"]["tokenizer_digest"] == ""


@pytest.mark.parametrize(
    "form", [{"num_train_epochs": 0}, {"learning_rate": "fast"}, {"adapter_name": "No Name"}, {"quantization": "int8"}]
)
def test_a_wrong_value_is_refused(form: dict[str, Any]) -> None:
    for profile in (classify(), instruct()):
        with pytest.raises(ValidationError):
            resolve(profile, form)


@pytest.mark.parametrize("form", [{"labels": ["x", "{{$.inputs}}"]}, {"columns": {"text": "{{$...}}"}}])
def test_a_placeholder_of_kubeflow_pipelines_is_refused_in_one_line(form: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"contains '{{\$', which Kubeflow Pipelines reads as a placeholder"):
        apply_form(classify(), form)


def test_texts_are_private_and_stay_unless_a_source_says_otherwise() -> None:
    notes = Source(kind="notes", uri="file:///notes.csv")
    cases = Source(kind="cases", uri="builtin://cases")
    consenting = notes.model_copy(update={"send_to": ["a.example", "b.example"]})
    other = notes.model_copy(update={"send_to": ["b.example", "c.example"]})
    assert (notes.withheld, cases.withheld) == (True, False)
    assert not Source(kind="notes", uri="file:///notes.csv", private=False).withheld
    assert allowed_hosts([cases]) == ["*"]
    assert allowed_hosts([cases, notes]) == allowed_hosts([consenting, notes]) == []
    assert allowed_hosts([cases, consenting]) == ["a.example", "b.example"]
    assert allowed_hosts([consenting, other]) == ["b.example"]


@pytest.mark.parametrize("host", ["*", "https://llm.example", "llm.example/v1", "llm.example:443", "a@b", "", "a\n"])
def test_only_a_host_can_be_consented_to(host: str) -> None:
    with pytest.raises(ValidationError):
        Source(kind="notes", uri="file:///notes.csv", send_to=[host])
