"""Refusals: every wording of the teachers, hundreds of wordings of language models, and answers that look like them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from support import ROOT

from clinadapt.clinical.refusals import is_refusal
from clinadapt.clinical.sections import section_lexicon
from clinadapt.config.instruct import Synthesis
from clinadapt.data.builtin_cases import generate
from components.synthesize.rules_teacher import RulesTeacher
from components.synthesize.teacher import Text
from components.synthesize.unanswerable import not_given, not_mentioned

MTS_DIALOG = ROOT.parent / "shared/data/mts_dialog/MTS-Dialog-TrainingSet.csv"
CASES = Path(__file__).parent / "cases"


def lines(file: str) -> list[str]:
    return (CASES / file).read_text(encoding="utf-8").splitlines()


def test_wordings_of_language_models() -> None:
    refusals = lines("refusals.txt")
    missed = [text for text in refusals if not is_refusal(text)]
    assert len(refusals) >= 200
    assert len(missed) <= 0.01 * len(refusals), missed


def test_answers_that_deny_something_about_the_patient() -> None:
    answers = lines("not_refusals.txt")
    taken = [text for text in answers if is_refusal(text)]
    assert len(answers) >= 100
    assert len(taken) <= 0.01 * len(answers), taken


def test_the_rules_teacher() -> None:
    teacher = RulesTeacher(Synthesis(triples_per_note=64))
    notes = (Text(0, 1, "notes", row["transcription"], row["description"], False) for row in generate(150, seed=3))
    triples = [triple for note in notes for triple in teacher.triples(note).triples]
    refusals = [triple.answer for triple in triples if not triple.answerable]
    answers = [triple.answer for triple in triples if triple.answerable]
    assert len(refusals) > 50
    assert [text for text in refusals if not is_refusal(text)] == []
    assert sum(map(is_refusal, answers)) <= 0.01 * len(answers)
    about = [entry["about"] for entry in section_lexicon().values() if "about" in entry]
    about += ["warfarin", "a dose of Lasix", "the patient's age", "any drug", 'the words "She denies any"', "a knee"]
    wordings = [wording for thing in about for wording in (*not_mentioned(thing), *not_given(thing))]
    assert [wording for wording in wordings if not is_refusal(wording)] == []


def test_sections_that_people_wrote_are_answers() -> None:
    if not MTS_DIALOG.exists():
        pytest.skip("needs ../shared/data")
    with MTS_DIALOG.open(encoding="utf-8") as file:
        texts = [row["section_text"] for row in csv.DictReader(file)]
    assert sum(map(is_refusal, texts)) <= 0.01 * len(texts)


def test_a_long_answer_without_a_sentence_end_takes_linear_time() -> None:
    assert not is_refusal("no " * 20_000)
    assert not is_refusal("the note and the patient " * 4_000)
