"""Dates of a text moved by whole weeks, in the form in which they are written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, timedelta
from typing import NamedTuple

_ENGLISH = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
            "november", "december")  # fmt: skip
_GERMAN = ("januar", "februar", "märz", "april", "mai", "juni", "juli", "august", "september", "oktober", "november",
           "dezember")  # fmt: skip
_NAMES = {
    **{name[:3]: (number, tuple(each[:3] for each in _ENGLISH)) for number, name in enumerate(_ENGLISH, 1)},
    "sept": (9, tuple(each[:3] for each in _ENGLISH)),
    **{form: (number, _GERMAN) for form, number in (("mai", 5), ("okt", 10), ("dez", 12), ("mrz", 3))},
    **{name: (number, _GERMAN) for number, name in enumerate(_GERMAN, 1)},
    **{name: (number, _ENGLISH) for number, name in enumerate(_ENGLISH, 1)},
}
_AS_LATIN = str.maketrans("İıſ", "iis")  # letters that an expression takes for these where it ignores capitals
_MONTH_NAME = re.compile(rf"(?<![^\W\d_])(?:{'|'.join(sorted(_NAMES, key=len, reverse=True))})(?![^\W\d_])", re.I)
_NUMBER = re.compile(r"\d{1,4}")
_ORDINAL = re.compile(r"(?:st|nd|rd|th)\b", re.I)
_NUMERIC = re.compile(r"(\d{1,2})([/.-]) ?(\d{1,2})\2 ?(?:\d{4}|\d\d)")
_WHOLE = re.compile(r"(?<!\d)(?:1[89]|20)\d\d(?!\d)")
_MIDDLE = 15  # day of a date that has none
_PIVOT = 30  # of years of two digits: 30 is 2030, 31 is 1931


class DateReading(NamedTuple):
    """What the texts of a patient tell of dates that do not tell it: whether the day stands before the month, and the
    year of those without one."""

    day_first: bool = False
    year: int = 2020


def date_reading(dates: Iterable[str]) -> DateReading:
    """How the dates of a patient are read, given all of them."""
    orders: list[bool] = []
    years: list[int] = []
    for text in dates:
        if (match := _NUMERIC.fullmatch(text)) and match[2] != ".":
            first, second = int(match[1]), int(match[3])
            orders += [first > 12] if (first > 12) != (second > 12) else []
        years += [int(year) for year in _WHOLE.findall(text)]
    return DateReading(sum(orders) * 2 > len(orders), max(years, default=DateReading().year))


class _Part(NamedTuple):
    start: int
    end: int
    kind: str  # year, month, day, or name of a month


def shifted(text: str, weeks: int, reading: DateReading) -> str | None:
    """A date, moved; None where it cannot be read.

    Args:
        text: a date with or without year or day, as a note writes it.
        weeks: to move it by; negative into the past.
        reading: of the dates of the patient.
    """
    parts = _parts(text, reading)
    if parts is None or len({part.kind for part in parts}) < len(parts):
        return None
    values = {part.kind: _value(text, part) for part in parts}
    month = values.get("month", values.get("name", 0))
    try:
        day = date(values.get("year", reading.year), month, values.get("day", _MIDDLE)) + timedelta(weeks=weeks)
    except (ValueError, OverflowError):
        return None
    zeros = any(text[part.start] == "0" and part.end - part.start == 2 and part.kind != "year" for part in parts)
    result, last = "", 0
    for part in parts:
        result += text[last : part.start] + _written(text[part.start : part.end], part.kind, day, zeros)
        last = part.end
        if part.kind == "day" and (ordinal := _ORDINAL.match(text, last)):
            result += _ordinal(day.day, ordinal[0])
            last = ordinal.end()
    return result + text[last:]


def _parts(text: str, reading: DateReading) -> list[_Part] | None:
    """Year, month and day in their order."""
    body = text.partition("T")[0] if re.match(r"\d{4}-", text) else text
    numbers = [match.span() for match in _NUMBER.finditer(body)]
    name = _MONTH_NAME.search(body)
    if name:
        return _beside_name(body, name.span(), numbers)
    if any(unit in body for unit in "년월일"):
        kinds = {"년": "year", "월": "month", "일": "day"}
        return [_Part(*span, kinds[body[span[1]]]) for span in numbers if body[span[1] : span[1] + 1] in kinds] or None
    if len(numbers) not in (2, 3) or re.search(r"[^\W\d_]", body):
        return None
    sizes = [end - start for start, end in numbers]
    first, second = (int(body[start:end]) for start, end in numbers[:2])
    if sizes[0] == 4:
        order = ["year", "month", "day"]
    elif len(numbers) == 2 and sizes[1] == 4:
        order = ["month", "year"]
    else:
        separator = body[numbers[0][1] : numbers[1][0]].strip()
        day_first = first > 12 or (second <= 12 and (separator == "." or reading.day_first))
        order = ["day", "month", "year"] if day_first else ["month", "day", "year"]
    return [_Part(*span, kind) for span, kind in zip(numbers, order, strict=False)]


def _beside_name(text: str, name: tuple[int, int], numbers: list[tuple[int, int]]) -> list[_Part] | None:
    """The parts of a date whose month is written in letters."""
    parts = [_Part(*name, "name")]
    for start, end in numbers:
        days = [part for part in parts if part.kind == "day"]
        alone = len(numbers) == 1 and start > name[1] and text[name[1] : start] in ("-", "/")
        is_year = end - start == 4 or text[start - 1 : start] in ("'", "’") or int(text[start:end]) > 31
        parts.append(_Part(start, end, "year" if is_year or days or alone else "day"))
    return sorted(parts)


def _value(text: str, part: _Part) -> int:
    written = text[part.start : part.end]
    if part.kind == "name":
        return _named(written)[0]
    if part.kind == "year" and len(written) < 3:
        return _full_year(int(written))
    return int(written)


def _named(month: str) -> tuple[int, tuple[str, ...]]:
    """Number of a month, and the names of all in its language and length."""
    return _NAMES[month.translate(_AS_LATIN).lower()]


def _full_year(short: int) -> int:
    return short + (2000 if short <= _PIVOT else 1900)


def _written(old: str, kind: str, day: date, zeros: bool) -> str:
    if kind == "name":
        new = _named(old)[1][day.month - 1]
        return new.upper() if old.isupper() else new if old.islower() else new.capitalize()
    if kind == "year":
        short = len(old) < 3 and _full_year(day.year % 100) == day.year
        return f"{day.year % 100:02}" if short else str(day.year)
    return f"{day.month if kind == 'month' else day.day:0{2 if zeros else 1}}"


def _ordinal(day: int, like: str) -> str:
    suffix = "th" if 10 < day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return suffix.upper() if like.isupper() else suffix
