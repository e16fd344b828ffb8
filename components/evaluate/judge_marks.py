"""Answers that people marked, to see how far a judge agrees with them."""

from __future__ import annotations

from typing import Any

from clinadapt.config.instruct import JudgeMarks
from clinadapt.data.sources import redacted_uri, source_rows
from clinadapt.errors import UserError
from components.evaluate.judge import SEVERITIES

COLUMNS = ("note", "instruction", "answer", "severity")


def read_marks(settings: JudgeMarks) -> tuple[list[dict[str, Any]], int]:
    """Read marked answers.

    Returns:
        Rows with note_text, instruction, answer and severity (1 to 4), and the number of rows that are unusable.

    Raises:
        UserError: the source cannot be read, lacks a column, or has no usable row.
    """
    rows: list[dict[str, Any]] = []
    unusable, where = 0, redacted_uri(settings.uri)
    for row in source_rows(settings.uri):
        if isinstance(row, dict) and not rows and not unusable and (missing := [n for n in COLUMNS if n not in row]):
            raise UserError(f"judge_marks: {where} has no column {missing[0]}: it needs {', '.join(COLUMNS)}")
        values = [str(row.get(name) or "").strip() for name in COLUMNS] if isinstance(row, dict) else []
        severity = values[-1].removesuffix(".0") if values else ""
        if not all(values) or severity not in map(str, SEVERITIES):
            unusable += 1
            continue
        note, instruction, answer, _ = values
        rows.append({"note_text": note, "instruction": instruction, "answer": answer, "severity": int(severity)})
    if not rows:
        raise UserError(
            f"judge_marks: {where} has no row with a note, an instruction, an answer and a severity of 1 to 4"
        )
    return rows, unusable
