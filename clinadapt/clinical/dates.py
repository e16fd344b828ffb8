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
        rf"\b{_MONTH}\s+{_DAY}(?:,?\s+(?P<year>\d{{4}}))?\b(?![.:]\d)",
        rf"\b{_DAY}[\s-](?:of\s+)?{_MONTH}(?:,?[\s-](?P<year>\d{{4}}))?\b",
        rf"\b{_MONTH}(?:\s+of)?,?\s+(?P<year>\d{{4}})\b",
        r"(?<![\d/])(?P<number>0?[1-9]|1[0-2])/(?P<year>(?:19|20)\d{2})(?![\d/])",
    )
]


def dates(text: str) -> set[str]:
    """Dates of a text: `2009-03-14`, `2009-03`, or `--03-14` without a year. Two-digit years from 70 are 19xx."""
    return {mention.value for mention in date_mentions(text)}


def date_mentions(text: str) -> list[Mention]:
    """Dates in text order; values as in `dates`."""
    lower = text.translate(ASCII_LOWER)
    mentions: list[Mention] = []
    for pattern in _DATES:
        for match in pattern.finditer(lower):
            if all(match.end() <= start or end <= match.start() for start, end, _ in mentions):
                mentions += [Mention(*match.span(), day) for day in _iso_dates(match.groupdict())]
    return sorted(mentions)


def _iso_dates(groups: dict[str, str | None]) -> list[str]:
    """ISO 8601 date of a match; empty when the calendar has no such day."""
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
