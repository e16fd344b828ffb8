"""Findings that a value of the note shows without their name: a pulse of 118 is a tachycardia."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from clinadapt.clinical.claims.quantities import degrees
from clinadapt.clinical.claims.reading import Measurement, Reading
from clinadapt.clinical.lexicon import load_lexicon

_ADULT = 18  # years; what is normal in a child goes by its age
_DAYS_OLD = re.compile(r"\b(?:hour|day|week|month)s?[- ]old\b|\b(?:newborn|neonate|infant)\b")
# Finding, its test, and what its value is above and below: outside of what is normal in adults, within what can be
# (mmol/L and mEq/L, degrees F, %, g/dL or g/L)
_LIMITS = [
    ("tachycardia", "heart rate", 100, 300),
    ("bradycardia", "heart rate", 15, 60),
    ("tachypnea", "respiratory rate", 20, 80),
    ("fever", "temperature", 100.39, 110),  # from 38.0 C
    ("hypothermia", "temperature", 75, 95),
    ("hypoxia", "oxygen saturation", 30, 94),
    ("hypotension", "blood pressure", 30, 90),
    ("hypertension", "blood pressure", 139, 300),
    ("hyponatremia", "sodium", 90, 135),
    ("hypernatremia", "sodium", 145, 200),
    ("hypokalemia", "potassium", 1, 3.5),
    ("hyperkalemia", "potassium", 5, 10),
    ("reduced ejection fraction", "ejection fraction", 5, 50),
    ("preserved ejection fraction", "ejection fraction", 49, 90),
    ("obesity", "body mass index", 29.99, 100),  # from 30
    ("anemia", "hemoglobin", 3, 12),
    ("anemia", "hemoglobin", 30, 120),
]
_NORMAL = re.compile(r"\w*(?: (?:is|was|are|were))? (?:normal|unremarkable|negative|nad)\b")  # behind a test or a part


@cache
def _implied() -> dict[str, re.Pattern[str]]:
    """Finding -> what tells of it without its name."""
    return {name: re.compile(pattern) for name, pattern in load_lexicon("implied_findings.yaml").items()}


def shown_by_values(finding: str, source: Reading) -> Iterator[tuple[int, int]]:
    """Spans of the measurements or words of a note that show a finding; no measurements of a child."""
    if finding in _implied():
        for match in _implied()[finding].finditer(source.lower):
            denied = source.context.negated[min(source.word_at(match.start()), len(source.words) - 1)]
            is_normal = denied or _NORMAL.match(source.lower, match.end())
            if not is_normal and source.lower[match.start() - 1 : match.start()] != "-":  # "-N/V"
                yield match.span()
    for name, test, low, high in _LIMITS:
        for measurement in source.measurements if name == finding and not _of_child(source) else ():
            if measurement.name == test and low < _value(measurement) < high:
                yield measurement.start, measurement.end


def _of_child(source: Reading) -> bool:
    """Whether the first age of a note is below 18 years, or in months or less."""
    young = _DAYS_OLD.search(source.lower)
    start, _, years = min(source.ages, default=(len(source.lower), 0, _ADULT))
    return years < _ADULT or (young is not None and young.start() < start)


def _value(measurement: Measurement) -> float:
    """The first value of a measurement: of a blood pressure the systolic one."""
    value = measurement.values[0]
    return degrees(value).value if measurement.name == "temperature" else value.number
