"""Which held-out answers are drawn for people to judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from clinadapt.clinical.claims import unsupported
from clinadapt.config.base import Review
from clinadapt.data.schemas.review import CASES
from components.evaluate.review_cases import Candidate, answer_risks, label_risks, write_cases

NOTE = "Takes lisinopril 20 mg daily. No cough."


def row(**fields: Any) -> dict[str, Any]:
    return {"note_text": NOTE, "instruction": "Which drugs?", "answerable": True, "decimal_comma": False} | fields


@pytest.mark.parametrize(
    "answer, champion, asked, risks",
    [
        ("lisinopril 20 mg", None, {}, {}),
        ("lisinopril 40 mg", None, {}, {"contradicted": 1}),
        ("aspirin", None, {}, {"not found": 1}),
        ("The note does not say.", None, {}, {"refused": 1}),
        ("The note does not say.", None, {"answerable": False}, {}),
        ("lisinopril", None, {"answerable": False}, {"not refused": 1}),
        ("lisinopril 20 mg", "lisinopril 20 mg daily", {}, {}),
        ("lisinopril", "No cough.", {}, {"champion": 1}),
    ],
)
def test_why_an_answer_is_risky(
    answer: str, champion: str | None, asked: dict[str, Any], risks: dict[str, float]
) -> None:
    doubtful = unsupported(answer, NOTE, "Which drugs?")
    assert answer_risks(row(**asked), answer, doubtful, champion) == risks


def test_why_a_label_is_risky() -> None:
    shares = np.array([0.1, 0.5, 0.4])
    assert label_risks(shares, None) == {"margin": pytest.approx(0.1)}
    assert label_risks(shares, 2) == {"champion": 1, "margin": pytest.approx(0.1)}
    assert label_risks(np.array([0.05, 0.9, 0.05]), 1) == {} == label_risks(np.array([1.0]), None)


def candidates(count: int, **risks: dict[int, float]) -> list[Candidate]:
    return [
        Candidate(i, f"{i:016x}", "", "Urology", False, {name: of[i] for name, of in risks.items() if i in of})
        for i in range(count)
    ]


def drawn(folder: Path, answers: list[Candidate], seed: int = 0, **settings: Any) -> tuple[list[Any], dict[str, int]]:
    counts = write_cases(folder, "classify", answers, Review(**settings), seed)
    rows = pq.read_table(folder / "cases.parquet", schema=CASES).to_pylist()
    return [(row["index"], row["drawn"]) for row in rows], counts


def test_the_gravest_come_first_then_a_random_share_of_all_others(tmp_path: Path) -> None:
    answers = candidates(
        100, contradicted={5: 1, 6: 2}, **{"not found": {5: 3, 7: 9}}, margin={8: 0.4, 9: 0.1, 10: 0.2}
    )
    rows, counts = drawn(tmp_path, answers, riskiest=5, random=20)
    assert rows[:5] == [(6, "risk"), (5, "risk"), (7, "risk"), (9, "risk"), (10, "risk")]
    others = [index for index, how in rows[5:] if how == "random"]
    assert len(others) == len(set(others)) == 20 and not {5, 6, 7, 9, 10} & set(others)
    assert counts == {"population": 100, "withheld": 0}
    assert drawn(tmp_path, answers, riskiest=5, random=20)[0] == rows, "the same run draws the same"
    assert drawn(tmp_path, answers, seed=1, riskiest=5, random=20)[0] != rows
    often = sum((8, "random") in drawn(tmp_path, answers, seed, riskiest=5, random=20)[0] for seed in range(200))
    assert 20 < often < 65, "a risky one that was not among the riskiest is drawn like any other: 20 of 95"


def test_private_notes_only_where_the_profile_says_so(tmp_path: Path) -> None:
    answers = [answer._replace(private=answer.row < 6) for answer in candidates(10)]
    rows, counts = drawn(tmp_path, answers)
    assert {index for index, _ in rows} == {6, 7, 8, 9} and counts == {"population": 4, "withheld": 6}
    assert drawn(tmp_path, answers, private_notes=True)[1] == {"population": 10, "withheld": 0}


def test_a_question_is_judged_once_and_nothing_to_judge_is_no_error(tmp_path: Path) -> None:
    answers = candidates(3)
    assert drawn(tmp_path, [*answers, answers[0]._replace(row=3)])[1] == {"population": 3, "withheld": 0}
    assert drawn(tmp_path, answers, riskiest=0, random=0) == ([], {"population": 3, "withheld": 0})
    assert drawn(tmp_path, []) == ([], {"population": 0, "withheld": 0})
