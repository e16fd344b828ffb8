"""Which texts of a row can be used."""

from __future__ import annotations

from typing import Any

from clinadapt.data.text import clean


class Unusable(Exception):
    """A row that is quarantined; says why, without its text."""


def usable_text(text: Any, field: str, longest: int, may_be_empty: bool = False) -> str:
    """The cleaned text of a field, of at most `longest` characters before. Raises Unusable."""
    if text is not None and not isinstance(text, str):
        raise Unusable(f"{field} is not a string")
    if len(text or "") > longest:
        raise Unusable(f"{field} longer than {longest:,} characters")
    text = clean(text or "")
    if not text and not may_be_empty:
        raise Unusable(f"empty {field}")
    return text
