"""The check of the questions: it finds refusals that the wording gives away, and nothing where both are asked alike."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest

from clinadapt.data.schemas.instruct import TASKS, TRIPLES
from clinadapt.data.splits import NoteSplit
from clinadapt.data.tables import open_tables
from components.format.question_check import check_questions

ANSWERED = ["What dose of {} does the note give?", "Which {} is it?", "How often is {} taken?"]
REFUSED = ["Is there any mention of {}?", "Why was {} never recorded?"]


def check(folder: Path, alike: bool, rows: int = 400, note: str = "note") -> dict[str, object]:
    rng = Random(1)
    with open_tables(folder, triples=TRIPLES) as tables:
        for number in range(rows):
            answerable = rng.random() < 0.8
            wording = rng.choice(ANSWERED if answerable or alike else REFUSED)
            question = wording.format(rng.choice(["warfarin", "knee", "Lasix", "aspirin"]))
            fields = {"source": number % 2, "row": number, "note_text": note and f"{note} {number}",
                      "instruction": question, "answer": "5 mg", "task": TASKS[number % 2], "answerable": answerable,
                      "check": "none", "spans": [], "private": False}  # fmt: skip
            tables["triples"].add([fields.get(name) for name in TRIPLES.names])
    split = NoteSplit([], np.arange(rows), ["train"] * rows, {"triples": list(range(rows))})
    return check_questions(folder, split)


def test_wordings_that_give_the_refusal_away_are_found(tmp_path: Path) -> None:
    found = check(tmp_path, alike=False)
    assert found["auc"] > 0.95  # type: ignore[operator]
    assert set(found["auc_by_task"]) == set(TASKS[:2]) and set(found["auc_by_source"]) == {"0", "1"}  # type: ignore[call-overload]


def test_questions_that_are_asked_alike_tell_nothing(tmp_path: Path) -> None:
    assert 0.4 < check(tmp_path, alike=True)["auc"] < 0.6  # type: ignore[operator]


@pytest.mark.parametrize("rows", [0, 30])
def test_too_few_rows_give_no_figure(tmp_path: Path, rows: int) -> None:
    assert check(tmp_path, alike=True, rows=rows)["auc"] is None


def test_instructions_that_contain_their_note_are_left_out(tmp_path: Path) -> None:
    found = check(tmp_path, alike=False, note="")
    assert found["auc"] is None and found["rows"] == 0
