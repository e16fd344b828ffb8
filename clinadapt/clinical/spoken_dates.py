"""Dates as they are spoken, which transcripts write in words: "the twenty fifth of September in ninety two"."""

from __future__ import annotations

import re
from datetime import date

from clinadapt.clinical.dates import MONTHS
from clinadapt.clinical.mention import Mention, matches_at
from clinadapt.clinical.number_words import NUMBER_WORDS, ORDINALS, spoken_numbers

_DAYS = {word: day for day, word in enumerate(ORDINALS, start=1)} | {"twentieth": 20, "thirtieth": 30}
_DAYS |= {
    f"{ten} {word}": 10 * tens + day
    for tens, ten in ((2, "twenty"), (3, "thirty"))
    for day, word in enumerate(ORDINALS[:9], start=1)
}
_MONTH = (
    "(?P<month>january|february|march|april|may|june|july|august|september|october|november|december)"  # said in full
)
_DAY = rf"(?P<day>{'|'.join(sorted(_DAYS, key=len, reverse=True)).replace(' ', '[ -]')})"
_YEAR = rf"(?P<year>\d{{4}}|'?\d\d(?![\d/.-])|oh? [a-z]+|{NUMBER_WORDS})"
_JOINED = r"(?:,? (?:of |in |in the year )?)"
_DATES = [
    re.compile(pattern)
    for pattern in (
        rf"\b{_MONTH} (?:the )?{_DAY}\b(?:{_JOINED}{_YEAR})?",
        rf"\b{_DAY} (?:day )?(?:of )?{_MONTH}\b(?:{_JOINED}{_YEAR})?",
        rf"\b{_MONTH} (?:of|in) {_YEAR}",
        rf"\b{_MONTH} (?P<year>oh? [a-z]+|(?:nineteen|twenty|two thousand) {NUMBER_WORDS.removeprefix(chr(92) + 'b')})",
    )
]
_DAY_BEFORE_MONTH = _DATES[1]
_MONTH_NAME = re.compile(rf"\b{_MONTH}\b")
_DAY_BEFORE = re.compile(rf"\b{_DAY} (?:day )?(?:of )?\Z")
_LONGEST_DAY = 35  # characters of a day before its month
_COUNTED = re.compile(
    r" ?(?:%|(?:percent|mc?g|milli\w+|micro\w+|grams?|ml|units?|tablets?|times|minutes?|hours?|days?|weeks?|months?|"
    r"years?|patients?)\b)"
)


def spoken_dates(lower: str) -> list[Mention]:
    """Dates in words of a text in lower case, with values as of `clinadapt.clinical.dates.date_mentions`."""
    months = [match.start() for match in _MONTH_NAME.finditer(lower)]
    if not months:
        return []
    before = (_DAY_BEFORE.search(lower, max(0, month - _LONGEST_DAY), month) for month in months)
    days = [match.start() for match in before if match]
    mentions: list[Mention] = []
    taken = bytearray(len(lower))
    for pattern in _DATES:
        for match in matches_at(pattern, lower, days if pattern is _DAY_BEFORE_MONTH else months):
            start, end = match.span()
            if not any(taken[start:end]) and (value := _iso(match)):
                end = match.end("year") if value[0] != "-" else _end(match)
                mentions.append(Mention(start, end, value))
                taken[start:end] = b"\1" * (end - start)
    return sorted(mentions)


def _end(match: re.Match[str]) -> int:
    """End of a day without a year."""
    return max(match.end("month"), match.end("day"))


def _iso(match: re.Match[str]) -> str:
    """ISO 8601; empty where it is no date."""
    groups = match.groupdict()
    month, day = MONTHS.index(groups["month"][:3]) + 1, _DAYS.get((groups.get("day") or "").replace("-", " "), 0)
    year = _year(groups["year"] or "")
    if year and _may_be_a_count(match):
        year = 0
    if not year and (not day or groups["month"] == "may"):  # "you may first feel"
        return ""
    try:
        date(year or 2000, month, day or 1)
    except ValueError:
        return ""
    return (f"{year}" if year else "-") + f"-{month:02}" + (f"-{day:02}" if day else "")


def _may_be_a_count(match: re.Match[str]) -> bool:
    """Whether what follows a month is no year in two figures or words: "june third 20 mg", "may in ten days"."""
    written, before = match["year"], match.string[max(0, match.start("year") - 5) : match.start("year")]
    if not (written.isdigit() and len(written) < 4) and not (
        re.fullmatch(NUMBER_WORDS, written) and len(numbers := spoken_numbers(written)) == 1 and numbers[0] < 100
    ):
        return False
    return not before.endswith(("of ", "in ", "year ")) or bool(_COUNTED.match(match.string, match.end("year")))


def _year(written: str) -> int:
    """Year of "nineteen ninety two", "two thousand five", "oh seven", "ninety two" or 1992; 0 for other numbers."""
    written = written.removeprefix("'").removeprefix("oh ").removeprefix("o ")
    if not written:
        return 0
    if written.isdigit():
        number = int(written)
    elif re.fullmatch(NUMBER_WORDS, written):
        first, *others = spoken_numbers(written.replace(" oh ", " "))
        number = int(first) if not others and first == int(first) else 0
    else:
        return 0
    if 1 <= number <= 99:
        return number + (1900 if number >= 40 else 2000)
    return number if 1900 <= number <= 2099 else 0
