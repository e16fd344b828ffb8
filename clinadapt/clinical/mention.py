"""A span of a text with its normalized value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_ASCII_LOWER = {ord(letter): letter.lower() for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


class Mention(NamedTuple):
    """Character span of a number, date or drug, and its normalized value (`20 mg`, `2009-03-14`, `furosemide`)."""

    start: int
    end: int
    value: str


def ascii_lower(text: str) -> str:
    """The text with its ASCII letters in lower case, of the same length: `str.lower` changes that of some texts."""
    return text.lower() if text.isascii() else text.translate(_ASCII_LOWER)


def matches_at(
    pattern: re.Pattern[str], text: str, starts: Iterable[int], end: int | None = None
) -> Iterator[re.Match[str]]:
    """What `pattern.finditer(text)` yields, in a text up to `end`, where every match begins at one of `starts`, which
    are in order: to look only where a cheaper pattern finds that it may begin."""
    behind, stop = 0, len(text) if end is None else end
    for start in starts:
        if start >= behind and (match := pattern.match(text, start, stop)):
            behind = max(match.end(), start + 1)
            yield match
