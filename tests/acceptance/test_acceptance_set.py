"""What the acceptance set itself must hold; tests/benchmarks/test_acceptance.py asks the adapters."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from acceptance import AcceptanceQuestion, acceptance_questions

from clinadapt.data.builtin_cases import generate

QUESTIONS = acceptance_questions()
ANSWERABLE = [question for question in QUESTIONS if question.kind != "unanswerable"]


def name(question: AcceptanceQuestion) -> str:
    return f"{question.hand}: {question.instruction}"


def test_the_set() -> None:
    assert len(QUESTIONS) == len(set(map(name, QUESTIONS))) == 60
    assert Counter(question.hand for question in QUESTIONS).keys() == {
        "discharge summary", "clinic letter", "emergency note", "operation note", "British GP note"
    }  # fmt: skip
    assert Counter(question.kind for question in QUESTIONS)["unanswerable"] == 10


def test_no_sentence_of_the_set_stands_in_the_built_in_cases() -> None:
    sentences = {
        " ".join(words)
        for text in {question.note for question in QUESTIONS}
        for sentence in re.split(r"[.;:]\s|\n\n", text)
        if len(words := re.findall(r"\w+", sentence.lower())) >= 6
    }
    assert len(sentences) > 50
    for seed in 7, 8:
        for row in generate(700, seed):
            case = " ".join(re.findall(r"\w+", row["transcription"].lower()))
            assert not [sentence for sentence in sentences if f" {sentence} " in f" {case} "]


@pytest.mark.parametrize("question", ANSWERABLE, ids=name)
def test_a_refusal_and_a_wrong_answer_are_not_accepted(question: AcceptanceQuestion) -> None:
    assert question.right
    assert not question.accepts("The note does not mention it.")
    assert not question.accepts("About 77 in the afternoon.")


@pytest.mark.parametrize("question", [q for q in QUESTIONS if q.kind == "unanswerable"], ids=name)
def test_only_a_refusal_is_accepted_where_the_note_is_silent(question: AcceptanceQuestion) -> None:
    assert question.accepts("The note does not mention it.")
    assert not question.accepts("About 77 in the afternoon.")


@pytest.mark.parametrize(
    ("instruction", "answer", "accepted"),
    [
        ("What is the dose of metformin at discharge?", "1,000 mg twice a day", True),
        ("What is the dose of metformin at discharge?", "500 mg", False),
        ("What is the new dose of atorvastatin?", "The atorvastatin was increased to 80 mg at night.", True),
        ("Which side is injured?", "The left wrist.", True),
        ("Which side is injured?", "The right wrist.", False),
        ("Did the patient lose consciousness?", "No loss of consciousness.", True),
        ("When should the sutures be removed?", "In ten days.", True),
        ("What was the total bilirubin?", "2.8 mg/dL", True),
        ("What was the total bilirubin?", "28 mg/dL", False),
        ("When will she be reviewed?", "In two weeks.", True),
        ("What was the heart rate?", "72", False),
    ],
)
def test_an_answer(instruction: str, answer: str, accepted: bool) -> None:
    (question,) = [each for each in QUESTIONS if each.instruction == instruction]
    assert question.accepts(answer) is accepted
