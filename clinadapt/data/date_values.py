"""Dates as the columns of tables have them."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any

_FORMATS = ("%Y/%m/%d", "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%d.%m.%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S",
            "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%B-%Y", "%b %d, %Y", "%B %d, %Y", "%Y%m%d",
            "%Y%m%d%H%M%S")  # fmt: skip
_BY_SLASH = re.compile(r"(\d{1,2})[/-](\d{1,2})[/-](\d{4})(?:[ T](\d{1,2}):(\d{2})(?::(\d{2}))?)?(?: ?([AaPp])[Mm])?")


def read_date(value: Any, form: str = "") -> datetime | None:
    """A date, in UTC where its zone is known, without a zone; None where it cannot be read for certain.

    Args:
        value: a date or a text; 3/4/2024, which may be in March or in April, is not read without its format.
        form: format of strptime; the usual ones when empty.
    """
    if isinstance(value, datetime):
        return _naive(value)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if form:
        return _parsed(text, form)
    if match := _BY_SLASH.fullmatch(text):
        return _by_slash(match)
    try:
        return _naive(datetime.fromisoformat(text))
    except ValueError:
        return next((when for usual in _FORMATS if (when := _parsed(text, usual))), None)


def _naive(when: datetime) -> datetime:
    with suppress(OverflowError):  # in the first or the last year of the calendar
        when = when.astimezone(UTC) if when.tzinfo else when
    return when.replace(tzinfo=None, microsecond=0)


def _parsed(text: str, form: str) -> datetime | None:
    try:
        return _naive(datetime.strptime(text, form))
    except ValueError:
        return None


def _by_slash(match: re.Match[str]) -> datetime | None:
    *numbers, half = match.groups()
    one, two, year, hour, minute, second = (int(part or 0) for part in numbers)
    if one != two and max(one, two) <= 12:
        return None
    if half:
        hour = hour % 12 + 12 * (half in "Pp") if 1 <= hour <= 12 else 24  # 24: an hour that is none
    month, day = (one, two) if two > 12 else (two, one)
    try:
        return datetime(year, month, day, hour, minute, second)
    except ValueError:
        return None
