"""Counterfactual notes: changed as a whole and consistently, or not at all."""

from __future__ import annotations

import json
import lzma
import re

import pytest
from support import ROOT

from clinadapt.clinical.claims.reading import read
from clinadapt.data.builtin_cases import generate
from components.evaluate.counterfactual_labels import changed_notes
from components.evaluate.counterfactual_notes import changes

NOTES = ROOT.parent / "shared/data/mtsamples/notes.jsonl.xz"


@pytest.mark.parametrize(
    ("note", "changed"),
    [
        (
            "Ms. Lee is a 62-year-old woman. She takes Lasix; it helps her. Her left knee hurts her. SHE SLEEPS WELL.",
            "Mr. Lee is a 62-year-old man. He takes Lasix; it helps him. His left knee hurts him. HE SLEEPS WELL.",
        ),
        (
            "Mr. Lee, a 62-year-old gentleman, says he was given his pills by his wife, who told him to rest himself.",
            "Ms. Lee, a 62-year-old lady, says she was given her pills by her husband, who told her to rest herself.",
        ),
        ("62M with cough. Sex: M. T 98.6 F. MR on echo.", "62F with cough. Sex: F. T 98.6 F. MR on echo."),
        ("A 62 y/o F. Bundle of His normal. She missed it.", "A 62 y/o M. Bundle of His normal. He missed it."),
    ],
)  # fmt: skip
def test_the_other_sex_in_the_whole_note(note: str, changed: str) -> None:
    assert changes(note)["sex"](note) == changed


@pytest.mark.parametrize(
    "note",
    [
        "A 30-year-old woman, pregnant. She vomits.",
        "A 70-year-old man with BPH. He wakes at night.",
        "A 70-year-old man. He had a TURP.",
        "A 40-year-old woman, G2P1. She is well.",
        "A 60-year-old woman. Her mother had diabetes and she died of it.",
        "A 60-year-old man. She was seen with her son.",
        "A 34-year-old woman at 20 weeks of gestation. She is well.",
        "A 45-year-old woman with PCOS. She is well.",
        "A 45-year-old woman after tubal ligation. She is well.",
        "A 45-year-old woman on Depo-Provera. She is well.",
        "A 62-year-old man with a Gleason 7 tumor. He is well.",
        "A 62-year-old man on bicalutamide. He is well.",
        "A 62-year-old man after an orchiectomy. He is well.",
        "Mr. White, 44 M. White male. He is well.",
        "Chest pain for two days.",
        "He takes his pills, and she takes hers.",
    ],
)
def test_no_other_sex_where_it_would_be_wrong_or_unclear(note: str) -> None:
    assert "sex" not in changes(note)


def test_another_age_wherever_it_stands() -> None:
    note = (
        "A 72-year-old man, 72 y/o, aged seventy-two, with 2-year history of gout. His mother lived long. 72 mg daily."
    )
    change = changes(note)["age"]
    assert change(note) == note.replace("72-y", "52-y").replace("72 y", "52 y").replace("seventy-two", "52")
    assert change("The patient is a 72-year-old; dose 72 mg.") == "The patient is a 52-year-old; dose 72 mg."
    assert changes("36F with asthma.")["age"]("36F with asthma.") == "56F with asthma."


@pytest.mark.parametrize(
    "note",
    [
        "A 7-year-old boy with fever.",
        "A 72-year-old man. His brother died at age 60.",
        "A 62-year-old man who has smoked for 45 years.",
        "An elderly 82-year-old man.",
        "A 62-year-old man, DOB 03/04/47.",
        "A 34-year-old woman at 20 weeks of gestation. She is well.",
        "A 34-year-old woman, G2P1, EDD 4 May. She is well.",
        "A 65-year-old man on Medicare.",
        "A 62-year-old man with an infarction in 1998.",
    ],
)
def test_no_other_age_where_the_note_would_contradict_it(note: str) -> None:
    assert "age" not in changes(note)


def test_names_of_another_origin_wherever_they_stand() -> None:
    note = (
        "John Silver is a 62-year-old man. Mr. Silver was seen by Dr. Baker. Mr. Krantz's knee hurts. KRANTZ, age 62."
    )
    changed = changes(note)["names"](note)
    assert not re.search("silver|john|krantz", changed, re.IGNORECASE) and "Dr. Baker" in changed
    assert changed == changes(note)["names"](note)
    word = "Silver nitrate for Mr. Silver."
    assert "Silver nitrate for Mr. " in changes(word)["names"](word)
    assert "names" not in changes("The patient has a cough. Name: unknown.")
    short = changes("Ms. D has gout. Vitamin D is low.")["names"]("Ms. D has gout. Vitamin D is low.")
    assert re.fullmatch(r"Ms\. \w{3,} has gout\. Vitamin D is low\.", short)


def test_a_given_name_changes_with_the_sex() -> None:
    note = "Mr. John Miller is a 62-year-old man. He likes to be called John."
    changed = changes(note)["sex"](note)
    assert changed.startswith("Ms. ") and "John" not in changed and "Miller is a 62-year-old woman" in changed


def test_the_notes_of_a_classifier_are_drawn_from_the_whole_file() -> None:
    texts = [f"A 62-year-old man with gout. He takes {dose} mg." for dose in range(1, 61)]
    drawn = changed_notes(texts, 10, 0)
    assert len(drawn["sex"]) == len(drawn["age"]) == 10 and not drawn["names"]
    assert max(drawn["sex"]) >= 30 and drawn == changed_notes(texts, 10, 0) != changed_notes(texts, 10, 1)
    assert all(text == changes(texts[number])["sex"](texts[number]) for number, text in drawn["sex"].items())
    assert not any(changed_notes(texts, 0, 0).values())


@pytest.fixture(scope="module", params=["built-in", "real"])
def notes(request: pytest.FixtureRequest) -> list[str]:
    if request.param == "built-in":
        return list(dict.fromkeys(row["transcription"] for row in generate(60, seed=5)))
    if not NOTES.exists():
        pytest.skip("needs ../shared/data")
    with lzma.open(NOTES, "rt", encoding="utf-8") as file:
        return [json.loads(line)["text"] for line, _ in zip(file, range(300), strict=False)]


def test_only_what_belongs_to_the_change_is_changed(notes: list[str]) -> None:
    """Drugs, tests and findings of a note stay; its sex or its age is another one in all of it."""
    made = {"sex": 0, "age": 0, "names": 0}
    for note in notes:
        before = read(note)
        for kind, change in changes(note).items():
            made[kind] += 1
            after = read(change(note))
            assert [use.name for use in after.drugs] == [use.name for use in before.drugs]
            assert [m.name for m in after.measurements] == [m.name for m in before.measurements]
            assert [f.name for f in after.findings] == [f.name for f in before.findings]
            if kind == "sex":
                assert after.sex and before.sex and after.sex[0] != before.sex[0]
            if kind == "age":
                assert len({years for _, _, years in after.ages}) == 1 and after.ages[0][2] != before.ages[0][2]
    assert made["sex"] >= 5 and made["age"] >= 5, made
