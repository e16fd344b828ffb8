"""Tokens of a note and what the tagger sees of each: the word where it is no name, its shape, the lists it is in, and
the same of its neighbours."""

from __future__ import annotations

import re
from collections.abc import Sequence
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
_WINDOW = (-3, -2, -1, 1, 2, 3)


class Token(NamedTuple):
    """A word, a number, a sign or the end of a line: text[start:end]."""

    start: int
    end: int
    text: str


def tokens(text: str) -> list[Token]:
    """Tokens of a text, without its blanks."""
    return [Token(match.start(), match.end(), match[0]) for match in _TOKEN.finditer(text)]


def sequence_features(words: Sequence[Token], found: Sequence[Span]) -> list[list[str]]:
    """Features of each token.

    Args:
        words: tokens of a note.
        found: disjoint spans that patterns found, in text order; a token within one is known by its type alone.
    """
    texts = [f"<{kind}>" if kind else token.text for token, kind in zip(words, types_of(words, found), strict=True)]
    capitals = _lines_in_capitals(texts)
    wide = [_of_word(text) for text in texts]
    edge = ("<edge>", ("w=<edge>",), ("k=<edge>",))
    rows: list[list[str]] = []
    for index, (shape, near, _) in enumerate(wide):
        row = [*near]
        for offset in _WINDOW:
            row += _at(offset, texts[index + offset] if 0 <= index + offset < len(texts) else "")
        before = wide[index - 1] if index else edge
        after = wide[index + 1] if index + 1 < len(wide) else edge
        last = wide[index - 2] if index > 1 else edge
        row += [
            f"p|{before[2][-1]}|{near[-1]}",
            f"n|{near[-1]}|{after[2][-1]}",
            f"pw|{before[1][0]}|{shape}",
            f"nw|{shape}|{after[1][0]}",
            f"ppw|{last[1][0]}|{before[1][0]}|{shape}",
            f"b|{before[1][0]}|{after[1][0]}",
        ]
        if capitals[index]:
            row += ["capitals", f"capitals|{near[-1]}"]
        rows.append(row)
    return rows


def types_of(words: Sequence[Token], spans: Sequence[Span]) -> list[str]:
    """The type of the span that each token begins in; empty outside of all. The spans are disjoint, in text order."""
    types, number = [], 0
    for token in words:
        while number < len(spans) and spans[number].end <= token.start:
            number += 1
        inside = number < len(spans) and spans[number].start <= token.start
        types.append(spans[number].type if inside else "")
    return types


def _lines_in_capitals(texts: Sequence[str]) -> list[bool]:
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


@lru_cache(maxsize=100_000)
def _at(offset: int, text: str) -> tuple[str, ...]:
    """The features of a neighbour; empty text: beyond the note."""
    if not text:
        return (f"{offset}w=<edge>", f"{offset}k=<edge>")
    _, near, far = _of_word(text)
    return tuple(f"{offset}{feature}" for feature in (near if -3 < offset < 3 else far))


@lru_cache(maxsize=30_000)
def _of_word(text: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Shape, features for a near neighbour, and classes alone for a far one; the last class sums up the others."""
    if text[0] == "<" and len(text) > 2:
        return text, (f"w={text}", f"k={text}"), (f"k={text}",)
    if text[0] == "\n":
        return "nl", ("w=<nl>", "k=nl"), ("k=nl",)
    lower = text.lower()
    shape = _shape(text)
    if not text[0].isalpha():
        kind = "number" if text[0].isdigit() else text[:1]
        word = f"d{min(len(text), 9)}" if text[0].isdigit() else text[:2]
        value = (f"v={text}",) if text[0].isdigit() and len(text) < 3 else ()
        return shape, (f"w={word}", f"s={shape}", *value, f"k={kind}"), (f"k={kind}",)
    classes = list(cue_classes().get(lower, ()))
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
    features = (f"w={word}", f"s={shape}", f"ws={word}|{shape}", *ends, *lists, *details, f"k={summary}")
    return shape, features, (*details, f"k={summary}")


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
