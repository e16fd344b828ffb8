"""Cron expressions: what never comes is refused, what comes is computed as the controller of KFP does."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from pipelines.cron import Cron

NOW = datetime(2026, 11, 29, 4, 11, tzinfo=UTC)  # a Sunday


@pytest.mark.parametrize(
    ("cron", "what"),
    [
        ("0 0 2 30 2 *", "never comes"),
        ("0 0 2 31 FEB,APR,JUN,SEP,NOV ?", "never comes"),
        ("0 */90 * * * *", "minute '*/90': a step of 90 is too long"),
        ("0 0 */24 * * *", "hour '*/24'"),
        ("0 0 MON * * *", "hour 'MON' is not in 0 to 23"),
        ("0 0 2 * * JAN", "weekday 'JAN' is not in 0 to 6"),
        ("0 0 2 * MON *", "month 'MON'"),
        ("0 0 2 * * FRI-MON", "weekday 'FRI-MON': write a range from low to high, or two ranges"),
        ("0 0 22-6 * * *", "hour '22-6': write a range"),
        ("0 0 2 * * 7", "weekday '7'"),
        ("0 0 2 0 * *", "day '0'"),
        ("0 0 2 L * *", "day 'L'"),
        ("0 0 2 * * */0", "weekday '*/0'"),
        ("0 0 2, * * *", "hour '2,'"),
        ("0 0 \u0662 * * *", "hour"),
        ("0 2 * * 0", "give six fields"),
        ("@weekly", "give six fields"),
    ],
)
def test_what_is_impossible_is_refused(cron: str, what: str) -> None:
    with pytest.raises(ValueError) as error:
        Cron(cron)
    assert what in str(error.value)


@pytest.mark.parametrize(
    ("cron", "zone", "times"),
    [
        ("0 0 2 * * 0", "UTC", ["2026-12-06T02:00:00", "2026-12-13T02:00:00", "2026-12-20T02:00:00"]),
        ("0 0,30 4-5 * * *", "UTC", ["2026-11-29T04:30:00", "2026-11-29T05:00:00", "2026-11-29T05:30:00"]),
        ("30 10/25 0 29 2 ?", "UTC", ["2028-02-29T00:10:30", "2028-02-29T00:35:30"]),
        ("0 0 0 13 * FRI", "UTC", ["2026-12-04T00:00:00", "2026-12-11T00:00:00", "2026-12-13T00:00:00"]),  # either
        ("0 0 0 */10 12 mon-tue", "UTC", ["2026-12-01T00:00:00", "2026-12-21T00:00:00"]),  # both
        ("0 0 2 * * *", "Asia/Seoul", ["2026-11-30T02:00:00", "2026-12-01T02:00:00"]),
        ("0 30 2 28-29 3 *", "Europe/Berlin", ["2027-03-29T02:30:00", "2028-03-28T02:30:00"]),  # not when clocks go on
    ],
)
def test_the_next_times(cron: str, zone: str, times: list[str]) -> None:
    found = Cron(cron).next_times(NOW, ZoneInfo(zone), len(times))
    assert [when.replace(tzinfo=None).isoformat() for when in found] == times
    assert all(when.tzinfo == ZoneInfo(zone) for when in found)
