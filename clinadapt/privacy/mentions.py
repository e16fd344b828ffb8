"""What identifies a patient, found wherever else it stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from clinadapt.data.date_values import read_date
from clinadapt.privacy.features import Token, tokens
from clinadapt.privacy.spans import Span
from clinadapt.privacy.word_lists import (
    cue_classes,
    english_rank,
    english_words,
    family_names,
    given_names,
    is_known,
)

MAX_KNOWN = 200  # characters of a value that a hospital knows; a longer one is a text
_MOST = 80  # tokens of an entity
_IN_PARTS = ("NAME", "HOSPITAL", "EMPLOYER", "CITY", "STREET", "OTHERID", "MRN")  # a part of which tells as much
_NEVER = ("AGE90", "INITIALS")  # too short to be told from other numbers and abbreviations
_NUMBERS = ("MRN", "ACCOUNT", "PLAN", "SSN", "LICENSE", "DEVICE", "OTHERID")
_CARE = frozenset(["assisted", "living", "nursing", "home", "care", "homecare", "primary", "high", "elementary"])
_SHORT_DATE = re.compile(r"\d{1,2}[/-](\d{1,2})")
_LONG_WORD = 6  # letters of a name that is also looked for within words, as in `JaneVelnadal`
_RUN = re.compile(rf"\w{{{_LONG_WORD},}}")
_BESIDE = 60  # characters before and after such a name that are taken with it, at most
_AS_LATIN = str.maketrans("İıſ", "iis")
_SHORTEST_NUMBER = 4  # figures of a record number, with its leading zeros
_BIRTH_DATES = ("%m/%d/%Y", "%m/%d/%y", "%m-%d-%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y-%m-%d", "%Y/%m/%d", "%B %d, %Y",
                "%b %d, %Y", "%d %B %Y", "%d %b %Y", "%d-%b-%Y", "%Y%m%d")  # fmt: skip


class Mentions:
    """Entities, looked for as whole words, whatever their capitals.

    A single word that is also a word of English or of medicine is looked for only together with the rest of its name:
    "Will" says nothing about who is meant.
    """

    def __init__(self) -> None:
        self._types: dict[tuple[str, ...], str] = {}
        self._lengths: dict[str, set[int]] = {}
        self._long: dict[str, set[int]] = {}  # first letters of long names -> their lengths
        self._numbers: set[str] = set()  # known ones, without leading zeros

    def __len__(self) -> int:
        return len(self._types) + len(self._numbers)

    def words(self) -> set[str]:
        """All words of the entities, case-folded."""
        return {part for sequence in self._types for part in sequence}

    def kind(self, entity: str) -> str | None:
        """Type of an entity; None for one that is not looked for."""
        if self._is_known_number(entity):
            return "MRN"
        return self._types.get(tuple(token.text.casefold() for token in tokens(entity)))

    def _is_known_number(self, word: str) -> bool:
        return len(word) >= _SHORTEST_NUMBER and word.isdecimal() and word.lstrip("0") in self._numbers

    def add(self, entity: str, kind: str) -> None:
        """Look for an identifier of a type."""
        parts = [token.text.casefold() for token in tokens(entity)[:_MOST]]
        if kind in _NEVER or not parts:
            return
        if kind in ("HOSPITAL", "EMPLOYER") and len(own := _without_heads(parts)) > 1:
            self._add(own, kind)
        if (len(parts) > 1 and len(entity) > (5 if kind == "DATE" else 4)) or _is_day(entity, kind):
            self._add(tuple(parts), kind)
        for part in parts if kind in _IN_PARTS or len(parts) == 1 else ():
            if names_by_itself(part) or (
                kind in _NUMBERS and len(part) == 4 and part.isdigit() and part[0] not in "12"
            ):
                self._add((part,), kind)

    def add_known(self, value: str) -> None:
        """Look for what a hospital knows of a patient: a name, a number or a date. Figures alone are a number, whatever
        their leading zeros, also where they can be read as a date."""
        value = value.strip()[:MAX_KNOWN]
        if value.isdecimal() and value.strip("0"):
            self._numbers.add(value.lstrip("0"))
        if when := read_date(value):
            for variant in _variants(when):
                self.add(variant, "DATE")
        elif any(character.isdigit() for character in value):
            self.add(value, "MRN")
        else:
            self.add(value, "NAME")
            words = [token.text for token in tokens(value) if token.text[0].isalpha()]
            if len(words) > 1:
                for order in (words, [words[-1], ",", *words[:-1]], [words[0], words[-1]], [*words[1:], words[0]]):
                    self.add(" ".join(order), "NAME")
            for word in words:
                if len(word) > 2 and english_rank(word.lower()) > 8000:
                    self._add((word.casefold(),), "NAME")

    def spans(self, text: str, words: Sequence[Token]) -> Iterator[Span]:
        """Where the entities stand in a text with these tokens; they may overlap."""
        if not len(self):
            return
        lowers = [token.text.casefold() for token in words]
        for index, lower in enumerate(lowers):
            for length in self._lengths.get(lower, ()):
                kind = self._types.get(tuple(lowers[index : index + length]))
                if kind and index + length <= len(words):
                    yield Span(words[index].start, words[index + length - 1].end, kind)
            if self._is_known_number(lower):
                yield Span(*words[index][:2], "MRN")
        yield from self._within_words(text)

    def _within_words(self, text: str) -> Iterator[Span]:
        """Where long names stand within words of a text, with what is written together with them."""
        for run in _RUN.finditer(text.translate(_AS_LATIN).lower()) if self._long else ():
            word, first = run[0], run.start()
            for start in range(len(word) - _LONG_WORD + 1):
                for length in self._long.get(word[start : start + _LONG_WORD], ()):
                    if kind := self._types.get((word[start : start + length],)):
                        before, after = max(0, start - _BESIDE), min(len(word), start + length + _BESIDE)
                        yield Span(first + before, first + after, kind)

    def _add(self, sequence: tuple[str, ...], kind: str) -> None:
        self._types.setdefault(sequence, kind)
        self._lengths.setdefault(sequence[0], set()).add(len(sequence))
        word = sequence[0]
        if len(sequence) == 1 and len(word) >= _LONG_WORD and word.isalpha() and word.isascii():
            self._long.setdefault(word[:_LONG_WORD], set()).add(len(word))


def _without_heads(parts: Sequence[str]) -> tuple[str, ...]:
    """`cedar hollow` of `cedar hollow assisted living`: a name without the words for what it is; empty where they are
    frequent words."""
    heads = {"hospital", "firm", "place_head"}
    own = list(parts)
    while own and (not own[-1].isalpha() or not heads.isdisjoint(cue_classes().get(own[-1], ())) or own[-1] in _CARE):
        own.pop()
    rare = len(own) < len(parts) and any(english_rank(part) > 2000 for part in own if part.isalpha())
    return tuple(own) if rare and all(part.isalpha() or part == "-" for part in own) else ()


def _is_day(entity: str, kind: str) -> bool:
    """Whether a date without a year cannot be a share or a grade, as 3/5: its day is above 10."""
    match = _SHORT_DATE.fullmatch(entity) if kind == "DATE" else None
    return match is not None and int(match[1]) > 10


def _variants(when: datetime) -> Iterable[str]:
    """A date as notes write it, with zeros and without."""
    padded = {when.strftime(form) for form in _BIRTH_DATES}
    return padded | {re.sub(r"(?<!\d)0(?=\d\b)", "", variant) for variant in padded}


def names_by_itself(word: str) -> bool:
    """Whether a word, without its capitals, can only be a name."""
    if len(word) < 3 or not word.isalpha():
        return len(word) > 4 and word.isdigit()
    is_name = word in given_names() or word in family_names()
    common = word in english_words() and not (is_name and english_words()[word] > 8000)
    return not (common or is_known(word))
