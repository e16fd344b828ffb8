"""The facts of a text that must not be invented: numbers with their units, dates, drugs."""

from __future__ import annotations

import re
from datetime import date
from functools import cache, lru_cache
from importlib import resources
from typing import Any, NamedTuple

import yaml

_WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_VALUES = {word: str(value) for value, word in enumerate(_WORDS, start=1)} | {"once": "1", "twice": "2", "thrice": "3"}
_TIMES_A_DAY = {"b.i.d": "2", "bid": "2", "t.i.d": "3", "tid": "3", "q.i.d": "4", "qid": "4"}
_UNITS = {
    "mg": r"mg|mgs|milligrams?",
    "mcg": r"mcg|µg|μg|ug|micrograms?",
    "g": r"g|gm|gms|grams?",
    "kg": r"kg|kgs|kilograms?|kilos?",
    "mL": r"ml|mls|cc|ccs|milliliters?|millilitres?",
    "L": r"l|liters?|litres?",
    "unit": r"units?|iu",
    "mEq": r"meq",
    "pound": r"pounds?|lbs?",
    "minute": r"minutes?|mins?",
    "hour": r"hours?|hrs?|h",
    "day": r"days?",
    "week": r"weeks?|wks?",
    "month": r"months?|mos?",
    "year": r"years?|yrs?|y\.?o|y/o",
}
_UNIT = "|".join(f"(?P<{name}>{pattern})" for name, pattern in _UNITS.items())
_NUMBER = re.compile(
    rf"(?P<value>\d{{1,3}}(?:,\d{{3}})+(?!\d)|\d+(?:\.\d+)?|(?<!\w)\.\d+|\b(?:{'|'.join(_VALUES)})\b)"
    rf"(?P<other>\s*(?:-|–|/|to|or|and)\s*(?=\d))?(?:[\s-]{{0,2}}(?:{_UNIT})(?![a-z]))?"
)
_OFTEN = re.compile(r"\b(?:b\.i\.d|bid|t\.i\.d|tid|q\.i\.d|qid)\b", re.IGNORECASE)
_LOWER = {ord(letter): letter.lower() for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}  # keeps the length of any text
_WORD = re.compile(r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*")
_CODE = re.compile(r"[A-Za-z][-–]?$")  # L5, T-4: a name rather than a number

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
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


class Mention(NamedTuple):
    """Characters of a text and the normalised fact that they name."""

    start: int
    end: int
    fact: str


def facts(text: str) -> set[str]:
    """Numbers ("20 mg", "3"), dates ("2009-03-14") and drugs ("lisinopril") of a text, normalised."""
    return numbers(text) | dates(text) | drugs(text)


def unsupported(answer: str, note: str) -> set[str]:
    """Facts of an answer that its note does not hold.

    A number with a unit of mass, volume or time needs the same number with that unit, any other the number alone. A
    drug may go by its brand in the one and its generic name in the other, a number by word or digit; a date of the
    note supports the same date with less detail ("March 2009", "2009").
    """
    wanted = numbers(answer), dates(answer), drugs(answer)
    told = {date_ for day in dates(note) for date_ in _less_detailed(day)} if wanted[0] or wanted[1] else set()
    lenient = {day[:4] for day in told if day[0] != "-"}
    if wanted[0]:
        found = {fact for _, _, fact in _numbers(note, codes=True)}
        lenient |= found | {fact.partition(" ")[0] for fact in found}
        lenient |= {_TIMES_A_DAY[often.lower()] for often in _OFTEN.findall(note)}
    return (wanted[0] - lenient) | (wanted[1] - told) | (wanted[2] - drugs(note) if wanted[2] else set())


def numbers(text: str) -> set[str]:
    """Numbers that are no part of a date or of a name (L5), with their unit of mass, volume or time where they have
    one: "55-year-old" is "55 year", "two tablets" is "2", "5-10 mg" is "5 mg" and "10 mg". The pronoun "one" is none.
    """
    return {fact for _, _, fact in _numbers(text, codes=False)}


def dates(text: str) -> set[str]:
    """Dates as in ISO 8601: 2009-03-14, 2009-03 or --03-14 (without a year). Two digits of a year from 70 are 19xx."""
    return {fact for _, _, fact in date_mentions(text)}


def drugs(text: str) -> set[str]:
    """Generic names of the drugs of a text, in lower case."""
    return {fact for _, _, fact in drug_mentions(text)}


def date_mentions(text: str) -> list[Mention]:
    """Dates in the order of the text; fact as in dates()."""
    lower = text.translate(_LOWER)
    found: list[Mention] = []
    for pattern in _DATES:
        for match in pattern.finditer(lower):
            if all(match.end() <= start or end <= match.start() for start, end, _ in found):
                found += [Mention(*match.span(), day) for day in _day(match.groupdict())]
    return sorted(found)


def drug_mentions(text: str) -> list[Mention]:
    """Drugs in the order of the text; a brand of two drugs is two mentions of the same characters."""
    names, longest = _drug_names()
    words = [(match.start(), match.end(), match[0].lower()) for match in _WORD.finditer(text)]
    mentions, at = [], 0
    while at < len(words):
        start, end, word = words[at]
        used, generics = 1, names.get(word, ())
        for count in range(longest.get(word, 1), 1, -1):
            phrase = text[start : words[min(at + count, len(words)) - 1][1]]
            if phrase.lower() in names:
                used, end, generics = count, start + len(phrase), names[phrase.lower()]
                break
        mentions += [Mention(start, end, generic) for generic in generics or _by_stem(word)]
        at += used
    return mentions


def _numbers(text: str, codes: bool) -> list[Mention]:
    days = date_mentions(text)
    found: list[Mention] = []
    pending: list[tuple[int, int, str]] = []  # of a range whose unit follows: 5-10 mg
    for match in _NUMBER.finditer(text.translate(_LOWER)):
        start, end = match.span()
        if any(day.start < end and start < day.end for day in days):
            continue
        value = match["value"]
        unit = next((name for name in _UNITS if match[name]), "")
        pronoun = value == "one" and not unit
        if not codes and (pronoun or (value[0].isdigit() and _CODE.search(text[max(0, start - 2) : start]))):
            continue
        value = _VALUES.get(value) or _plain(value)
        if match["other"]:
            pending.append((start, end, value))
            continue
        found += [Mention(s, e, f"{v} {unit}".rstrip()) for s, e, v in [*pending, (start, end, value)]]
        pending = []
    return found + [Mention(*left) for left in pending]


def _plain(value: str) -> str:
    """2.0 is 2, 1,000 is 1000, 07 is 7."""
    whole, _, decimals = value.replace(",", "").partition(".")
    decimals = decimals.rstrip("0")
    return (whole.lstrip("0") or "0") + (f".{decimals}" if decimals else "")


def _day(part: dict[str, str | None]) -> list[str]:
    """ISO 8601 of a match, empty where the calendar has no such day."""
    month = int(part.get("number") or 0) or _MONTHS.index((part.get("month") or "")[:3].lower()) + 1
    year = part.get("year")
    if year and len(year) == 2:
        year = ("19" if year >= "70" else "20") + year
    day = int(part.get("day") or 0)
    try:
        date(int(year or 2000), month, day or 1)  # 2000 has 29 February
    except ValueError:
        return []
    return [f"{year or '-'}-{month:02}" + (f"-{day:02}" if day else "")]


def _less_detailed(day: str) -> set[str]:
    """2009-03-14 also says 2009-03 and --03-14."""
    year, month, date_ = day[:-6], day[-5:-3], day[-2:]
    return {day, f"{year}-{month}", f"--{month}-{date_}"} if re.fullmatch(r"\d{4}-\d\d-\d\d", day) else {day}


@cache
def _drug_names() -> tuple[dict[str, tuple[str, ...]], dict[str, int]]:
    """Name in lower case -> generic names; first word -> words of the longest name that begins so."""
    words = lexicon()
    names: dict[str, tuple[str, ...]] = {generic.lower(): (generic.lower(),) for generic in words["generic"]}
    for generic, brands in words["generic"].items():
        names |= {brand.strip().lower(): (generic.lower(),) for brand in brands.split(",") if brand.strip()}
    names |= {brand.lower(): tuple(mixed.split(", ")) for brand, mixed in words["mixed"].items()}
    longest: dict[str, int] = {}
    for name in names:
        first, *rest = name.split()
        longest[first] = max(longest.get(first, 1), 1 + len(rest))
    return names, longest


@lru_cache(maxsize=50_000)
def _by_stem(word: str) -> tuple[str, ...]:
    words = lexicon()
    like = (word.endswith(tuple(words["suffixes"])) or word.startswith(tuple(words["prefixes"]))) and len(word) > 6
    return (word,) if like and word.isalpha() and word not in words["no_drug"] else ()


@cache
def lexicon() -> dict[str, Any]:
    """drugs.yaml."""
    words: dict[str, Any] = yaml.safe_load(resources.files(__package__).joinpath("drugs.yaml").read_text("utf-8"))
    return words
