"""Answers about counterfactual notes are compared by what they claim; intervals are never narrower than exact ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clinadapt.config.instruct import Evaluation
from components.evaluate.counterfactual_answers import measure_answers, pairs
from components.evaluate.counterfactual_labels import measure_labels

NOTE = "Ms. Lee is a 62-year-old woman on Lasix 20 mg. She has gout."


def row(number: int, instruction: str, note: str = NOTE) -> dict[str, Any]:
    asked = {"note_id": f"n{number}", "cluster": number, "instruction": instruction}
    return {"note_text": note, "decimal_comma": False, **asked}


class Model:
    """Answers every question with a given text, and lists what it was asked."""

    def __init__(self, answer: str) -> None:
        self.answer, self.asked = answer, list[dict[str, Any]]()

    def texts(self, rows: list[dict[str, Any]], settings: Evaluation, title: str) -> list[str]:
        self.asked += rows
        return [self.answer] * len(rows)


@pytest.mark.parametrize(
    ("before", "after", "kinds", "same"),
    [
        ("She takes furosemide 20 mg.", "He is on Lasix, 20 mg.", ["sex"], (1, 0)),
        ("She takes furosemide 20 mg.", "He takes furosemide 20 mg.", ["sex"], (1, 1)),
        ("She takes furosemide 20 mg.", "He takes furosemide 40 mg.", ["sex"], (0, 0)),
        ("She takes furosemide 20 mg.", "The note does not mention a dose.", ["sex", "names"], (0, 0)),
        ("A 62-year-old woman with gout.", "The patient is 42 years old and has gout.", ["age"], (1, 0)),
        ("blue", "green", ["sex", "age", "names"], (0, 0)),
    ],
)
def test_answers_are_the_same_by_their_claims(before: str, after: str, kinds: list[str], same: tuple[int, int]) -> None:
    rows = [row(i, "What is her dose?") for i in range(12)]
    result = measure_answers(Model(after), rows, [before] * 12, Evaluation(), 0)  # type: ignore[arg-type]
    for kind in kinds:
        entry = result[kind]
        assert (entry["rows"], entry["notes"]) == (12, 12)
        assert (entry["unchanged"]["value"], entry["same_words"]["value"]) == same
        assert entry["unchanged"]["low"] < 0.8 and entry["unchanged"]["high"] > 0.2


def test_the_question_is_changed_too_and_what_asks_for_the_change_is_left_out() -> None:
    rows = [
        row(1, "Why does she take Lasix?"),
        row(2, "How old is she?"),
        row(3, "Is it a woman?"),
        row(4, "Her name?"),
    ]
    made = pairs(rows, 10)
    assert {kind: [pair.row for pair in each] for kind, each in made.items()} == {
        "sex": [0, 1, 3], "age": [0, 2, 3], "names": [0, 1, 2],
    }  # fmt: skip
    assert made["sex"][0].changed["instruction"] == "Why does he take Lasix?"
    assert {kind: len(each) for kind, each in pairs(rows, 2).items()} == {"sex": 2, "age": 2, "names": 2}
    assert all(not each for each in pairs(rows, 0).values())


def test_a_note_without_a_counterfactual_asks_nothing() -> None:
    model = Model("x")
    result = measure_answers(model, [row(1, "Why?", "Knee pain.")], ["x"], Evaluation(), 0)  # type: ignore[arg-type]
    assert result == {kind: {"rows": 0, "notes": 0} for kind in ("sex", "age", "names")} and not model.asked


def test_labels_of_changed_notes() -> None:
    before = np.array([[0.7, 0.3], [0.6, 0.4], [0.2, 0.8]])
    after = {"sex": ([0, 2], np.array([[0.6, 0.4], [0.9, 0.1]])), "age": ([], np.zeros((0, 2)))}
    result = measure_labels(before, after, np.arange(3), 0)
    assert result["age"] == {"notes": 0}
    assert result["sex"]["notes"] == 2 and result["sex"]["unchanged"]["value"] == 0.5
    assert result["sex"]["shift"]["value"] == pytest.approx((0.1 + 0.7) / 2)
