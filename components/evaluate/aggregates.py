"""What monitoring compares use with: the counts of clinadapt.monitoring of one model's held-out answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from clinadapt.monitoring.aggregates import baseline
from clinadapt.monitoring.observations import of_answer, of_note, of_prediction

if TYPE_CHECKING:
    from clinadapt.models.generator import Answer
    from components.evaluate.answer_checks import AnswerCheck
    from components.evaluate.generation import Row


def answer_aggregates(rows: Sequence[Row], answers: Sequence[Answer], checks: Sequence[AnswerCheck]) -> dict[str, Any]:
    """Counts of answers to instructions, with the checks of their claims."""
    observations = []
    for row, answer, checked in zip(rows, answers, checks, strict=True):
        outcomes = (each.outcome for each in checked.claims)
        observations.append(of_answer(row["instruction"], answer.text, answer.complete, outcomes))
    notes = {row["note_id"]: row["note_text"] for row in rows}
    counted = {note_id: of_note(text) for note_id, text in notes.items()}
    return baseline(observations, [str(row["cluster"]) for row in rows], counted).to_json()


def prediction_aggregates(calibrated: np.ndarray, test: pa.Table, labels: list[str]) -> dict[str, Any]:
    """Counts of predicted labels.

    Args:
        calibrated: probabilities, shape (notes, labels).
        test: the held-out notes.
        labels: in the order of the columns.
    """
    predicted = zip(calibrated.argmax(axis=1), calibrated.max(axis=1), strict=True)
    observations = [of_prediction(labels[int(index)], float(p)) for index, p in predicted]
    notes = {row["note_id"]: of_note(row["text"]) for row in test.select(["note_id", "text"]).to_pylist()}
    return baseline(observations, [str(cluster) for cluster in test["cluster"].to_pylist()], notes).to_json()
