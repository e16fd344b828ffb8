"""Findings that a value of the note shows without their name: a pulse of 118 is a tachycardia."""

from __future__ import annotations

from collections.abc import Iterator

from clinadapt.clinical.claims.quantities import degrees
from clinadapt.clinical.claims.reading import Measurement, Reading

# Finding, its test, and the lowest and the highest value (adults; mmol/L and mEq/L, degrees F, %, g/dL or g/L)
_LIMITS = [
    ("tachycardia", "heart rate", 100, 300),
    ("bradycardia", "heart rate", 15, 60),
    ("tachypnea", "respiratory rate", 20, 80),
    ("fever", "temperature", 100.0, 110),
    ("hypothermia", "temperature", 75, 95.5),
    ("hypoxia", "oxygen saturation", 30, 94),
    ("hypotension", "blood pressure", 30, 100),
    ("hyponatremia", "sodium", 90, 135),
    ("hypernatremia", "sodium", 145, 200),
    ("hypokalemia", "potassium", 1, 3.6),
    ("hyperkalemia", "potassium", 5, 10),
    ("obesity", "body mass index", 30, 100),
    ("anemia", "hemoglobin", 3, 12),
    ("anemia", "hemoglobin", 30, 120),
]


def shown_by_values(finding: str, source: Reading) -> Iterator[tuple[int, int]]:
    """Spans of the measurements of a note that show a finding."""
    for name, test, low, high in _LIMITS:
        for measurement in source.measurements if name == finding else ():
            if measurement.name == test and low <= _value(measurement) <= high:
                yield measurement.start, measurement.end


def _value(measurement: Measurement) -> float:
    """The first value of a measurement: of a blood pressure the systolic one."""
    value = measurement.values[0]
    return degrees(value).value if measurement.name == "temperature" else value.number
