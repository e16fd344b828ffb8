"""Times of day, days of the week and titers, which are no quantities: 19:55, half past three; Sunday; 1:32."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clinadapt.clinical.claims.checked import CheckedClaim, verdict
from clinadapt.clinical.claims.kinds import Claim
from clinadapt.clinical.claims.reading import Reading
from clinadapt.clinical.number_words import FIRST_WORD, NUMBER_WORD_VALUES

_HALF_DAY = 12 * 60  # minutes
_CLOCK = re.compile(
    r"(?<![\d:.,])(?:(?P<h>[01]?\d|2[0-3]):(?P<m>[0-5]\d)(?![\d:])|(?P<h4>[01]\d|"
    r"2[0-3])(?P<m4>[0-5]\d)(?= ?(?:h|hrs|hours)\b)"
    rf"|(?P<h12>1[0-2]|0?[1-9]|{FIRST_WORD})(?= ?(?:a\.?m\b|p\.?m\b|o['’]clock)))"
    rf"|\b(?:(?P<half>half)|(?P<quarter>quarter)) past (?P<past>1[0-2]|[1-9]|{FIRST_WORD})\b"
)
_WITHOUT_COLON = re.compile(
    r"(?<![\d/.,-])(?P<h4>[01]\d|2[0-3])(?P<m4>[0-5]\d)(?![\d/-]|[.,]\d|\s*(?:m[lg]|units?|kcal|g)\b)"
)
_WEEKDAY = re.compile(r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)days?\b", re.IGNORECASE)
_SHORT_WEEKDAY = re.compile(r"\b(?:Mon|Tues?|Wed|Thu(?:rs?)?|Fri|Sat|Sun)\b")
_RANGE_OF_DAYS = re.compile(r"\b(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?(?: to | through | and |/| ?[-–] ?)(?=[mtwfs])")
_TITER = re.compile(r"(?<![\d:])1:(\d{1,3}(?:,\d{3})+|\d+)(?![\d:])")


def check_clock_times(stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    """Times of day, where the note tells any."""
    said = clock_times(source) if _CLOCK.search(stated.lower) else []
    for start, end, minutes in clock_times(stated):
        bare = [m for m in _WITHOUT_COLON.finditer(source.lower) if _minutes(m) == minutes]
        fits = [(s, e) for s, e, m in said if m == minutes] or [m.span() for m in bare]
        if not said and not fits:  # the note tells of no time of day
            continue
        claim = Claim("date", start, end, f"at {minutes // 60:02}:{minutes % 60:02}")
        yield verdict(claim, fits, [(s, e) for s, e, _ in said])


def check_weekdays(stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    """Days of the week, where the note names any, and no range of them."""
    named = [m.span() for m in _WEEKDAY.finditer(stated.text)]
    if not named or not _WEEKDAY.search(source.text) or _RANGE_OF_DAYS.search(source.lower):
        return
    said = [m for pattern in (_WEEKDAY, _SHORT_WEEKDAY) for m in pattern.finditer(source.text)]
    for start, end in named:
        day = stated.lower[start : start + 3]
        fits = [m.span() for m in said if m[0][:3].lower() == day]
        yield verdict(Claim("date", start, end, f"on {day}"), fits, [m.span() for m in said])


def check_titers(stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    said = [(m.span(), m[1].replace(",", "")) for m in _TITER.finditer(source.lower)]
    for match in _TITER.finditer(stated.lower):
        value = match[1].replace(",", "")
        claim = Claim("number", *match.span(), f"1:{value}")
        yield verdict(claim, [span for span, own in said if own == value], [span for span, _ in said])


def clock_times(reading: Reading) -> list[tuple[int, int, int]]:
    """(start, end, minutes since midnight or noon)"""
    return [
        (*match.span(), _minutes(match)) for match in _CLOCK.finditer(reading.lower) if not match[0].startswith("1:")
    ]


def _minutes(match: re.Match[str]) -> int:
    parts = match.groupdict()
    hour = parts.get("h") or parts["h4"] or parts.get("h12") or parts.get("past") or "0"
    hours = int(hour) if hour.isdigit() else int(NUMBER_WORD_VALUES[hour])
    minutes = int(parts.get("m") or parts["m4"] or 0) or (
        30 if parts.get("half") else 15 if parts.get("quarter") else 0
    )
    return (60 * hours + minutes) % _HALF_DAY
