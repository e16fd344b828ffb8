"""Sex and age of a patient as columns of hospitals have them, and the bands of age that are kept instead of the age.

A value that can be read in two ways is not read: numbers for a sex, as 1 is male in ISO/IEC 5218 and female in other
codes, and an age in "m", which may be months. An age over 89 identifies somebody (45 CFR 164.514(b)(2)(i)(C)), so
sources write "90+" or "> 89": what is above 80 is one band.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

AGES = (0, 18, 40, 65, 80, 150)  # years: bounds of the bands
_OLDEST = 120  # years; a larger number is no age, but perhaps a year of birth
# Recorded sexes as they are written, without blanks and hyphens; `other` is what HL7 and FHIR record beside the two
_SEXES = {
    "female": ("f", "female", "woman", "girl", "w", "weiblich", "feminine"),
    "male": ("m", "male", "man", "boy", "männlich", "masculine"),
    "other": (
        "other", "o", "x", "diverse", "divers", "nonbinary", "nichtbinär", "intersex", "inter", "indeterminate",
        "undifferentiated", "ambiguous",
    ),
}  # fmt: skip
_SEX = {word: sex for sex, words in _SEXES.items() for word in words}
# What stands for a value that is not known, without blanks and punctuation: `#N/A` is na
_MISSING = {
    "", "nan", "nat", "none", "null", "na", "unknown", "unk", "missing", "notavailable", "notknown", "notrecorded",
    "notspecified", "notstated", "unspecified", "tbd",
}  # fmt: skip
_PER_YEAR = {"year": 1.0, "month": 12.0, "week": 52.18, "day": 365.25}
_NUMBER = r"(?P<number>\d{1,3}(?:[.,]\d+)?)"
_UNITS = (
    r"(?:(?P<year>y|yo|y/o|yr|yrs|year|years|j|jahre)|(?P<month>mo|mos|month|months|monate)|(?P<week>wk|wks|week|weeks)"
    r"|(?P<day>d|day|days|tage))"
)
_AGE = re.compile(rf"{_NUMBER}(?:[\s-]?{_UNITS})?(?:[\s-](?:old|alt))?")
_DICOM_AGE = re.compile(r"(?P<number>\d{3})(?:(?P<year>y)|(?P<month>m)|(?P<week>w)|(?P<day>d))")  # value type AS
_ABOVE = re.compile(r"(?:>=?|≥|over|above) ?(\d{2,3})|(\d{2,3}) ?(?:\+|(?:and|or) (?:over|above|older|more))")
_BELOW = re.compile(r"(?:<|under|below) ?(\d{1,2})")
_RANGE = re.compile(r"(\d{1,3}) ?(?:-|–|to) ?(\d{1,3})")


def is_missing(value: Any, also: str = "u") -> bool:
    """Whether a value stands for one that is not known. `also` is one more word for that, in the column at hand: U of a
    sex or an age, which may be the identifier of a patient."""
    word = re.sub(r"[\W_]+", "", _words(value))
    return word in _MISSING or word == also


def sex(value: Any) -> str | None:
    """`female`, `male`, or `other` for a recorded one that is neither; None where a value cannot be read."""
    return _SEX.get(re.sub(r"[\s-]", "", _words(value))) if isinstance(value, str) else None


def age_band(value: Any) -> str | None:
    """The band that an age is in, such as `40 to 64 years`: a number of years, or as in "67 y", "6 months", "067Y",
    "90+" or "> 89"; a range where one band holds all of it. None where a value cannot be read."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return _age_band(value)  # an int may be too large for a float
    text = _words(value)
    if found := _DICOM_AGE.fullmatch(text) or _AGE.fullmatch(text):
        unit = next((unit for unit in _PER_YEAR if found[unit]), "year")
        return _age_band(float(found["number"].replace(",", ".")) / _PER_YEAR[unit])
    return _band_of_bounds(re.sub(r" ?(?:years?|yrs?|y)$", "", text))


def _age_band(years: float) -> str | None:
    return band(years, AGES, "years") if 0 <= years <= _OLDEST else None


def _band_of_bounds(text: str) -> str | None:
    """The band that holds all ages of "90+", "< 1" or "70-79"; None where there is none."""
    if found := _ABOVE.fullmatch(text):
        lowest = float(found[1] or found[2])
        return _age_band(lowest) if lowest >= AGES[-2] else None
    if found := _BELOW.fullmatch(text):
        return _age_band(0) if float(found[1]) <= AGES[1] else None
    if found := _RANGE.fullmatch(text):
        low, high = (_age_band(float(end)) for end in found.groups())
        return low if low == high else None
    return None


def band(number: float | None, bounds: Sequence[int], unit: str) -> str | None:
    """The band that a number is in: `under 18 years`, `18 to 39 years`, `80 years and more`."""
    for position, (low, high) in enumerate(pairwise(bounds)):
        if number is not None and low <= number < high:
            if not position:
                return f"under {high} {unit}"
            return f"{low} {unit} and more" if high == bounds[-1] else f"{low} to {high - 1} {unit}"
    return None


def _words(value: Any) -> str:
    """A value in lower case, without blanks around it and a full stop behind it."""
    return " ".join(unicodedata.normalize("NFKC", str(value)).casefold().split()).strip(". ")
