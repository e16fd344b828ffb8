"""Findings shown by values: outside of what is normal in adults, and of adults only."""

from __future__ import annotations

import pytest

from clinadapt.clinical.claims import unsupported


@pytest.mark.parametrize(
    ("finding", "normal", "abnormal"),
    [
        ("hypokalemia", "Potassium 3.5", "Potassium 3.4"),
        ("hyperkalemia", "Potassium 5.0", "Potassium 5.1"),
        ("hypernatremia", "Sodium 145", "Sodium 146"),
        ("hyponatremia", "Sodium 135", "Sodium 134"),
        ("tachycardia", "Heart rate 100", "Heart rate 101"),
        ("bradycardia", "Heart rate 60", "Heart rate 59"),
        ("tachypnea", "Respiratory rate 20", "Respiratory rate 21"),
        ("hypotension", "Blood pressure 90/64", "Blood pressure 89/50"),
        ("anemia", "Hemoglobin 12.0", "Hemoglobin 11.9"),
        ("anemia", "Hemoglobin 120 g/L", "Hemoglobin 119 g/L"),
        ("hypoxia", "Oxygen saturation 94%", "Oxygen saturation 93%"),
        ("fever", "Temperature 100.3", "Temperature 100.4"),
        ("fever", "Temperature 37.9", "Temperature 38.0"),
        ("hypothermia", "Temperature 95.0", "Temperature 94.9"),
        ("obesity", "Body mass index 29.9", "Body mass index 30"),
    ],
)
def test_the_edge_of_the_normal_range_shows_no_finding(finding: str, normal: str, abnormal: str) -> None:
    answer = f"There is {finding}."
    assert unsupported(answer, f"A 50-year-old woman. {normal}.")
    assert not unsupported(answer, f"A 50-year-old woman. {abnormal}.")
    assert not unsupported(answer, f"{abnormal}.")


@pytest.mark.parametrize(
    ("patient", "is_child"),
    [
        ("A 3-year-old girl", True),
        ("A 17-year-old boy", True),
        ("An 18-year-old man", False),
        ("A 5-month-old whose mother is 30 years old", True),
        ("A 40-year-old woman with a 3-week-old wound", False),
        ("A newborn", True),
    ],
)
def test_a_child_has_other_limits(patient: str, is_child: bool) -> None:
    assert bool(unsupported("There is tachycardia.", f"{patient}. Heart rate 130.")) == is_child
