"""Validation of the text fields of a row."""

from __future__ import annotations

from typing import Any

from clinadapt.data.text import clean


class InvalidRow(Exception):
    """A row that is quarantined. The message is the reason, without any text of the row."""


def validate_text(text: Any, field: str, max_characters: int, may_be_empty: bool = False) -> str:
    """Clean the text of a field.

    Args:
        text: the value of the field.
        field: its name, for error messages.
        max_characters: longest valid text, before cleaning.
        may_be_empty: whether an empty or missing text is valid.

    Raises:
        InvalidRow: the value is not a string, is too long, or is empty after cleaning.
    """
    if text is not None and not isinstance(text, str):
        raise InvalidRow(f"{field} is not a string")
    if len(text or "") > max_characters:
        raise InvalidRow(f"{field} longer than {max_characters:,} characters")
    text = clean(text or "")
    if not text and not may_be_empty:
        raise InvalidRow(f"empty {field}")
    return text
