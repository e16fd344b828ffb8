"""A span of a text and the normalised value that it names."""

from __future__ import annotations

from typing import NamedTuple

_LOWER = {ord(letter): letter.lower() for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}  # keeps the length of any text


class Mention(NamedTuple):
    """Characters of a text and the normalised fact that they name."""

    start: int
    end: int
    fact: str
