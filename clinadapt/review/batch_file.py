"""Answers for a file of notes, as CSV without the text of the notes."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinadapt.data.readers import read_rows
from clinadapt.errors import UserError

if TYPE_CHECKING:
    from clinadapt.review.classify import Answerer

COLUMNS = ["row", "label", "probability", "error"]
SHOWN = 100  # rows of the table on the page; the file has all
NAMED = 20  # numbers of rows that a summary lists


def columns(source: Path) -> list[str]:
    """Names of the columns of a file, from its first row that can be read.

    Raises:
        UserError: it cannot be read.
    """
    row = next((row for row in read_rows(source, source.name) if isinstance(row, dict)), {})
    return [name for name in row if name]


@dataclass
class Work:
    """How far a file has been answered.

    Attributes:
        rows: in the file.
        done: of them.
        shown: fields of the first SHOWN answers, as in COLUMNS.
        failed: numbers of the rows that could not be used.
    """

    rows: int
    done: int = 0
    shown: list[list[Any]] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)

    def summary(self) -> str:
        """How many rows have an answer, and the numbers of those that have none."""
        count = len(self.failed)
        if not count:
            return f"{self.rows:,} rows answered."
        named = f"row{'s' if count > 1 else ''} {', '.join(map(str, self.failed[:NAMED]))}"
        more = f" and {count - NAMED:,} more" if count > NAMED else ""
        answered = f"{self.rows - count:,} of {self.rows:,} rows answered"
        return f"{answered}; {count:,} could not be used ({named}{more}): the file says why."


def answer_file(answerer: Answerer, source: Path, column: str, out: Path) -> Iterator[Work]:
    """Answer a file row by row into the CSV file `out`; yield now and then how far it is, and at the end.

    Raises:
        UserError: the file cannot be read to its end (found before the first answer), or has no such column.
    """
    work = Work(sum(1 for _ in read_rows(source, source.name)))
    if not work.rows:
        raise UserError(f"{source.name} has no rows: choose another file")
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for answer in answerer.stream(read_rows(source, source.name), column):
            work.done = answer["row"]
            probability = max(answer["probabilities"].values()) if "probabilities" in answer else ""
            fields = [work.done, answer.get("label", ""), probability, answer.get("error", "")]
            writer.writerow(fields)
            if "error" in answer:
                work.failed.append(work.done)
            if work.done <= SHOWN:
                work.shown.append(fields)
            if work.done % 16 == 0 or work.done == work.rows:
                yield work
