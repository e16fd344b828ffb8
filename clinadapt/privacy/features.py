"""Tokens of a note and what the tagger sees of each: the word where it is no name, its shape, the lists it is in, and
the same of its neighbours."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from clinadapt.privacy.spans import Span
from clinadapt.privacy.word_lists import (
    cities,
    clinical_words,
    cue_classes,
    english_words,
    eponyms,
    family_names,
    given_names,
    looks_clinical,
)

_TOKEN = re.compile(r"[^\W\d_]{1,60}|\d{1,60}|\n{1,3}|([^\w\s]|_)\1{0,30}")
# Of the tagger: two short numbers and the sign between them are one, as in `14/12` or `5.9`
_TAGGED = re.compile(rf"(?<![\d./:-])\d{{1,3}}[./:-]\d{{1,3}}(?![./:-]?\d)|{_TOKEN.pattern}")
_PAIR = re.compile(r"(\d+)([./:-])(\d+)")
_EDGE = ("w=<edge>", "k=<edge>")  # beyond the note
REACH = 3  # tokens on either side that a token's features tell of
_WORD, _SHAPE, _SUMMARY = range(3)
JointFeature = tuple[str, tuple[tuple[int, int], ...]]  # its name; of which tokens, by distance, it has which part
JOINT: tuple[JointFeature, ...] = (
    ("p", ((-1, _SUMMARY), (0, _SUMMARY))),
    ("n", ((0, _SUMMARY), (1, _SUMMARY))),
    ("pw", ((-1, _WORD), (0, _SHAPE))),
    ("nw", ((0, _SHAPE), (1, _WORD))),
    ("ppw", ((-2, _WORD), (-1, _WORD), (0, _SHAPE))),
    ("b", ((-1, _WORD), (1, _WORD))),
)
OF_CAPITALS: tuple[JointFeature, ...] = (("capitals", ()), ("cs", ((0, _SUMMARY),)))


class Token(NamedTuple):
    """A word, a number, a sign or the end of a line: text[start:end]."""

    start: int
    end: int
    text: str


def tokens(text: str) -> list[Token]:
    """Tokens of a text, without its blanks."""
    return [Token._make((*match.span(), match[0])) for match in _TOKEN.finditer(text)]


def tagged_tokens(text: str) -> list[Token]:
    """Tokens of a text as the tagger has them: a day and a month, a share or a decimal is one."""
    return [Token._make((*match.span(), match[0])) for match in _TAGGED.finditer(text)]


def token_range(words: Sequence[Token], span: Span) -> tuple[int, int]:
    """(index of the first token of a span, index behind its last) among the tokens of its text."""
    first, last = (bisect_left(words, place, key=lambda token: token.start) for place in (span.start, span.end))
    return first, last


def text_at(words: Sequence[Token], index: int) -> str:
    """The text of the token at an index; empty beyond the note."""
    return words[index].text if 0 <= index < len(words) else ""


def texts_of(words: Sequence[Token], found: Sequence[Span]) -> list[str]:
    """What the tagger sees of tokens: their texts; of one that begins within what patterns found its type alone, as
    `<PHONE>`. The spans are disjoint, in text order."""
    return [f"<{kind}>" if kind else token.text for token, kind in zip(words, types_of(words, found), strict=True)]


def padded(texts: Sequence[str]) -> list[str]:
    """Tokens of a note with REACH empty ones on either side."""
    return [*[""] * REACH, *texts, *[""] * REACH]


def sequence_features(texts: Sequence[str]) -> list[list[str]]:
    """Features of each token of a note, of `texts_of`."""
    around, rows = padded(texts), []
    tells = {text: features_at(text) for text in set(around)}
    for index, joint in enumerate(joint_features(around, lines_in_capitals(texts))):
        near = around[index : index + 2 * REACH + 1]
        rows.append([feature for place, text in enumerate(near) for feature in tells[text][place]] + joint)
    return rows


def joint_features(texts: Sequence[str], capitals: Sequence[bool]) -> Iterator[list[str]]:
    """Features of each token that it and its neighbours have together: JOINT, and OF_CAPITALS in a line of capitals.

    Args:
        texts: the tokens, with REACH others on either side.
        capitals: of each token, without the others, whether its line has capitals only.
    """
    words = [parts_of(text) for text in texts]
    for index, capital in enumerate(capitals, start=REACH):
        yield [
            " ".join((kind, *(words[index + place][part] for place, part in parts)))
            for kind, parts in ((*JOINT, *OF_CAPITALS) if capital else JOINT)
        ]


def parts_of(text: str) -> tuple[str, ...]:
    """What a token gives to joint features, by the numbers that JOINT has."""
    return _of_word(text)[:3]


def types_of(words: Sequence[Token], spans: Sequence[Span]) -> list[str]:
    """The type of the span that each token begins in; empty outside of all. The spans are disjoint, in text order."""
    types, number = [], 0
    for token in words:
        while number < len(spans) and spans[number].end <= token.start:
            number += 1
        inside = number < len(spans) and spans[number].start <= token.start
        types.append(spans[number].type if inside else "")
    return types


def lines_in_capitals(texts: Sequence[str]) -> list[bool]:
    """Whether the line of each token has capitals only, so that they say nothing."""
    result: list[bool] = []
    line: list[str] = []
    for text in (*texts, "\n"):
        line.append(text)
        if text[0] == "\n":
            letters = [word for word in line if word[0].isalpha() and len(word) > 1]
            capital = len(letters) > 2 and sum(word.isupper() for word in letters) > 0.8 * len(letters)
            result += [capital] * len(line)
            line = []
    return result[: len(texts)]


def features_at(text: str) -> tuple[tuple[str, ...], ...]:
    """What a token tells of the token that stands REACH after it, and of the next, to the one that stands REACH before
    it; empty text: beyond the note."""
    word = _of_word(text)
    offsets = range(-REACH, REACH + 1)
    return tuple(
        tuple(f"{offset or ''}{feature}" for feature in (word.far if abs(offset) == REACH else word.near))
        for offset in offsets
    )


def features_of(text: str) -> tuple[str, ...]:
    """What a token tells of itself, of which `features_at` tells its neighbours all or a part."""
    return _of_word(text).near


class _Word(NamedTuple):
    """What is known of a token: its word where it is no name, its shape, a summary of the lists it is in (in the order
    of JOINT's numbers), and its features for the tokens near to it and for those REACH away."""

    word: str
    shape: str
    summary: str
    near: tuple[str, ...]
    far: tuple[str, ...]


@lru_cache(maxsize=30_000)
def _of_word(text: str) -> _Word:
    if not text:
        return _Word("<edge>", "<edge>", "<edge>", _EDGE, _EDGE)
    if text[0] == "<" and len(text) > 2:
        return _simple(text)
    if text[0] == "\n":
        return _simple("<nl>", summary="nl")
    shape = _shape(text)
    if pair := _PAIR.fullmatch(text):
        return _pair(text, pair)
    if text[0].isdigit():
        value = (f"v={text}",) if len(text) < 3 else ()
        return _simple(f"d{min(len(text), 9)}", shape, "number", value)
    if not text[0].isalpha():
        return _simple(text[:2], shape, text[:1])
    lower = text.lower()
    classes = cue_classes().get(lower, ())
    english, family, given = english_words().get(lower), family_names().get(lower), given_names().get(lower)
    clinical = lower in clinical_words() or lower in eponyms()
    name = _bin(given, (100, 500), "g") + _bin(family, (500, 5000), "f")
    common = _bin(english, (1500, 6000, 20_000), "e")
    medical = "E" if lower in eponyms() else "M" if clinical else "m" if looks_clinical(lower) else ""
    place = "c" if lower in cities() else ""
    summary = f"{shape}:{name}:{common}:{medical}{place}"
    frequent = 2500 if given or family else 20_000  # a rarer word that may be a name is not told
    known = classes or clinical or (english is not None and english < frequent)
    word = lower if known else "<rare>"
    ends = (f"x={lower[-3:]}", f"y={lower[:2]}") if not known else (f"x={lower[-2:]}",)
    details = [f"c={cue}" for cue in classes] or ["c=-"]
    lists = (f"n={name}", f"e={common}", f"m={medical}{place}")
    near = (f"w={word}", f"s={shape}", f"ws={word}|{shape}", *ends, *lists, *details, f"k={summary}")
    return _Word(word, shape, summary, near, (*details, f"k={summary}"))


def day_kind(first: str, second: str) -> str:
    """What two numbers may be as a day and a month: `dm` as `14/12`, `md` as `12/14`, `both` as `3/4`; empty: none."""
    low, high = sorted((int(first), int(second)))
    if not 0 < low <= 12 or high > 31:
        return ""
    return "both" if high <= 12 else "dm" if int(first) > 12 else "md"


def _pair(text: str, pair: re.Match[str]) -> _Word:
    """Two numbers and the sign between them."""
    first, sign, second = pair.groups()
    kind = f"{sign}{day_kind(first, second) or 'none'}"
    lengths = f"{len(first)}{sign}{len(second)}"
    value = (f"v={text}",) if len(text) < 5 else ()
    return _simple(f"d{lengths}", lengths, f"pair{kind}", (f"day={kind}", *value))


def _simple(word: str, shape: str = "", summary: str = "", more: tuple[str, ...] = ()) -> _Word:
    """A token that is in no list: a sign, a number, or one that is known by its type."""
    of_shape = (f"s={shape}",) if shape else ()
    kind = f"k={summary or word}"
    return _Word(word, shape or word, summary or word, (f"w={word}", *of_shape, *more, kind), (kind,))


def _shape(text: str) -> str:
    if text[0].isdigit():
        return f"9{min(len(text), 6)}"
    if not text[0].isalpha():
        return "."
    if "가" <= text[0] <= "힣":
        return f"h{min(len(text), 5)}"
    if len(text) == 1:
        return "X1" if text.isupper() else "x1"
    if text.isupper():
        return "XX" if len(text) < 4 else "XXXX"
    if text.islower():
        return "x"
    return "Xx" if text[0].isupper() and text[1:].islower() else "xX"


def _bin(rank: int | None, bounds: tuple[int, ...], letter: str) -> str:
    """`g0` for a rank below the first bound, and so on; empty for a word that the list lacks."""
    return "" if rank is None else f"{letter}{sum(rank >= bound for bound in bounds)}"
