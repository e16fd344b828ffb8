"""Abbreviations that have one meaning in a note, or one by what stands in the same sentence."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from clinadapt.clinical.sections import words

_DOUBLE_STOP = re.compile(r"(\b(?:[a-z]\.){2,})\.")


class Abbreviation(NamedTuple):
    """Of abbreviations.yaml: what it means, and what its sentence must hold for that."""

    short: str
    means: str
    near: re.Pattern[str] | None


class Use(NamedTuple):
    """Where an abbreviation stands in a text."""

    start: int
    end: int
    short: str
    means: str


@cache
def listed() -> dict[str, Abbreviation]:
    """abbreviations.yaml."""
    return {
        short: Abbreviation(
            short, entry["means"], re.compile(entry["near"], re.IGNORECASE) if "near" in entry else None
        )
        for short, entry in words("abbreviations.yaml").items()
    }


@cache
def _pattern() -> re.Pattern[str]:
    listed_ = "|".join(re.escape(short) for short in sorted(listed(), key=len, reverse=True))
    return re.compile(rf"(?<![\w/.-])(?:{listed_})(?![\w/-]|\.\w)")


@cache
def _long_forms() -> dict[str, str]:
    entries = words("abbreviations.yaml")
    return {
        entry.get("write", entry["means"]): short for short, entry in entries.items() if short not in ("A1c", "CVA")
    }


@cache
def _long_pattern() -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(sorted(map(re.escape, _long_forms()), key=len, reverse=True))})\b(?! \()")


def uses(text: str, start: int, end: int) -> list[Use]:
    """Uses in a sentence, given by its span."""
    found = []
    for match in _pattern().finditer(text, start, end):
        entry = listed()[match[0]]
        if entry.near is None or entry.near.search(text, start, end):
            found.append(Use(match.start(), match.end(), entry.short, entry.means))
    return found


def shortened(text: str, wanted: set[str]) -> str:
    """A text with the long forms of some abbreviations replaced by them."""
    forms = _long_forms()
    return _DOUBLE_STOP.sub(
        r"\1", _long_pattern().sub(lambda match: forms[match[0]] if forms[match[0]] in wanted else match[0], text)
    )
