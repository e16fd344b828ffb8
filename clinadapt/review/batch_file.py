"""Labels for a file of notes, as CSV without the text of the notes."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinadapt.data.readers import read_rows
from clinadapt.data.text import spreadsheet_cell
from clinadapt.errors import UserError

if TYPE_CHECKING:
    from clinadapt.review.classify import ClassifyService

COLUMNS = ["row", "label", "probability", "error"]
PREVIEW_ROWS = 100  # rows of the table on the page; the file has all
_LISTED_ROWS = 20  # row numbers in a summary
_PROGRESS_ROWS = 16  # rows between two reports of progress


def column_names(source: Path) -> list[str]:
    """The columns of a file, from its first readable row.

    Raises:
        UserError: the file cannot be read.
    """
    row = next((row for row in read_rows(source, source.name) if isinstance(row, dict)), {})
    return [name for name in row if name]


@dataclass
class Progress:
    """How much of a file has been answered.

    Attributes:
        rows: rows of the file.
        done: rows processed so far.
        preview: the first PREVIEW_ROWS answers, with the fields of COLUMNS.
        failed: numbers of the rows without an answer, from 1.
    """

    rows: int
    done: int = 0
    preview: list[list[Any]] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)

    def summary(self) -> str:
        """A sentence with the number of answers and the numbers of the rows without one."""
        failed = len(self.failed)
        if not failed:
            return f"{self.rows:,} rows answered."
        numbers = f"row{'s' if failed > 1 else ''} {', '.join(map(str, self.failed[:_LISTED_ROWS]))}"
        more = f" and {failed - _LISTED_ROWS:,} more" if failed > _LISTED_ROWS else ""
        answered = f"{self.rows - failed:,} of {self.rows:,} rows answered"
        return f"{answered}; {failed:,} could not be used ({numbers}{more}): the column error says why."


def answer_file(service: ClassifyService, source: Path, column: str, output: Path) -> Iterator[Progress]:
    """Answer a file row by row into the CSV file `output`; yield progress now and then, and at the end.

    Raises:
        UserError: the file cannot be read to its end (checked before the first answer), has no rows, or has no such
            column.
    """
    progress = Progress(sum(1 for _ in read_rows(source, source.name)))
    if not progress.rows:
        raise UserError(f"{source.name} has no rows: choose another file")
    with output.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for answer in service.answer_rows(read_rows(source, source.name), column):
            progress.done = answer["row"]
            probability = max(answer["probabilities"].values()) if "probabilities" in answer else ""
            fields = [progress.done, answer.get("label", ""), probability, answer.get("error", "")]
            writer.writerow([spreadsheet_cell(field) for field in fields])
            if "error" in answer:
                progress.failed.append(progress.done)
            if progress.done <= PREVIEW_ROWS:
                progress.preview.append(fields)
            if progress.done % _PROGRESS_ROWS == 0 or progress.done == progress.rows:
                yield progress
