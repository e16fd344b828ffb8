"""What a hospital knows to identify the patient of a row, from the columns that the profile names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from clinadapt.data.readers import column_names
from clinadapt.errors import UserError

_MOST = 200  # characters of a value; a longer one is a text


class KnownValues:
    """Reads the known values of the rows of a source. `used`: the columns that a row had."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self.used: set[str] = set()

    def read(self, row: Mapping[str, Any]) -> list[str]:
        """The values of a row that are not empty."""
        present = [column for column in self._columns if column in row]
        self.used.update(present)
        values = (_text(row[column]) for column in present)
        return [value for value in values if value and len(value) <= _MOST]


def refuse_unused(columns: Sequence[str], used: set[str], present: list[str]) -> None:
    """Raises UserError if the profile names a column that no row of any source has.

    Args:
        columns: that the profile names.
        used: those that rows have.
        present: columns of a source, for the message.
    """
    if missing := [column for column in columns if column not in used]:
        raise UserError(
            f"no source has the column '{missing[0]}' of phi.known_columns: choose another one "
            f"({column_names(present)})"
        )


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return " ".join(str(value).split())
