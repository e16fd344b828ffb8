"""What processes have counted, read from the store and added up by day."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from clinadapt.artifacts.hashing import parse_json
from clinadapt.monitoring.aggregates import Aggregate
from clinadapt.monitoring.recorder import PREFIX
from clinadapt.storage.object_store import MAX_CONCURRENCY, CorruptObject, Entry, Store

CHECK = "check.json"  # beside the days: the result of the last check (clinadapt.registry.monitor)
_VERSION = re.compile("[A-Za-z0-9._-]{1,64}")
_LARGEST = 1_000_000  # bytes of an object; counts take a few thousand
_DAY = timedelta(days=1)
_BROKEN = (ValueError, KeyError, TypeError, AttributeError)


@dataclass(frozen=True)
class Use:
    """Counts of a version in use.

    Attributes:
        days: of each day with any, the oldest first.
        unreadable: objects that are broken, and are left out.
        off_clock: objects of a day that had not begun when they were written, or that ended before the version was
            published: the clock of their writer is off, and they are left out.
        others: other versions of the adapter -> last day that they were used.
    """

    days: dict[date, Aggregate]
    unreadable: int
    off_clock: int
    others: dict[str, date]


def read_use(
    store: Store, name: str, version: str, labels: tuple[str, ...], published: date, first: date, today: date
) -> Use:
    """Counts of a version from `first` to `today`.

    Args:
        store: to read.
        name, version: of the adapter.
        labels: that may be named.
        published: day on which the version was published (UTC).
        first, today: days (UTC).

    Raises:
        UserError: the store cannot be read.
    """
    off_clock = unreadable = 0
    wanted: list[tuple[date, Entry]] = []
    others: dict[str, date] = {}
    for entry in store.entries(f"{PREFIX}/{name}/"):
        owner, *rest = entry.key.split("/")[2:]
        if len(rest) != 2 or not _VERSION.fullmatch(owner):  # the result of a check, or not ours
            continue
        try:
            day = date.fromisoformat(rest[0])
        except ValueError:
            unreadable += owner == version
            continue
        if owner != version:
            if first <= day <= today:
                others[owner] = max(others.get(owner, day), day)
        elif day > min(today, entry.modified.astimezone(UTC).date()) + _DAY or day < published - _DAY:
            off_clock += 1
        elif first <= day:
            wanted.append((day, entry))
    totals: dict[date, Aggregate] = defaultdict(Aggregate)
    for day, total in _read(store, wanted, labels):
        if total is None:
            unreadable += 1
        else:
            totals[day] += total
    return Use(dict(sorted(totals.items())), unreadable, off_clock, others)


def _read(
    store: Store, wanted: list[tuple[date, Entry]], labels: tuple[str, ...]
) -> Iterator[tuple[date, Aggregate | None]]:
    """(day, counts) of each object; None for counts that are broken. An object deleted meanwhile is left out."""

    def read(entry: Entry) -> bytes | None:
        try:
            return store.get(entry.key)[0] if entry.size <= _LARGEST else b""
        except KeyError:
            return None
        except CorruptObject:
            return b""

    with ThreadPoolExecutor(MAX_CONCURRENCY) as pool:
        for (day, _), data in zip(wanted, pool.map(read, (entry for _, entry in wanted)), strict=True):
            if data is not None:
                try:
                    yield day, Aggregate.from_json(parse_json(data), labels)
                except _BROKEN:
                    yield day, None


def today_utc() -> date:
    """The day in UTC, as writers count by it."""
    return datetime.now(UTC).date()
