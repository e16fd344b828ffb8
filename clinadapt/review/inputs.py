"""Notes and instructions as users give them: read from files, and validated before a model sees them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from clinadapt.data.readers import Row, column_names
from clinadapt.data.text import clean
from clinadapt.errors import UserError

LONGEST_NOTE = 200_000  # characters
LONGEST_INSTRUCTION = 4_000  # characters
_MAX_UTF8_BYTES = 4  # per character


def input_error(text: str, longest: int = LONGEST_NOTE) -> str | None:
    """Why a text cannot be given to a model, as in `the note has ...`; None if it can.

    Args:
        text: a note or an instruction.
        longest: limit in characters.
    """
    if not clean(text):
        return "no text"
    if len(text) > longest:
        return f"more than {longest:,} characters"
    return None


def validated(text: str, what: str = "the note", longest: int = LONGEST_NOTE) -> str:
    """A text as the model reads it.

    Args:
        text: a note or an instruction.
        what: its name in the error.
        longest: limit in characters.

    Raises:
        UserError: the text is empty or too long.
    """
    if error := input_error(text, longest):
        raise UserError(f"{what} has {error}: give another one")
    return clean(text)


def cell(row: Row, column: str, number: int, option: str = "--text-column") -> str:
    """The text in a column of a row; empty if there is none.

    Args:
        row: of a file.
        column: its name.
        number: of the row, from 1.
        option: of the command, that chooses another column.

    Raises:
        UserError: the first row has no such column.
    """
    if isinstance(row, str):
        return ""
    if column not in row and number == 1:
        raise UserError(f"there is no column '{column}': {column_names(list(row))}; choose with {option}")
    text = row.get(column)
    return text if isinstance(text, str) else ""


def read_note(path: Path) -> str:
    """Read a text file with one note.

    Raises:
        UserError: the file cannot be read, is not UTF-8, or is longer than LONGEST_NOTE.
    """
    with readable(path) as file:
        return decode(file.read(_MAX_UTF8_BYTES * LONGEST_NOTE + 1), path.name)


def decode(data: bytes, name: str) -> str:
    """Decode the text of a note.

    Args:
        data: the bytes of a file.
        name: of the file, for errors.

    Raises:
        UserError: the data are not UTF-8, or longer than LONGEST_NOTE.
    """
    if len(data) > _MAX_UTF8_BYTES * LONGEST_NOTE:
        raise UserError(f"{name} has more than {LONGEST_NOTE:,} characters: give a file with one note")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8: convert it, for example with iconv -f WINDOWS-1252 -t UTF-8") from error


@contextmanager
def readable(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading.

    Raises:
        UserError: the file cannot be opened or read.
    """
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}: check the path") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): check the path and its permissions") from error
