"""Cron expressions of six fields as the controller of KFP's schedules reads them (robfig/cron): checked, and their next
times."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, product
from zoneinfo import ZoneInfo

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_YEARS = 5  # after which the controller gives up


@dataclass(frozen=True)
class _Field:
    """A field: name, lowest and highest value, and the names that stand for its values from the lowest on."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("weekday", 0, 6, _WEEKDAYS),
)


class Cron:
    """A cron expression.

    Raises:
        ValueError: not six fields, a value that is impossible in its field, or no such time in five years.
    """

    def __init__(self, expression: str) -> None:
        parts = expression.split()
        if len(parts) != len(_FIELDS):
            raise ValueError("give six fields: second, minute, hour, day, month, weekday")
        self.expression = " ".join(parts)
        values = [_values(part, field) for part, field in zip(parts, _FIELDS, strict=True)]
        seconds, minutes, hours, self._days, self._months, self._weekdays = values
        self._times = [time(*clock) for clock in product(sorted(hours), sorted(minutes), sorted(seconds))]
        self._either = not any(re.search(r"[*?]", part) for part in (parts[3], parts[5]))
        if not any(self._dates(datetime.now(UTC).date())):
            raise ValueError(f"'{self.expression}' never comes: its day is not in its month")

    def next_times(self, after: datetime, zone: ZoneInfo, count: int) -> list[datetime]:
        """The next times after a point in time, at most `count`, in a time zone."""
        start = after.astimezone(zone)
        local = (datetime.combine(day, clock, zone) for day in self._dates(start.date()) for clock in self._times)
        exists = (when for when in local if when.astimezone(UTC).astimezone(zone).time() == when.time())
        return list(islice((when for when in exists if when > start), count))

    def _dates(self, start: date) -> Iterator[date]:
        """The days that it names, for five years. One that restricts day and weekday means either, as in cron(8)."""
        for number in range(365 * _YEARS + 2):
            day = start + timedelta(days=number)
            in_month, in_week = day.day in self._days, day.isoweekday() % 7 in self._weekdays
            if day.month in self._months and (in_month or in_week if self._either else in_month and in_week):
                yield day


def _values(part: str, field: _Field) -> set[int]:
    return {value for item in part.split(",") for value in _range(item, part, field)}


def _range(item: str, part: str, field: _Field) -> range:
    """The values of one item of a field: `*`, `?`, 3, 1-5, */2, 5/10, MON."""
    invalid = f"{field.name} '{part}' is not in {field.low} to {field.high}, a range from low to high or a step"
    match = re.fullmatch(r"(?:[*?]|(\w+)(?:-(\w+))?)(?:/([1-9][0-9]*))?", item, re.ASCII)
    if not match:
        raise ValueError(invalid)
    first, last, step = match.groups()
    low = _value(first, field, invalid) if first else field.low
    high = _value(last, field, invalid) if last else low if first and not step else field.high
    if low > high:
        raise ValueError(f"{field.name} '{part}': write a range from low to high, or two ranges with a comma")
    if step and int(step) > field.high - field.low:
        raise ValueError(
            f"{field.name} '{part}': a step of {step} is too long for values of {field.low} to {field.high}"
        )
    return range(low, high + 1, int(step or 1))


def _value(text: str, field: _Field, invalid: str) -> int:
    if text.upper() in field.names:
        return field.low + field.names.index(text.upper())
    if not text.isdecimal() or not field.low <= int(text) <= field.high:
        raise ValueError(invalid)
    return int(text)
