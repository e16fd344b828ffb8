"""Numbers of a text with their units."""

from __future__ import annotations

import re

from clinadapt.clinical.dates import date_mentions
from clinadapt.clinical.mention import _LOWER, Mention

_WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


_VALUES = {word: str(value) for value, word in enumerate(_WORDS, start=1)} | {"once": "1", "twice": "2", "thrice": "3"}


_UNITS = {
    "mg": r"mg|mgs|milligrams?",
    "mcg": r"mcg|µg|μg|ug|micrograms?",
    "g": r"g|gm|gms|grams?",
    "kg": r"kg|kgs|kilograms?|kilos?",
    "mL": r"ml|mls|cc|ccs|milliliters?|millilitres?",
    "L": r"l|liters?|litres?",
    "unit": r"units?|iu",
    "mEq": r"meq",
    "pound": r"pounds?|lbs?",
    "minute": r"minutes?|mins?",
    "hour": r"hours?|hrs?|h",
    "day": r"days?",
    "week": r"weeks?|wks?",
    "month": r"months?|mos?",
    "year": r"years?|yrs?|y\.?o|y/o",
}


_UNIT = "|".join(f"(?P<{name}>{pattern})" for name, pattern in _UNITS.items())


_NUMBER = re.compile(
    rf"(?P<value>\d{{1,3}}(?:,\d{{3}})+(?!\d)|\d+(?:\.\d+)?|(?<!\w)\.\d+|\b(?:{'|'.join(_VALUES)})\b)"
    rf"(?P<other>\s*(?:-|–|/|to|or|and)\s*(?=\d))?(?:[\s-]{{0,2}}(?:{_UNIT})(?![a-z]))?"
)


_CODE = re.compile(r"[A-Za-z][-–]?$")  # L5, T-4: a name rather than a number


def numbers(text: str) -> set[str]:
    """Numbers that are no part of a date or of a name (L5), with their unit of mass, volume or time where they have
    one: "55-year-old" is "55 year", "two tablets" is "2", "5-10 mg" is "5 mg" and "10 mg". The pronoun "one" is none.
    """
    return {fact for _, _, fact in _numbers(text, codes=False)}


def _numbers(text: str, codes: bool) -> list[Mention]:
    days = date_mentions(text)
    found: list[Mention] = []
    pending: list[tuple[int, int, str]] = []  # of a range whose unit follows: 5-10 mg
    for match in _NUMBER.finditer(text.translate(_LOWER)):
        start, end = match.span()
        if any(day.start < end and start < day.end for day in days):
            continue
        value = match["value"]
        unit = next((name for name in _UNITS if match[name]), "")
        pronoun = value == "one" and not unit
        if not codes and (pronoun or (value[0].isdigit() and _CODE.search(text[max(0, start - 2) : start]))):
            continue
        value = _VALUES.get(value) or _plain(value)
        if match["other"]:
            pending.append((start, end, value))
            continue
        found += [Mention(s, e, f"{v} {unit}".rstrip()) for s, e, v in [*pending, (start, end, value)]]
        pending = []
    return found + [Mention(*left) for left in pending]


def _plain(value: str) -> str:
    """2.0 is 2, 1,000 is 1000, 07 is 7."""
    whole, _, decimals = value.replace(",", "").partition(".")
    decimals = decimals.rstrip("0")
    return (whole.lstrip("0") or "0") + (f".{decimals}" if decimals else "")
