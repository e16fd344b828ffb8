"""Doses that an answer reckons from those of its note: totals, doses a day or per kilogram, the dose before."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from clinadapt.clinical.claims.drug_uses import DrugUse
from clinadapt.clinical.claims.quantities import Quantity
from clinadapt.clinical.claims.reading import Reading

TOTAL = re.compile(r"\b(?:altogether|in total|in all|total of|combined)\b")
_PER_KILOGRAM = re.compile(r" ?(?:per|/|a|for (?:each|every)) ?(?:kg|kilo)")
_A_DAY = re.compile(r"[^.,;\n]{0,40}?\b(?:(?:in|over) (?:a day|24 ?h)|(?:a|per|each) day\b)")
_HOW_OFTEN = re.compile(r"\b(?:once|twice|thrice|times|one time)\b")
_TIMES = re.compile(r"(?: ?(?:iv|im|po|sc))? ?[x×] ?(\d{1,2})(?! ?(?:/|d\b|days?\b|\d|wk|weeks?\b))")
_COURSE = re.compile(r"(?: \d[\d.]* ?(?:mg|g)?)?,? ?(?:(?:x|for) ?(?:\d{1,2} ?d(?:ays?)?\b)|(?:x ?)?\d{1,2}/7\b)")
_BEFORE_A_CHANGE = re.compile(r"\b(?:from|previously|was|were|had been|instead of|rather than) \Z")
_ALIKE = 0.03  # by which a reckoned dose may differ, as it is rounded


def reckoned(dose: Quantity, own: Sequence[DrugUse], stated: Reading, source: Reading) -> list[tuple[int, int]]:
    """Spans in the note of the doses of a drug that a dose of an answer is reckoned from."""
    given = [q for use in own for q in use.doses if q.dimension == dose.dimension]
    if _PER_KILOGRAM.match(stated.lower, dose.end):
        weights = [q.number for q in source.quantities if q.unit == "kg"]
        return [q[:2] for q in given for weight in weights if _alike(q.value, dose.value * weight)]
    if is_of_a_day(dose, own, stated):
        return [use.doses[0][:2] for use in own if use.doses]
    if TOTAL.search(stated.lower, *stated.sentence_at(dose.start)):
        if len(given) > 1 and _alike(sum(q.value for q in given), dose.value):
            return [q[:2] for q in given]
        return [q[:2] for q in given if any(_alike(n * q.value, dose.value) for n in _how_many(q, given, source))]
    if _BEFORE_A_CHANGE.search(stated.lower, max(0, dose.start - 14), dose.start):
        spans = [(use.start, source.sentence_at(use.start)[1]) for use in own]
        bare = [q for q in source.quantities if not q.dimension and q.number == dose.number]
        return [q[:2] for q in bare if any(start < q.start < end for start, end in spans)]
    return []


def is_of_a_day(dose: Quantity, own: Sequence[DrugUse], stated: Reading) -> bool:
    """Whether a dose is that of a day, which the note tells as several: 20 mg a day of 10 mg twice daily."""
    match = _A_DAY.match(stated.lower, dose.end)
    if not match or _HOW_OFTEN.search(match[0]):
        return False
    return any(
        _alike(use.doses[0].value * times, dose.value) and use.doses[0].dimension == dose.dimension
        for use in own
        for _, _, times in use.frequencies[: len(use.doses)]
    )


def is_daily_course(own: Sequence[DrugUse], source: Reading) -> bool:
    """Whether the note has a dose for some days, which is one a day: "pred 40 x 5d"."""
    return any(_COURSE.match(source.lower, end) for use in own for end in (use.end, *(q.end for q in use.doses)))


def _how_many(dose: Quantity, given: Sequence[Quantity], source: Reading) -> Iterator[int]:
    """How often a dose is told to have been given: 2 of "4 mg x 2", and of 4 mg that stand twice."""
    match = _TIMES.match(source.lower, dose.end)
    yield int(match[1]) if match else 1
    yield sum(q.value == dose.value for q in given)


def _alike(one: float, other: float) -> bool:
    return abs(one - other) <= _ALIKE * max(one, other)
