"""Sex and age as columns of hospitals have them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from clinadapt.data.patient_groups import age_band, is_missing, sex
from clinadapt.data.patients import normal_identifier

OLD, ELDER, CHILD = "80 years and more", "65 to 79 years", "under 18 years"


@pytest.mark.parametrize("value", ["F", "f", " Female ", "FEMALE", "W", "weiblich", "woman", "F."])
def test_a_woman(value: str) -> None:
    assert sex(value) == "female"


@pytest.mark.parametrize("value", ["M", "male", "Male", "männlich", "man", "m"])
def test_a_man(value: str) -> None:
    assert sex(value) == "male"


@pytest.mark.parametrize(
    "value",
    ["Other", "OTHER", "O", "X", "x.", "diverse", "Divers", "non-binary", "Non Binary", "nonbinary", "Intersex"],
)
def test_a_recorded_sex_that_is_neither_is_a_group_of_its_own(value: str) -> None:
    assert sex(value) == "other" and not is_missing(value)


@pytest.mark.parametrize("value", [1, 2, "1", "2", "0", 8507, True, "H", "V", "F/M", "F?", "female to male", "another"])
def test_a_sex_that_is_not_read(value: Any) -> None:
    assert sex(value) is None and not is_missing(value)


@pytest.mark.parametrize(
    ("value", "band"),
    [
        (0, CHILD), (17.9, CHILD), (18, "18 to 39 years"), (39.9, "18 to 39 years"), ("64", "40 to 64 years"),
        (65, ELDER), (79.5, ELDER), (80, OLD), (90, OLD), (103, OLD), (Decimal(67), ELDER),
        ("67 y", ELDER), ("67y", ELDER), ("67 years", ELDER), ("67 yo", ELDER),
        ("67 Years Old", ELDER), ("67-year-old", ELDER), ("67,5", ELDER),
        ("67 Jahre", ELDER), ("067Y", ELDER), ("1 year", CHILD), ("6 months", CHILD),
        ("300 months", "18 to 39 years"), ("006M", CHILD), ("10 days", CHILD), ("010D", CHILD), ("3 wks", CHILD),
        ("90+", OLD), ("> 89", OLD), (">89", OLD), ("≥90", OLD), ("over 89", OLD), ("90 or over", OLD),
        ("90 and older", OLD), ("89+ years", OLD), ("> 89 years", OLD), ("< 1", CHILD), ("under 18", CHILD),
        ("70-79", ELDER), ("40 to 49", "40 to 64 years"), ("40-49 years", "40 to 64 years"),
    ],
)  # fmt: skip
def test_an_age(value: Any, band: str) -> None:
    assert age_band(value) == band


@pytest.mark.parametrize(
    "value",
    [-1, 121, 300, 1957, float("inf"), True, "1957", "6 m", "60+", "> 65", "under 30", "60-69", "sixty", "67/F",
     "1957-03-02", "67 stone", "12 67", "999"],
)  # fmt: skip
def test_an_age_that_is_not_read(value: Any) -> None:
    assert age_band(value) is None and not is_missing(value)


def test_a_number_beyond_the_floats_is_no_age() -> None:
    assert age_band(10**400) is None


@pytest.mark.parametrize(
    "value",
    [None, float("nan"), "", "  ", "NaN", "NULL", "None", "N/A", "#N/A", "unknown", "Unk", "U", "-", "?", "TBD",
     "Not specified", "not known"],
)  # fmt: skip
def test_what_is_missing_is_not_read_and_not_counted(value: Any) -> None:
    assert is_missing(value) and sex(value) is None and age_band(value) is None


def test_what_is_missing_in_one_column_need_not_be_in_another() -> None:
    """U may identify a patient, and `anonymous` is no sex that is not known, but one that cannot be read."""
    assert is_missing("U") and not is_missing("anonymous") and sex("anonymous") is None
    assert normal_identifier("u") == "u" and normal_identifier("Anonymous") == ""
