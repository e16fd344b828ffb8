"""Spans without what does not belong to them: titles, relations and small words before, degrees and signs after."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from clinadapt.privacy.capitals import is_function_word
from clinadapt.privacy.chart_forms import PARTICLES, chart_words, is_relation
from clinadapt.privacy.context import is_dotted_degree, is_word_only
from clinadapt.privacy.features import Token, token_range
from clinadapt.privacy.mentions import names_by_itself
from clinadapt.privacy.patterns import is_street_word
from clinadapt.privacy.spans import PLACES, Span
from clinadapt.privacy.word_lists import cue_classes, english_rank, family_names, given_names, own_list

_NUMBERED = ("PHONE", "FAX", "MRN", "ACCOUNT", "PLAN", "DEVICE", "LICENSE", "OTHERID", "SSN", "VEHICLE")
_IN = ("IN", "AT", "FROM", "NEAR", "WITH")
_TITLES = frozenset({"title", "person_title", "relation", "role"})
_ALWAYS = frozenset(
    [
        "mr",
        "mrs",
        "ms",
        "miss",
        "dr",
        "drs",
        "herr",
        "frau",
        "mme",
        "mlle",
        "master",
        "rm",
        "room",
        "bed",
        "bay",
        "kollege",
        "kollegin",
        "kollegen",
    ]
)
_NO_NAME = frozenset(["md", "do", "rn", "np", "pa", "c", "phd", "pac", "facr", "frcs", "frcp", "fnp", "mph"])
_NUMBERS = frozenset(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety", "one", "two",
                      "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"])  # fmt: skip


def trimmed(words: Sequence[Token], span: Span) -> Span | None:
    """The span of a name without titles, relations and numbers of rooms before it, and degrees after it; of a place
    without what follows in small letters; None where nothing else is there; any other span as it is."""
    first, last = token_range(words, span)
    if span.type in (*PLACES, "STREET", "VEHICLE", "NAME"):
        first = _first_own(words, first, last)
    if span.type in _NUMBERED:
        while last - first > 1 and _is_label(words, first):
            first += 1
    if span.type == "CITY":
        first = max([first, *(at + 1 for at in range(first, last - 1) if words[at].text in _IN)])
    if span.type in PLACES and first < last and words[first].text[0].isupper():
        while last - first > 1 and (
            (words[last - 1].text.islower() and words[last - 1].text != "s") or _is_degree_after(words, first, last)
        ):
            last -= 1
        return Span(words[first].start, words[last - 1].end, span.type)
    if span.type != "NAME":
        return span if first == last else Span(words[first].start, span.end, span.type)
    first = max([first, *(at + 1 for at in range(first, last - 1) if _is_after_words(words, first, at))])
    while first < last and _stands_before(words[first].text):
        first += 1
    if last - first > 1 and _begins_a_sentence(words, first) and is_relation(words[first].text.lower()):
        first += 1  # `Son Earl`
    last = next((last - back for back in (1, 2, 3, 4) if is_dotted_degree(words, last - back)), last)
    while first < last and (
        _stands_after(words[last - 1].text) or (last - first > 1 and _ends_a_name(words, first, last - 1))
    ):
        last -= 1
    if last - first > 1 and words[last - 1].text == "I" and last < len(words) and words[last].text.islower():
        last -= 1  # `Dr Young I believe`
    return Span(words[first].start, words[last - 1].end, span.type) if first < last else None


def _is_label(words: Sequence[Token], index: int) -> bool:
    """Whether a word that stands apart before a number tells what it is: `IS 555 0123`, `MRN 5550123`."""
    word = words[index].text
    apart = words[index].end < words[index + 1].start
    return apart and word.isalpha() and (is_function_word(word) or "field" in cue_classes().get(word.lower(), ()))


def _first_own(words: Sequence[Token], first: int, last: int) -> int:
    """Index of the first word with a capital or a figure, where small words that are no names stand before it."""
    at = first
    while at < last and (
        not words[at].text[0].isalnum()
        or (words[at].text.islower() and _is_small(words[at].text))
        or is_function_word(words[at].text)
    ):
        at += 1
    if last - at > 1 and _begins_a_sentence(words, at) and _is_verb(words[at].text) and words[at + 1].text[0].isupper():
        at += 1  # `Lives Mill Lane`, `Referred Eastbrook Dental`
    return at if at < last else first


def _begins_a_sentence(words: Sequence[Token], index: int) -> bool:
    return index == 0 or words[index - 1].text[0] in ".\n:;"


def _is_verb(word: str) -> bool:
    """Whether a word with a capital says what somebody does: `Lives`, `Referred`."""
    lower = word.lower()
    if lower in given_names() or lower in family_names() or not word[0].isalpha():
        return False
    classes = cue_classes().get(lower, ())
    told = lower in _verbs() or "lives" in classes or "works" in classes
    return told or (lower.endswith("ed") and english_rank(lower) < 20_000)


@cache
def _verbs() -> frozenset[str]:
    return frozenset(re.findall(r"\w+", own_list("people.yaml")["verbs"]))


def _is_small(word: str) -> bool:
    if word in PARTICLES or word in _NUMBERS or is_street_word(word) or "particle" in cue_classes().get(word, ()):
        return False
    return not (word in given_names() and english_rank(word) > 5000) and not names_by_itself(word)


def _is_degree_after(words: Sequence[Token], first: int, last: int) -> bool:
    """Whether the last words of a span are a degree after a comma: `Ada Brown, MD, FACS`."""
    word, before = words[last - 1].text, words[last - 2].text
    return word == "," or (before == "," and last - first > 2 and _stands_after(word))


def _is_after_words(words: Sequence[Token], first: int, title: int) -> bool:
    """Whether a title stands in a span after words that are no names: `Tell Nurse Velnadal`."""
    if title == first or _TITLES.isdisjoint(cue_classes().get(words[title].text.lower(), ())):
        return False
    return all(
        is_word_only(token.text.lower()) or english_rank(token.text.lower()) < 1500 for token in words[first:title]
    )


def _ends_a_name(words: Sequence[Token], first: int, last: int) -> bool:
    """Whether the last word of a span is one as WAS, or a word in small letters after a name."""
    word = words[last].text
    capital = any(token.text[0].isupper() and len(token.text) > 1 for token in words[first:last])
    joined = words[last - 1].end == words[last].start  # `Hae-rim`
    lower = capital and word.islower() and not joined and word not in PARTICLES and is_word_only(word)
    genitive = word == "S" and words[last - 1].text in ("'", "’")  # `WEST'S`
    return lower or genitive or is_function_word(word)


def _stands_before(word: str) -> bool:
    lower = word.lower()
    if not word[0].isalpha():
        return word not in ("'", "’")
    listed = lower in given_names() or lower in family_names()
    return (
        lower in _ALWAYS
        or lower in chart_words("titles")
        or (not listed and not _TITLES.isdisjoint(cue_classes().get(lower, ())))
    )


def _stands_after(word: str) -> bool:
    if not word[0].isalpha():
        return word not in (".", "'", "’")
    return word.isupper() and (word.lower() in _NO_NAME or "degree" in cue_classes().get(word.lower(), ()))
