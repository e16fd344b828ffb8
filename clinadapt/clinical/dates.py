"""Date mentions, normalized to ISO 8601."""

from __future__ import annotations

import re
from datetime import date

from clinadapt.clinical.mention import ASCII_LOWER, Mention

MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MONTH = r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"  # noqa: E501
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_DATES = [
    re.compile(pattern)
    for pattern in (
        r"\b(?P<year>\d{4})-(?P<number>\d{1,2})-(?P<day>\d{1,2})\b",
        r"(?<![\d/])(?P<number>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4}|\d{2})(?![\d/])",
        r"(?<![\d-])(?P<number>\d{1,2})-(?P<day>\d{1,2})-(?P<year>\d{4})(?![\d-])",
        r"(?<![\d.])(?P<day>\d{1,2})\.(?P<number>\d{1,2})\.(?P<year>\d{4})(?!\d)",
        r"(?<![\d.])(?P<day>\d{2})\.(?P<number>\d{2})\.(?P<year>\d{2})(?!\.?\d)",
        rf"\b{_MONTH}\s+{_DAY}(?:,?\s+(?P<year>\d{{4}}))?\b(?![.:]\d)",
        rf"\b{_DAY}[\s-](?:of\s+)?{_MONTH}(?:,?[\s-](?P<year>\d{{4}}))?\b",
        rf"\b{_MONTH}(?:\s+of)?,?\s+(?P<year>\d{{4}})\b",
        r"(?<![\d/])(?P<number>0?[1-9]|1[0-2])/(?P<year>(?:19|20)\d{2})(?![\d/])",
        r"(?:(?<=\bin )|(?<=\bsince )|(?<=\buntil )|(?<=\bdated ))"
        r"(?P<number>0?[1-9]|1[0-2])/(?P<year>[0-2]\d|[7-9]\d)(?![\d/])",
        r"(?<=\bfrom )(?P<number>0?[1-9]|1[0-2])/(?P<year>[7-9]\d)(?![\d/])",  # 8/10 is a score
    )
]

_FIGURES = re.compile(r"\d[/.-]\d")  # without it no date in figures, without a month's name none in words
_MONTH_NAME = re.compile(rf"\b{_MONTH}[\s,]|\d(?:st|nd|rd|th)?[\s-](?:of\s+)?{_MONTH.replace('?P<month>', '?:')}")
_MONTH_FIRST = _DATES[1:3]
_DAY_BEFORE = re.compile(rf"\b{_DAY}[\s-](?:of\s+)?{_MONTH}(?![a-z])(?<!may)")  # not "2 margins", "2 may be"
_DAY_AFTER = re.compile(rf"\b{_MONTH}\s+{_DAY}\b(?!\d)")
_TWO_PARTS = re.compile(r"(?<![\d/-])(\d{1,2})([/-])(\d{1,2})\2(?:\d{4}|\d{2})(?![\d/-])")


def dates(text: str) -> set[str]:
    """Dates of a text: `2009-03-14`, `2009-03`, or `--03-14` without a year. Two-digit years from 70 are 19xx."""
    return {mention.value for mention in date_mentions(text)}


def date_mentions(text: str) -> list[Mention]:
    """Dates in text order; values as in `dates`.

    03/04/2021 is March 4, but April 3 in a text whose dates begin with the day, see `begin_with_day`.
    """
    lower = text.translate(ASCII_LOWER)
    mentions: list[Mention] = []
    taken = bytearray(len(lower))
    figures, month = _FIGURES.search(lower), _MONTH_NAME.search(lower)
    day_first = bool(figures) and begin_with_day(lower)
    for pattern in _DATES:
        if not (month if "month" in pattern.groupindex else figures):
            continue
        for match in pattern.finditer(lower):
            start, end = match.span()
            if any(taken[start:end]):
                continue
            for day in _iso_dates(match.groupdict(), day_first and pattern in _MONTH_FIRST):
                mentions.append(Mention(start, end, day))
                taken[start:end] = b"\1" * (end - start)
    return sorted(mentions)


def begin_with_day(lower: str) -> bool:
    """Whether the dates of a text in lower case begin with the day: those in figures, as 14/11/2021 must; where they
    do not tell, those with a month's name."""
    parts = [(int(first), int(second)) for first, _, second in _TWO_PARTS.findall(lower)]
    if any(first > 12 or second > 12 for first, second in parts):
        return any(first > 12 >= second for first, second in parts) and all(second <= 12 for _, second in parts)
    return bool(_DAY_BEFORE.search(lower)) and not _DAY_AFTER.search(lower)


def _iso_dates(groups: dict[str, str | None], day_first: bool) -> list[str]:
    """ISO 8601 date of a match; empty when the calendar has no such day."""
    if day_first:
        groups = {**groups, "number": groups["day"], "day": groups["number"]}
    month = int(groups.get("number") or 0) or MONTHS.index((groups.get("month") or "")[:3].lower()) + 1
    year = groups.get("year")
    if year and len(year) == 2:
        year = ("19" if year >= "70" else "20") + year
    day = int(groups.get("day") or 0)
    try:
        date(int(year or 2000), month, day or 1)  # 2000 has 29 February
    except ValueError:
        return []
    return [f"{year or '-'}-{month:02}" + (f"-{day:02}" if day else "")]


def less_precise(day: str) -> set[str]:
    """A date and its less precise forms: `2009-03-14` -> also `2009-03` and `--03-14`."""
    year, month, day_of_month = day[:-6], day[-5:-3], day[-2:]
    is_full = re.fullmatch(r"\d{4}-\d\d-\d\d", day)
    return {day, f"{year}-{month}", f"--{month}-{day_of_month}"} if is_full else {day}
