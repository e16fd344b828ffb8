"""A file of notes answered row by row, without a model."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from clinadapt.errors import UserError
from clinadapt.review import batch_file

NOTE = "62-year-old woman with chest pain."


class Parrot:
    """Stands in for the model in the tests of how a file is read and its answers are written."""

    def answer_rows(self, rows: Any, column: str) -> Any:
        for number, row in enumerate(rows, start=1):
            if isinstance(row, str) or not row[column]:
                yield {"row": number, "error": "no text"}
            else:
                yield {"row": number, "label": "Urology", "probabilities": {"Cardiology": 0.25, "Urology": 0.75}}


def test_a_file_is_answered_row_by_row(tmp_path: Path) -> None:
    source, out = tmp_path / "notes.csv.gz", tmp_path / "answers.csv"
    with gzip.open(source, "wt") as file:
        file.write(",text\n" + "".join(f'{n},"{"" if n in (2, 21) else NOTE}"\n' for n in range(1, 151)))
    assert batch_file.column_names(source) == ["text"]
    steps = [(progress.done, progress.rows) for progress in batch_file.answer_file(Parrot(), source, "text", out)]
    assert steps[0] == (16, 150) and steps[-1] == (150, 150)
    (*_, progress) = batch_file.answer_file(Parrot(), source, "text", out)
    assert len(progress.preview) == batch_file.PREVIEW_ROWS and progress.failed == [2, 21]
    lines = out.read_text().splitlines()
    assert lines[:3] == ["row,label,probability,error", "1,Urology,0.75,", "2,,,no text"]
    assert len(lines) == 151 and NOTE not in out.read_text()


@pytest.mark.parametrize(
    "content, reason", [("text\n", "has no rows"), ('text\na\n"never closed\n', "never closed"), ("", "is empty")]
)
def test_a_broken_file_is_refused_before_the_first_answer(tmp_path: Path, content: str, reason: str) -> None:
    source = tmp_path / "notes.csv"
    source.write_text(content)
    with pytest.raises(UserError, match=reason):
        next(batch_file.answer_file(Parrot(), source, "text", tmp_path / "answers.csv"))
    assert not (tmp_path / "answers.csv").exists()


@pytest.mark.parametrize(
    "failed, summary",
    [
        ([], "1,200 rows answered."),
        ([4], "1,199 of 1,200 rows answered; 1 could not be used (row 4): the column error says why."),
        ([4, 17], "1,198 of 1,200 rows answered; 2 could not be used (rows 4, 17): the column error says why."),
    ],
)
def test_the_summary_names_the_rows_without_an_answer(failed: list[int], summary: str) -> None:
    assert batch_file.Progress(1200, failed=failed).summary() == summary


def test_a_long_list_of_rows_is_cut() -> None:
    summary = batch_file.Progress(100, failed=list(range(1, 51))).summary()
    assert "20 and 30 more)" in summary and "21" not in summary
