"""Clinical abbreviations and their expansions. An ambiguous one is resolved by keywords in the same sentence."""

from __future__ import annotations

import re
from collections.abc import Set
from functools import cache
from typing import NamedTuple

from clinadapt.clinical.lexicon import load_lexicon

_DOUBLE_PERIOD = re.compile(r"(\b(?:[a-z]\.){2,})\.")


class Abbreviation(NamedTuple):
    """Entry of abbreviations.yaml.

    Attributes:
        short: the abbreviation.
        expansion: its long form.
        context: pattern that must match in the same sentence for this expansion; None for an unambiguous abbreviation.
    """

    short: str
    expansion: str
    context: re.Pattern[str] | None


class AbbreviationMention(NamedTuple):
    """Character span of an abbreviation in a text, with its expansion there."""

    start: int
    end: int
    short: str
    expansion: str


@cache
def abbreviation_lexicon() -> dict[str, Abbreviation]:
    """Entries of abbreviations.yaml by abbreviation."""
    return {
        short: Abbreviation(
            short, entry["means"], re.compile(entry["near"], re.IGNORECASE) if "near" in entry else None
        )
        for short, entry in load_lexicon("abbreviations.yaml").items()
    }


@cache
def _short_pattern() -> re.Pattern[str]:
    alternatives = "|".join(re.escape(short) for short in sorted(abbreviation_lexicon(), key=len, reverse=True))
    return re.compile(rf"(?<![\w/.-])(?:{alternatives})(?![\w/-]|\.\w)")


@cache
def _short_by_long() -> dict[str, str]:
    return {
        entry.get("write", entry["means"]): short
        for short, entry in load_lexicon("abbreviations.yaml").items()
        if short not in ("A1c", "CVA")
    }


@cache
def _long_pattern() -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(sorted(map(re.escape, _short_by_long()), key=len, reverse=True))})\b(?! \()")


def abbreviation_mentions(text: str, start: int, end: int) -> list[AbbreviationMention]:
    """Abbreviations in one sentence, given by its span."""
    mentions = []
    for match in _short_pattern().finditer(text, start, end):
        entry = abbreviation_lexicon()[match[0]]
        if entry.context is None or entry.context.search(text, start, end):
            mentions.append(AbbreviationMention(match.start(), match.end(), entry.short, entry.expansion))
    return mentions


def abbreviate(text: str, shorts: Set[str]) -> str:
    """Replace the long forms of the given abbreviations by the abbreviations."""
    by_long = _short_by_long()
    text = _long_pattern().sub(lambda match: by_long[match[0]] if by_long[match[0]] in shorts else match[0], text)
    return _DOUBLE_PERIOD.sub(r"\1", text)
