"""Date mentions, normalized to ISO 8601."""

from __future__ import annotations

import re
from datetime import date
from typing import Literal

from clinadapt.clinical.mention import Mention, ascii_lower, matches_at

MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MONTH = r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"  # noqa: E501
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_IN_FIGURES, _MONTH_BEFORE, _DAY_BEFORE_MONTH = range(3)  # how a date begins
_DATES = [
    (re.compile(pattern), begin)
    for pattern, begin in (
        (r"\b(?P<year>\d{4})-(?P<number>\d{1,2})-(?P<day>\d{1,2})\b", _IN_FIGURES),
        (r"(?<![\d/])(?P<number>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4}|\d{2})(?![\d/])", _IN_FIGURES),
        (r"(?<![\d-])(?P<number>\d{1,2})-(?P<day>\d{1,2})-(?P<year>\d{4})(?![\d-])", _IN_FIGURES),
        (r"(?<![\d.])(?P<day>\d{1,2})\.(?P<number>\d{1,2})\.(?P<year>\d{4})(?!\d)", _IN_FIGURES),
        (r"(?<![\d.])(?P<day>\d{2})\.(?P<number>\d{2})\.(?P<year>\d{2})(?!\.?\d)", _IN_FIGURES),
        (rf"\b{_MONTH}\s+{_DAY}(?:,?\s+(?P<year>\d{{4}}))?\b(?![.:]\d)", _MONTH_BEFORE),
        (rf"\b{_DAY}[\s-](?:of\s+)?{_MONTH}(?:,?[\s-](?P<year>\d{{4}}))?\b", _DAY_BEFORE_MONTH),
        (rf"\b{_MONTH}(?:\s+of)?,?\s+(?P<year>\d{{4}})\b", _MONTH_BEFORE),
        (r"(?<![\d/])(?P<number>0?[1-9]|1[0-2])/(?P<year>(?:19|20)\d{2})(?![\d/])", _IN_FIGURES),
        (
            r"(?:(?<=\bin )|(?<=\bsince )|(?<=\buntil )|(?<=\bdated ))"
            r"(?P<number>0?[1-9]|1[0-2])/(?P<year>[0-2]\d|[7-9]\d)(?![\d/]| (?:cores?|nodes?|biops|samples?|"
            r"bottles?|joints?))",
            _IN_FIGURES,
        ),
        (r"(?<=\bfrom )(?P<number>0?[1-9]|1[0-2])/(?P<year>[7-9]\d)(?![\d/])", _IN_FIGURES),  # 8/10 is a score
    )
]

# Where dates can begin
_FIGURES = re.compile(r"(?<!\d)\d{1,4}(?=[/.-]\d)")
_MONTH_NAME = re.compile(rf"(?:{'|'.join(MONTHS)})(?<!\w...)")
_DAY_OF_MONTH = re.compile(rf"\d{{1,2}}(?:st|nd|rd|th)?[\s-](?:of\s+)?(?={'|'.join(MONTHS)})")
_MONTH_FIRST = [pattern for pattern, _ in _DATES[1:3]]
_DAY_BEFORE = re.compile(rf"\b{_DAY}[\s-](?:of\s+)?{_MONTH}(?![a-z])(?<!may)")  # not "2 margins", "2 may be"
_DAY_AFTER = re.compile(rf"\b{_MONTH}\s+{_DAY}\b(?!\d)")
_TWO_PARTS = re.compile(r"(?<![\d/-])(\d{1,2})([/-])(\d{1,2})\2(?:\d{4}|\d{2})(?![\d/-])")

# Words that tell British from American notes, in lower case, also what they begin or end with
_BRITISH_WORDS = """nhs gp a&e casualty registrar sho bd tds qds nocte mane fbc u&e u&es lfts tfts paracetamol
salbutamol adrenaline bendroflumethiazide aciclovir lignocaine litre litres metre metres oedema lymphoedema tumour
tumours mmol micromol"""
_AMERICAN_WORDS = """bid tid qid qhs b.i.d t.i.d q.i.d q.h.s p.o cbc bmp cmp bun dl medicare medicaid acetaminophen
tylenol albuterol epinephrine percocet vicodin lovenox fahrenheit liter liters edema lymphedema tumor tumors"""
_BRITISH = (
    frozenset(_BRITISH_WORDS.split()),
    ("haem", "ischaem", "oesoph", "paediatr", "orthopaed", "gynaec", "anaesth", "foet", "catheteris", "hospitalis"),
    ("aemia", "aemic", "rrhoea", "pnoea"),
)
_AMERICAN = (
    frozenset(_AMERICAN_WORDS.split()),
    ("hemat", "hemo", "ischem", "esophag", "pediatr", "orthoped", "gynecol", "anesth", "fetal", "fetus", "catheteriz",
     "hospitaliz"),
    ("nemia", "kemia", "remia", "rrhea", "pnea"),
)  # fmt: skip
_TOKEN = re.compile(r"[a-z](?:[.&]?[a-z])+")
_POSTCODE = re.compile(r"\b[a-z]{1,2}\d[a-z\d]? \d[a-z]{2}\b")


def dates(text: str) -> set[str]:
    """Dates of a text: `2009-03-14`, `2009-03`, or `--03-14` without a year. Two-digit years from 70 are 19xx."""
    return {mention.value for mention in date_mentions(text)}


def date_mentions(text: str) -> list[Mention]:
    """Dates in text order; values as in `dates`.

    03/04/2021 is March 4, but April 3 in a text whose dates begin with the day, see `date_order`.
    """
    lower = ascii_lower(text)
    mentions: list[Mention] = []
    taken = bytearray(len(lower))
    starts = _starts(lower)
    day_first: bool | None = None
    for pattern, begin in _DATES:
        for match in matches_at(pattern, lower, starts[begin]):
            start, end = match.span()
            if any(taken[start:end]):
                continue
            if pattern in _MONTH_FIRST and day_first is None:
                day_first = date_order(lower) == "day"
            for day in _iso_dates(match.groupdict(), bool(day_first) and pattern in _MONTH_FIRST):
                mentions.append(Mention(start, end, day))
                taken[start:end] = b"\1" * (end - start)
    return sorted(mentions)


def _starts(lower: str) -> tuple[list[int], list[int], list[int]]:
    """Where dates can begin: those in figures, those that begin with a month's name, those with a day before it."""
    figures, names = ([match.start() for match in pattern.finditer(lower)] for pattern in (_FIGURES, _MONTH_NAME))
    return figures, names, [match.start() for match in _DAY_OF_MONTH.finditer(lower)] if names else []


def date_order(lower: str, by_words: bool = True) -> Literal["day", "month", ""]:
    """Whether the dates in figures of a text in lower case begin with the day or the month; empty where nothing tells.

    Its figures tell, as 14/11/2021 must begin with the day; else the dates with a month's name; else, with `by_words`,
    whether its words are those of British or American clinicians.
    """
    figures, names, days = _starts(lower)
    parts = [(int(match[1]), int(match[3])) for match in matches_at(_TWO_PARTS, lower, figures)]
    day_first, month_first = (any(part[i] > 12 >= part[1 - i] for part in parts) for i in (0, 1))
    if day_first == month_first:
        day_first = any(matches_at(_DAY_BEFORE, lower, days))
        month_first = any(matches_at(_DAY_AFTER, lower, names))
    if day_first == month_first and by_words:
        written = set(_TOKEN.findall(lower))
        british, american = (_count(written, *signs) for signs in (_BRITISH, _AMERICAN))
        british += bool(_POSTCODE.search(lower))
        day_first, month_first = british > american + 1, american > british + 1
    return "day" if day_first else "month" if month_first else ""


def _count(written: set[str], words: frozenset[str], begins: tuple[str, ...], ends: tuple[str, ...]) -> int:
    """How many different words are among those, or begin or end with these."""
    return sum(word in words or word.startswith(begins) or word.endswith(ends) for word in written)


def other_reading(written: str, day: str) -> str:
    """The date that figures such as 03/04/2021 or 3-4-2021 are in the other order; empty where there is none.

    Args:
        written: the date as the text has it.
        day: its reading, as in `dates`.
    """
    year, month, day_of_month = day[:-6], day[-5:-3], day[-2:]
    is_open = _TWO_PARTS.fullmatch(written) and day_of_month <= "12" and day_of_month != month
    return f"{year}-{day_of_month}-{month}" if is_open else ""


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
