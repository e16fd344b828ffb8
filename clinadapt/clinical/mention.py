"""A span of a text with its normalized value."""

from __future__ import annotations

from typing import NamedTuple

# Lower-cases ASCII only, so that offsets stay valid: str.lower() changes the length of some texts
ASCII_LOWER = {ord(letter): letter.lower() for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


class Mention(NamedTuple):
    """Character span of a number, date or drug, and its normalized value (`20 mg`, `2009-03-14`, `furosemide`)."""

    start: int
    end: int
    value: str
