"""Find what identifies a patient in a text: patterns, context rules and the tagger, united; and each name wherever else
it stands."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence

from clinadapt.privacy.context import (
    context_spans,
    is_generic_place,
    is_word_only,
    names_no_patient,
    widened,
)
from clinadapt.privacy.features import Token, tokens
from clinadapt.privacy.mentions import Mentions
from clinadapt.privacy.patterns import pattern_spans
from clinadapt.privacy.spans import Span, united
from clinadapt.privacy.tagger import tagger

_PLACES = ("HOSPITAL", "EMPLOYER", "CITY")
_DAY = re.compile(
    r"(?:1[0-2]|0?[1-9])[/-](?:3[01]|[12]\d|0?[1-9])(?:[/-]\d{2,4})?|[^\d]{3,}\d{0,4}|\d{1,4}[^\d]{3,}\d{0,4}"
)
_NAMED = ("NAME", "HOSPITAL", "EMPLOYER", "CITY", "STREET", "OTHERID", "MRN")  # looked for wherever else they stand


def identifiers(text: str, known: Sequence[str] = ()) -> list[Span]:
    """Identifiers of a text, disjoint and in its order.

    The time is linear in the length of the text, whatever it holds.

    Args:
        text: a note, an instruction or an answer.
        known: what a hospital knows to identify the patient, as the name; found wherever it stands.
    """
    found = united(pattern_spans(text))
    words = tokens(text)
    tagged = [span for span in tagger().spans(text, words, found) if not _is_false(words, span)]
    spans = united([*found, *tagged, *context_spans(text, words)])
    spans = united([*spans, *widened(text, words, spans)])
    mentions = Mentions()
    for value in known:
        mentions.add_known(value)
    for span in spans:
        if span.type in _NAMED:
            mentions.add(text[span.start : span.end], span.type)
    return united([*spans, *mentions.spans(text, words)])


def _is_false(words: Sequence[Token], span: Span) -> bool:
    """Whether what the tagger found cannot be what it takes it for."""
    first, last = (bisect_left(words, end, key=lambda token: token.start) for end in (span.start, span.end))
    letters = [token.text for token in words[first:last] if token.text[0].isalpha()]
    digits = sum(len(token.text) for token in words[first:last] if token.text[0].isdigit())
    if span.type == "INITIALS":
        return not letters or any(not letter.isupper() or is_word_only(letter.lower()) for letter in letters)
    if span.type in _PLACES:
        return all(letter.islower() or is_generic_place(letter.lower()) for letter in letters)
    if span.type == "DATE":
        return not _DAY.fullmatch("".join(token.text for token in words[first:last]))
    if span.type == "STREET":
        return not words[first].text[0].isdigit()
    if span.type == "NAME":
        return names_no_patient(words, first, last)
    return digits < (3 if span.type == "VEHICLE" else 4)
