"""Numbers with units of mass, volume or time."""

from __future__ import annotations

import re

from clinadapt.clinical.dates import date_mentions
from clinadapt.clinical.mention import Mention, ascii_lower

_WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
          "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]  # fmt: skip
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_VALUES = {word: str(value) for value, word in enumerate(_WORDS, start=1)} | {"once": "1", "twice": "2", "thrice": "3"}
_VALUES |= {
    f"{ten}{hyphen}{unit}": str(10 * tens + units)
    for tens, ten in enumerate(_TENS, start=2)
    for units, unit in enumerate(["", *_WORDS[:9]])
    for hyphen in (("-", " ") if unit else ("",))
}
_ALTERNATIVES = "|".join(sorted(_VALUES, key=len, reverse=True))
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
    rf"(?P<value>\d{{1,3}}(?:,\d{{3}})+(?!\d)|\d+(?:\.\d+)?|(?<!\w)\.\d+|\b(?:{_ALTERNATIVES})\b)"
    rf"(?P<other>\s*(?:-|–|/|to|or|and)\s*(?=\d))?(?:[\s-]{{0,2}}(?:{_UNIT})(?![a-z]))?"
)
_SHORT_DURATION = re.compile(r"(?<![\d/.])(?P<value>\d{1,2})/(?P<unit>7|52|12)(?![\d/])")  # 3/7 is three days
_SHORT_UNITS = {"7": "day", "52": "week", "12": "month"}
_CODE = re.compile(r"[A-Za-z][-–]?$")  # L5, T-4: part of a name


def numbers(text: str) -> set[str]:
    """Normalized numbers of a text, with their unit of mass, volume or time if there is one.

    "55-year-old" gives `55 year`, "two tablets" `2`, "5-10 mg" `5 mg` and `10 mg`, "3/7" `3 day`. Excluded are digits
    of dates and of names (L5), and the pronoun "one".
    """
    return {mention.value for mention in number_mentions(text)}


def number_mentions(text: str, include_codes: bool = False) -> list[Mention]:
    """Numbers in text order; values as in `numbers`.

    Args:
        text: any text.
        include_codes: also return the numbers in names such as L5, and the pronoun "one".
    """
    dates = date_mentions(text)
    mentions = [
        Mention(*match.span(), f"{int(match['value'])} {_SHORT_UNITS[match['unit']]}")
        for match in _SHORT_DURATION.finditer(text)
    ]
    taken = [(start, end) for start, end, _ in (*dates, *mentions)]
    pending: list[tuple[int, int, str]] = []  # of a range whose unit follows: 5-10 mg
    for match in _NUMBER.finditer(ascii_lower(text)):
        start, end = match.span()
        if any(first < end and start < last for first, last in taken):
            continue
        value = match["value"]
        unit = next((name for name in _UNITS if match[name]), "")
        is_pronoun = value == "one" and not unit
        is_code = value[0].isdigit() and _CODE.search(text[max(0, start - 2) : start])
        if not include_codes and (is_pronoun or is_code):
            continue
        value = _VALUES.get(value) or _plain_decimal(value)
        if match["other"]:
            pending.append((start, end, value))
            continue
        mentions += [Mention(s, e, f"{v} {unit}".rstrip()) for s, e, v in [*pending, (start, end, value)]]
        pending = []
    return sorted(mentions + [Mention(*number) for number in pending])


def _plain_decimal(value: str) -> str:
    """Normalize digits: `2.0` to `2`, `1,000` to `1000`, `07` to `7`."""
    integer, _, decimals = value.replace(",", "").partition(".")
    decimals = decimals.rstrip("0")
    return (integer.lstrip("0") or "0") + (f".{decimals}" if decimals else "")
