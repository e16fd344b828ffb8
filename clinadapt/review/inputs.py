"""Notes and instructions as people give them: read from a file, and looked at before a model is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from clinadapt.data.readers import Row, column_names
from clinadapt.data.text import clean
from clinadapt.errors import UserError

LONGEST_NOTE = 200_000  # characters
LONGEST_INSTRUCTION = 4_000
_MOST_BYTES = 4  # of a character in UTF-8


def unusable(text: str, longest: int = LONGEST_NOTE) -> str | None:
    """Why a text cannot be given to a model; None where it can."""
    if not clean(text):
        return "no text"
    if len(text) > longest:
        return f"more than {longest:,} characters"
    return None


def usable(text: str, what: str = "the note", longest: int = LONGEST_NOTE) -> str:
    """The text as a model reads it. Raises UserError where it is empty or too long; `what` names it."""
    if reason := unusable(text, longest):
        raise UserError(f"{what} has {reason}: give another one")
    return clean(text)


def cell(row: Row, column: str, number: int, option: str = "--text-column") -> str:
    """The text of a row in a column; empty where there is none.

    Raises:
        UserError: the first row has no such column; `option` is the one to choose another with.
    """
    if isinstance(row, str):
        return ""
    if column not in row and number == 1:
        raise UserError(f"there is no column '{column}': {column_names(list(row))}; choose with {option}")
    text = row.get(column)
    return text if isinstance(text, str) else ""


def read_note(path: Path) -> str:
    """The text of a file with one note.

    Raises:
        UserError: it cannot be read, is no text in UTF-8, or is longer than any note.
    """
    with readable(path) as file:
        return decode(file.read(_MOST_BYTES * LONGEST_NOTE + 1), path.name)


def decode(data: bytes, name: str) -> str:
    """The text of a note. Raises UserError where it is no UTF-8, or longer than any note."""
    if len(data) > _MOST_BYTES * LONGEST_NOTE:
        raise UserError(f"{name} has more than {LONGEST_NOTE:,} characters: give one note")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8: convert it, for example with iconv -f WINDOWS-1252 -t UTF-8") from error


@contextmanager
def readable(path: Path) -> Iterator[BinaryIO]:
    """The file, open. Raises UserError where it cannot be opened or read."""
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}: check the path") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): check the path and its permissions") from error
