"""What the data options of `clinadapt run` make of the run form."""

from __future__ import annotations

from typing import Any

import pytest

from clinadapt.config.classify import ClassifyProfile
from clinadapt.config.instruct import InstructProfile
from clinadapt.config.profile import AnyProfile
from clinadapt.config.resolve import apply_form
from clinadapt.errors import UserError
from pipelines.cli.run import DataOptions, data_parameters
from pipelines.named_settings import load_profile


def profile(recipe: str) -> AnyProfile:
    return load_profile({"classify": "cpu-demo", "instruct": "cpu-instruct"}[recipe])


def sources(*given: str, **options: Any) -> list[dict[str, Any]]:
    return data_parameters(profile("instruct"), list(given), DataOptions(**options))["sources"]


def test_columns_of_a_classify_run() -> None:
    settings = profile("classify")
    form = data_parameters(settings, ["s3://a/b.csv"], DataOptions(columns="text=note, label=dept", patient="mrn"))
    assert form == {"source": "s3://a/b.csv", "columns": {"text": "note", "label": "dept", "patient": "mrn"}}
    applied = apply_form(settings, form)
    assert (applied.notes.column("text"), applied.notes.column("label")) == ("note", "dept")
    assert data_parameters(settings, [], DataOptions()) == {"source": None, "columns": None}


def test_an_option_leaves_the_other_columns_of_the_profile() -> None:
    settings = profile("classify")
    settings.notes.columns = {"text": "note", "date": "seen"}
    form = data_parameters(settings, [], DataOptions(label_column="dept", date="visit_date %d/%m/%Y"))
    assert form["columns"] == {"text": "note", "label": "dept", "date": "visit_date %d/%m/%Y"}


def test_any_group_of_notes_can_be_the_specialty() -> None:
    notes, wrong = sources("s3://a/b.csv", "preferences=s3://a/c.csv", columns="specialty=ward")
    assert notes["columns"] == {"specialty": "ward"} and "columns" not in wrong


def test_columns_go_to_the_kinds_that_have_them() -> None:
    notes, pairs = sources(
        "s3://a/b.csv", "pairs=s3://a/c.csv", columns="text=note,answer=summary,encounter=stay", patient="",
        instruction="Do"
    )  # fmt: skip
    assert notes["columns"] == {"text": "note", "encounter": "stay", "patient": ""}
    assert pairs["columns"] == {"answer": "summary", "encounter": "stay", "patient": ""}
    settings = profile("instruct")
    applied = apply_form(settings, {"sources": [notes, pairs], "test": "newest 10%"})
    assert isinstance(applied, InstructProfile) and applied.examples.test == "newest 10%"


def test_the_decimal_separator_is_that_of_all_sources() -> None:
    entries = sources("a.csv", "chat=b.jsonl", decimal="comma")
    applied = apply_form(profile("instruct"), {"sources": entries})
    assert isinstance(applied, InstructProfile) and [source.decimal for source in applied.sources] == ["comma"] * 2
    with pytest.raises(ValueError, match="decimal"):
        apply_form(profile("instruct"), {"sources": sources("a.csv", decimal="semicolon")})


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (["a.csv"], {"columns": "text"}, "--columns: write FIELD=COLUMN, as in --columns text=note"),
        (["a.csv"], {"columns": "text=a,,b"}, "--columns: write FIELD=COLUMN"),
        (
            ["a.csv"],
            {"columns": "label=x"},
            "no source has a field 'label': they have text, description, specialty, pat",
        ),
        ([], {"patient": "mrn"}, "name a source too"),
        ([], {"show_texts": True}, "name a source too"),
        ([], {"decimal": "comma"}, "name a source too"),
        (["pairs=a.csv"], {}, "pairs= needs the instruction .* add --instruction"),
        (["triples="], {}, "triples= names no file"),
        (["pair=a.csv"], {"instruction": "Do"}, "pair= is no kind of source: use cases=, notes=, .*pairs=, pref"),
        (["a.csv"], {"instruction": "Do"}, "--instruction belongs to a source pairs="),
        ([], {"instruction": "Do"}, "--instruction belongs to a source pairs="),
    ],
)
def test_options_that_do_not_fit(given: list[str], options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        sources(*given, **options)
    assert "\n" not in str(raised.value)


def test_a_field_that_classify_does_not_have() -> None:
    settings = profile("classify")
    with pytest.raises(ValueError, match="classify has no field 'answer': it has text, label, patient"):
        apply_form(settings, data_parameters(settings, ["a.csv"], DataOptions(columns="answer=x")))
    with pytest.raises(UserError, match="belong to the sources of an instruct run"):
        data_parameters(settings, ["a.csv"], DataOptions(send_to=["host"]))


def test_feedback_beside_the_sources_of_the_profile() -> None:
    """`clinadapt run instruct feedback=...` trains on the profile's own sources too."""
    own, feedback = sources("feedback=s3://a/flagged/")
    assert own["uri"].startswith("builtin://cases") and feedback == {"kind": "feedback", "uri": "s3://a/flagged/"}
    applied = apply_form(profile("instruct"), {"sources": [own, feedback]})
    assert isinstance(applied, InstructProfile) and [source.kind for source in applied.sources] == ["cases", "feedback"]
    named = sources("n.csv", "feedback=s3://a/flagged/b/", columns="text=note", send_to=["host"], show_texts=True)
    assert [entry["kind"] for entry in named] == ["notes", "feedback"]
    assert named[1] == {"kind": "feedback", "uri": "s3://a/flagged/b/"}
    for options in ({"columns": "text=note"}, {"send_to": ["host"]}, {"decimal": "comma"}):
        with pytest.raises(UserError, match="name a source too"):
            sources("feedback=s3://a/flagged/", **options)


def test_feedback_beside_the_source_of_classify() -> None:
    settings = profile("classify")
    form = data_parameters(settings, ["feedback=s3://a/flagged/"], DataOptions())
    assert form == {"source": None, "columns": None, "feedback": "s3://a/flagged/"}
    both = data_parameters(settings, ["feedback=s3://a/flagged/b/", "s3://a/n.csv"], DataOptions())
    assert (both["source"], both["feedback"]) == ("s3://a/n.csv", "s3://a/flagged/b/")
    applied = apply_form(settings, {"feedback": both["feedback"]})
    assert isinstance(applied, ClassifyProfile) and applied.feedback.uri == "s3://a/flagged/b/"
    with pytest.raises(UserError, match="one of feedback"):
        data_parameters(settings, ["feedback=s3://a/flagged/", "feedback=s3://b/flagged/"], DataOptions())


@pytest.mark.parametrize("recipe", ["classify", "instruct"])
def test_a_folder_that_is_no_feedback(recipe: str) -> None:
    with pytest.raises(UserError, match="write s3://bucket/flagged/"):
        data_parameters(profile(recipe), ["feedback=s3://a/notes/"], DataOptions())


def test_feedback_and_the_preference_stage_belong_together() -> None:
    settings = profile("instruct").model_dump()
    feedback = {"kind": "feedback", "uri": "s3://a/flagged/"}
    with_pairs = InstructProfile.model_validate(
        settings | {"sources": [*settings["sources"], feedback], "preference": {}}
    )
    assert with_pairs.preference
    with pytest.raises(ValueError, match="needs `own_answers`, or a source of kind preferences"):
        InstructProfile.model_validate(settings | {"preference": {}})
    assert InstructProfile.model_validate(settings | {"preference": {"own_answers": 64}}).preference
    with pytest.raises(ValueError, match="nothing to hold out"):
        InstructProfile.model_validate(settings | {"sources": [feedback]})
