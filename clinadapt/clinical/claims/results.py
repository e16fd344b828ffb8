"""Results that are positive or negative, held against the note: a negative hCG is not positive."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from clinadapt.clinical.claims.checked import CheckedClaim, verdict
from clinadapt.clinical.claims.kinds import Claim
from clinadapt.clinical.claims.named_things import named_things, spoken_of
from clinadapt.clinical.claims.reading import Reading
from clinadapt.clinical.claims.words import STOP_WORDS, Word, stem

_RESULT = re.compile(
    r"\b(?P<positive>positive|pos|(?<!non)(?<!non-)reactive)\b(?! for\b)|(?<=\bwas )(?P<found>positive)(?= for\b)|"
    r"(?P<plus>(?<=[a-z])(?<!or) ?(?:\+(?:ve)?|\(\+\))(?![\w/+]| ?\d))|\b(?P<negative>negative|neg|"
    r"non-?reactive|not detected)\b(?! for\b)"
)
_WORDS_BETWEEN = "is was are were been be has have came come back tested test testing result returned both all"
_BETWEEN = {stem(w) for w in _WORDS_BETWEEN.split()}
_ARTICLES = {"a", "with", "of", "for", "the"}  # a positive ANA
_BOUND = re.compile(r"[,;:()\n]|\b(?:and|but)\b")
PENDING = re.compile(r"[^.;\n]{0,25}?\b(?:pending|awaited|to follow|not (?:yet )?back)\b")
_REACH = 40  # characters


class Result(NamedTuple):
    """A result with the stems of the two words that it is of, the nearest first."""

    start: int
    end: int
    positive: bool
    of: tuple[str, ...]


def check_results(stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    said = _results(source) if _RESULT.search(stated.lower) else []
    for result in _results(stated):
        near = [each for each in said if set(result.of) & set(each.of)]
        near = [
            each for each in near if result.of[0] == each.of[0]
        ] or near  # "HCV positive, HIV negative" of one patient
        fits = [each for each in near if each.positive == result.positive]
        if near:
            value = f"{'positive' if result.positive else 'negative'} {' '.join(sorted(result.of))}"
            claim = Claim("result", result.start, result.end, value)
            yield verdict(claim, (e[:2] for e in fits), (e[:2] for e in near))
        elif pending := _pending(result, stated, source):
            claim = Claim("certainty", result.start, result.end, "result known")
            yield CheckedClaim(claim, "contradicted", pending)


def _pending(result: Result, stated: Reading, source: Reading) -> tuple[int, int] | None:
    """Span of what a result is of, where the note only has it as pending."""
    names = [name for start, end, name in named_things(stated) if 0 <= result.start - end <= _REACH]
    spans = [word[:2] for stem in result.of for word in source.words_of(stem)]
    spans = spans or [span for name in names for span in spoken_of(name, source)]
    return spans[0] if spans and all(PENDING.match(source.lower, end) for _, end in spans) else None


def _results(reading: Reading) -> list[Result]:
    found = []
    for match in _RESULT.finditer(reading.lower):
        start, end = reading.sentence_at(match.start())
        before = [*_BOUND.finditer(reading.lower, max(start, match.start() - _REACH), match.start())]
        behind = _BOUND.search(reading.lower, match.end(), min(end, match.end() + _REACH))
        near = reading.words_within(before[-1].end() if before else max(start, match.start() - _REACH), match.start())
        after = reading.words_within(match.end(), behind.start() if behind else min(end, match.end() + _REACH))
        attributive = bool(after) and after[0].stem not in STOP_WORDS and (not near or near[-1].stem in _ARTICLES)
        if of := _content(after) if attributive else _content(reversed(near)) or _content(after):
            number = reading.word_at(match.start())  # none behind a "+" at the end
            denied = reading.context.negated[number] if number < len(reading.words) else 0
            is_positive = (match.lastgroup != "negative") != (denied == 3)
            found.append(Result(*match.span(), is_positive, of))
    return found


def _content(near: Iterable[Word]) -> tuple[str, ...]:
    """The first two stems; a name that ends in a number is one: HER2."""
    found: list[str] = []
    last: Word | None = None
    for word in near:
        joins = last is not None and (last.end == word.start or word.end == last.start)
        if joins and last and word.stem.isdigit() != last.stem.isdigit():
            if found and not last.stem.isdigit():
                found.pop()
            found.append(f"{min(last, word).stem}{max(last, word).stem}")
        elif word.stem not in STOP_WORDS | _BETWEEN and not word.stem.isdigit():
            found.append(word.stem)
        last = word
    return tuple(found[:2])
