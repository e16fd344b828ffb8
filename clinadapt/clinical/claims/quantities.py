"""Numbers with units, in one unit a dimension: 23 thousand is 23,000, 2 g are 2,000 mg, two weeks are 14 days."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, partial
from typing import NamedTuple

from clinadapt.clinical.dates import date_order
from clinadapt.clinical.mention import ascii_lower, matches_at
from clinadapt.clinical.number_words import FIRST_WORD, NUMBER_WORD_VALUES, NUMBER_WORDS, spoken_numbers

_MAGNITUDES = {"hundred": 100.0, "thousand": 1e3, "k": 1e3, "million": 1e6}
_TIMES = {
    "once": 1.0, "twice": 2.0, "thrice": 3.0, "half a": 0.5, "a half": 0.5, "a couple of": 2.0, "a couple": 2.0,
    "couple of": 2.0, "a dozen": 12.0,
}  # fmt: skip

_BARE_METRES = r"m(?= (?:tall|long|high|wide)\b)|(?<=\.\d )m|(?<=\.\d\d )m|(?<=\.\d\d)m"  # not 5 m: male, months
# unit -> (dimension, factor to the dimension's unit, whether it is metric or decimal, pattern)
_UNITS: dict[str, tuple[str, float, bool, str]] = {
    "mg_per_dL": ("concentration", 10, True, r"mgs? ?(?:/|per) ?dl|milligrams per deciliter"),
    "mg_per_L": ("concentration", 1, True, r"mgs? ?(?:/ ?l|per lit(?:er|re))"),
    "g_per_dL": ("concentration", 1e4, True, r"(?:g|gms?|grams?) ?(?:/ ?dl|per deciliter|%)"),
    "g_per_L": ("concentration", 1e3, True, r"(?:g|gms?|grams?) ?(?:/ ?l|per lit(?:er|re))"),
    "kg_per_m2": ("body mass index", 1, True, r"kgs? ?/ ?m(?:2|²|\^2)"),
    "mg": ("mass", 1, True, r"mgs?|m g|milligrams?"),
    "ng_per_mL": (
        "concentration",
        1e-3,
        True,
        r"(?:ng|nanograms?) ?(?:/|per) ?(?:ml|milliliter)|(?:mcg|ug|µg|μg) ?/ ?l",
    ),
    "pg_per_mL": ("concentration", 1e-6, True, r"(?:pg|picograms?) ?(?:/|per) ?ml|ng ?/ ?l"),
    "mcg": ("mass", 1e-3, True, r"mcgs?|µg|μg|ug|micrograms?"),
    "g": ("mass", 1e3, True, r"g|gms?|grams?"),
    "kg": ("mass", 1e6, True, r"kgs?|kilograms?|kilos?"),
    "lb": ("mass", 453_592.37, False, r"pounds?|lbs?"),
    "oz": ("mass", 28_349.5, False, r"ounces?|oz"),
    "mL": ("volume", 1, True, r"mls?|m l|cc|ccs|milliliters?|millilitres?"),
    "L": ("volume", 1e3, True, r"l|liters?|litres?"),
    "mm": ("length", 1, True, r"mm|m m|millimeters?|millimetres?"),
    "cm": ("length", 10, True, r"cms?|c m|centimeters?|centimetres?"),
    "m": ("length", 1e3, True, rf"meters?|metres?|{_BARE_METRES}"),
    "inch": ("length", 25.4, False, r"inch(?:es)?|in(?=[.,;]? (?:x|by|long|wide|tall))"),
    "foot": ("length", 304.8, False, r"feet|foot|ft"),
    "unit": ("units", 1, True, r"units?|iu|u"),
    "megaunit": ("units", 1e6, True, r"mu|mega-?units?"),
    "mmol_per_mol": ("share", 1, True, r"mmols? ?/ ?mol"),
    "mmol_per_L": ("molar", 1, True, r"(?:meqs?|milliequivalents?|mmols?|millimoles?) ?(?:/ ?l|per lit(?:er|re))"),
    "umol_per_L": ("molar", 1e-3, True, r"(?:[uµμ]mols?|micromoles?)(?: ?/ ?l| per lit(?:er|re))?"),
    "mEq": ("equivalents", 1, True, r"meqs?|milliequivalents?|mmols?|millimoles?"),
    "mmHg": ("pressure", 1, True, r"mm ?hg|millimeters of mercury"),
    "percent": ("percent", 1, True, r"%|percent|per cent"),
    "F": ("temperature", 1, True, r"(?:degrees? |deg\.? |° ?)?(?:f|fahrenheit)"),
    "C": ("temperature", 1, False, r"(?:degrees? |deg\.? |° ?)?(?:c|celsius|centigrade)"),
    "degree": ("angle", 1, True, r"degrees?|deg\b\.?|°"),  # of a joint, or of a temperature
    "second": ("time", 1 / 86_400, True, r"seconds?|secs?"),
    "minute": ("time", 1 / 1440, True, r"minutes?|mins?"),
    "hour": ("time", 1 / 24, True, r"hours?|hrs?|h"),
    "day": ("time", 1, True, r"days?"),
    "week": ("time", 7, True, r"weeks?|wks?"),
    "month": ("time", 30.4375, False, r"months?|mos?|mn?ths?"),
    "year": ("time", 365.25, False, r"years?|yrs?|y\.?o|y/o"),
}
# A potassium of 4.2 mmol and one of 4.2 mmol/L, a temperature of 38 degrees and of 38 C
_ALIKE = [{"equivalents", "molar"}, {"angle", "temperature"}]
_UNIT = "|".join(f"(?P<{name}>{pattern})" for name, (*_, pattern) in _UNITS.items())
_NUMBER = re.compile(
    rf"(?P<value>\d{{1,3}}(?:[,\u00a0\u2009\u202f]\d{{3}})+(?!\d)|(?<!\d:)(?<!\d:\d)(?<!\d:\d\d)(?<!\d:\d{{3}})\d++(?:\.\d+)?|(?<![\w.])\.\d+|"
    rf"\b(?:{'|'.join(_TIMES)})\b|{NUMBER_WORDS})"
    rf"(?![:]\d)(?:\s*(?P<magnitude>hundred|thousand|million|k)(?![a-z]))?(?P<half> and a half|[- ]1/2|½)?"
    rf"(?P<joined>\s*(?:-|–|/|to|or|and|x|by|over)\s*(?=\d|{NUMBER_WORDS}))?(?:[\s-]{{0,2}}(?:{_UNIT})(?![a-z]))?"
)
_THOUSANDS = re.compile("(?<=\\d)[,\u00a0\u2009\u202f](?=\\d)")
_NUMBER_START = re.compile(
    rf"\d|\.(?=\d)|\b(?:a(?= [cdht])|half(?= a)|couple|once|twice|thrice|hundred|thousand|{FIRST_WORD})"
)
_PART_OF_TIME = re.compile(  # 6/52 is six weeks, as British doctors write it, and 12/40 of a pregnancy of 40
    r"(?<![\d/.])(?P<n>\d{1,2})/(?:(?P<week>52)|(?P<day>7)|(?P<month>12)|(?P<pregnancy>40))(?![\d/])"
)
_YEARS_AND_MONTHS = re.compile(r"(?<![\w.])(?P<y>\d{1,2}) ?y(?:rs?)? ?(?P<m>\d{1,2}) ?m(?:o|ths?)?\b")
_PARTS = {"day": 7, "week": 52, "month": 12}
_PREGNANT = re.compile(
    r"\bpregnan|\bborn\b|\bpre-?term\b|\bprem|\bg\d ?p\d|\bgravida|\bgestation|\bante-?natal|\bf(?:o?etal|h|m|hr)\b|"
    r"\bmidwi"
)
_SHORT_TIME = re.compile(  # begins with what the engine can search for, as the next one does
    r"(?P<n>\d(?:(?<![\w.]\d)|(?<=\bx\d)|(?<=\bx \d))\d?)(?:(?<=x\d) |(?<=x \d) |(?<=x\d\d) |"
    r"(?<=x \d\d) )?(?P<unit>[dw])\b"
    r"(?![/-]| ?(?:echo|ct|us|image|recon))"
)
_SHORT_TIME_AGO = re.compile(  # 5 d ago, 3 y history
    r"(?<![\w.])(?P<n>\d{1,2}) ?(?:(?P<day>d)|(?P<week>w)|(?P<month>m)|(?P<year>y))(?= (?:ago|hx|history|"
    r"h/o|prior|pta|post)\b)"
)
_WEEKS_AND_DAYS = re.compile(
    r"(?P<w>[1-4](?<![\d.]\d)\d) ?(?:w(?:ks?)? ?|\+)(?P<d>[0-6])(?: ?d(?:ays?)?\b|(?:/40)?(?: ?w(?:eek|k)s?\b)?(?!\w))"
)
_TIME_WORD = r"an? (?P<{0}>minute|hour|day|week|fortnight|month|year)\b(?! and a half)"
_RATE = re.compile(rf"\b(?:times|once|twice|\d+|{'|'.join(NUMBER_WORD_VALUES)}) \Z")  # "seven in a year"
_A_TIME = re.compile(
    rf"\b(?:for|after|over|past|last|about|around|in|within) (?P<one>{_TIME_WORD.format('of')})"
    rf"|\b(?P<other>{_TIME_WORD.format('ago')})(?= (?:ago|before|earlier|later|prior|previously|back|now)\b)"
)
_FORTNIGHT = re.compile(r"\b(?:last|past|next|this) fortnight\b")
_ONE_AND_A_HALF = re.compile(r"\b(?:an?|one) (?P<of>[a-z]+) and a half\b")
_TENS = ("twen", "thir", "for", "fif", "six", "seven", "eigh", "nine")
_DECADE = re.compile(rf"\b(?P<ten>{'|'.join(_TENS)})ties\b")
_SINCE, _HISTORY = (
    re.compile(r"\b(?:for|in|past|last|after|x|review|rv|r/v(?: at)?|tci) \Z"),
    re.compile(r"[- ](?:history|hx|ago|course|later)\b"),
)
_CLAUSE_END = re.compile(r" ?(?:[.,;)\n]|\Z)")
_COUNTED = re.compile(r" (?:cores?|nodes?|biops\w+|samples?|bottles?|joints?|specimens?|lymph)\b")  # 3 of 12
_CODE = re.compile(r"(?:[A-PR-WYZa-pr-wyz][-–]?|\d[-–/]?[A-Za-z][-–]?)\Z")  # L5, T-4, L4-L5: part of a name
_ORDINAL = re.compile(r"(?:st|nd|rd|th)\b")
_LIST_NUMBER = re.compile(r"(?:^|(?<=[\n.;:]))[ \t]*(\d{1,2})[.)](?=\s+[A-Za-z])", re.MULTILINE)


class Quantity(NamedTuple):
    """A number of a text.

    Attributes:
        start, end: span of number and unit, in characters.
        value: in the dimension's unit (mg, mL, mm, days, degrees F, ...).
        dimension: `mass`, `volume`, `time`, ...; empty for a bare number.
        unit: as normalized; empty for a bare number.
        number: as written, in its own unit.
        is_code: part of a name such as L5, which no claim is made of.
        pair: whether it is joined to the number after it by a slash, as in 120/80.
    """

    start: int
    end: int
    value: float
    dimension: str
    unit: str
    number: float
    is_code: bool
    pair: bool

    def __str__(self) -> str:
        return f"{self.number:g} {self.unit.replace('_per_', '/')}".rstrip()


def quantities(text: str, skip: list[tuple[int, int]]) -> list[Quantity]:
    """Numbers of a text in order, without those within the spans `skip` (its dates) and the numbers of list items."""
    lower = ascii_lower(text)
    times = [*_parts_of_time(lower), *_in_words(lower), *_weeks_and_days(lower), *_short_times(lower)]
    taken = sorted([*skip, *(match.span(1) for match in _LIST_NUMBER.finditer(text)), *(each[:2] for each in times)])
    next_taken = 0
    result: list[Quantity] = []
    pending: list[tuple[int, int, float, bool, bool]] = []  # of a range whose unit follows: 5-10 mg
    starts = [match.start() for match in _NUMBER_START.finditer(lower)]
    for match in matches_at(_NUMBER, lower, starts):
        start, end = match.span()
        while next_taken < len(taken) and taken[next_taken][1] <= start:
            next_taken += 1
        if next_taken < len(taken) and taken[next_taken][0] <= start:
            continue
        unit = match.lastgroup if match.lastgroup in _UNITS else ""
        written = match["value"]
        if written in ("one", "once", "zero") and not unit and not match["magnitude"] and not match["joined"]:
            continue
        *first, number = _numbers(match)
        is_code = written[0].isdigit() and bool(
            _CODE.search(text[max(0, start - 3) : start]) or _ORDINAL.match(lower, match.end("value"))
        )
        joined = (match["joined"] or "").strip()
        if unit == "L" and any(pair for *_, pair in pending):  # "148/86 L arm"
            unit, end = "", match.end("value")
        if joined and not unit:
            pending += [(start, match.end("value"), n, is_code, False) for n in first]
            pending.append((start, match.end("value"), number, is_code, joined in ("/", "over", "by")))
            continue
        pending += [(start, end, n, is_code, False) for n in first]
        for s, e, n, code, pair in [*pending, (start, end, number, is_code, False)]:
            result.append(_quantity(s, e, n, unit, code, pair))
        pending = []
    result += [_quantity(s, e, n, "", code, pair) for s, e, n, code, pair in pending]
    return sorted([*result, *times]) if times else result


def _parts_of_time(lower: str) -> Iterator[Quantity]:
    """6/52; and 3/7 and 3/12 where the words around tell of a time, as they may be a date or a score too, or at the end
    of a clause of a British note."""
    order = cache(partial(date_order, lower))
    is_whole = bool(_PART_OF_TIME.fullmatch(lower.strip()))  # a bare answer
    for match in _PART_OF_TIME.finditer(lower) if any(part in lower for part in ("/52", "/7", "/12", "/40")) else ():
        if match["pregnancy"]:
            if _PREGNANT.search(lower):
                yield _quantity(*match.span(), float(match["n"]), "week", False, False)
            continue
        before = lower[max(0, match.start() - 8) : match.start()]
        if _COUNTED.match(lower, match.end()):
            continue
        tells = match["week"] or is_whole or _SINCE.search(before) or _HISTORY.match(lower, match.end())
        if tells or (_CLAUSE_END.match(lower, match.end()) and ("/52" in lower or order() == "day")):
            yield _quantity(*match.span(), float(match["n"]), match.lastgroup or "", False, False)


def _weeks_and_days(lower: str) -> Iterator[Quantity]:
    """38 weeks and 4 days of 38w4d and 38+4; 4 years and 3 months of 4y 3m."""
    for match in _YEARS_AND_MONTHS.finditer(lower):
        yield _quantity(match.start(), match.start("m"), float(match["y"]), "year", False, False)
        yield _quantity(match.start("m"), match.end(), float(match["m"]), "month", False, False)
    for match in _WEEKS_AND_DAYS.finditer(lower):
        yield _quantity(match.start(), match.start("d"), float(match["w"]), "week", False, False)
        yield _quantity(match.start("d"), match.end(), float(match["d"]), "day", False, False)


def _short_times(lower: str) -> Iterator[Quantity]:
    """Four days of x4d and 4d."""
    for match in _SHORT_TIME_AGO.finditer(lower):
        yield _quantity(*match.span(), float(match["n"]), match.lastgroup or "", False, False)
    for match in _SHORT_TIME.finditer(lower):
        if _SHORT_TIME_AGO.match(lower, match.start("n")):
            continue
        unit = "day" if match["unit"] == "d" else "week"
        yield _quantity(match.start("n"), match.end(), float(match["n"]), unit, False, False)


def _in_words(lower: str) -> Iterator[Quantity]:
    """1.5 in "a pack and a half", 70 in "in her seventies", one week in "a week ago"."""
    for match in _A_TIME.finditer(lower):
        if lower.startswith("in ", match.start()) and _RATE.search(lower, max(0, match.start() - 12), match.start()):
            continue
        word = match["of"] or match["ago"]
        number, unit = (2.0, "week") if word == "fortnight" else (1.0, word)
        yield _quantity(*match.span("one" if match["one"] else "other"), number, unit, False, False)
    for match in _FORTNIGHT.finditer(lower) if "fortnight" in lower else ():
        yield _quantity(*match.span(), 2.0, "week", False, False)
    if " and a half" in lower:
        for match in _ONE_AND_A_HALF.finditer(lower):
            unit = next((name for name, (*_, pattern) in _UNITS.items() if re.fullmatch(pattern, match["of"])), "")
            yield _quantity(*match.span(), 1.5, unit, False, False)
    if any(f"{ten}ties" in lower for ten in _TENS):
        for match in _DECADE.finditer(lower):
            yield _quantity(*match.span(), spoken_numbers(f"{match['ten']}ty")[0], "", False, False)


def degrees(quantity: Quantity) -> Quantity:
    """A temperature of a body without a unit with the unit that it must have."""
    if quantity.dimension not in ("", "angle"):
        return quantity
    unit = "C" if quantity.number < 50 else "F"
    return _quantity(quantity.start, quantity.end, quantity.number, unit, False, False)


def parts_of_time(quantity: Quantity, lower: str) -> list[tuple[int, int]]:
    """Where a text may write a time as a part, which may be a date or a score, too: five days as 5/7, D5."""
    of = _PARTS.get(quantity.unit)
    day = rf"|\b(?:d|pod){quantity.number:g}\b" if quantity.unit == "day" else ""
    return [m.span() for m in re.finditer(rf"(?<![\d/]){quantity.number:g}/{of}(?![\d/]){day}", lower)] if of else []


def is_year(quantity: Quantity) -> bool:
    return not quantity.dimension and 1900 <= quantity.number <= 2099 and not quantity.number % 1


def same(a: Quantity, b: Quantity) -> bool:
    """Whether two quantities are equal: exactly, or rounded where one is converted between systems of units."""
    if a.dimension != b.dimension:  # 10.4 g of hemoglobin are 10.4 g/dL
        return a.number == b.number and (
            {a.dimension, b.dimension} in _ALIKE
            or (
                {a.dimension, b.dimension} == {"mass", "concentration"}
                and a.unit.partition("_")[0] == b.unit.partition("_")[0]
            )
        )
    if a.unit == b.unit:
        return abs(a.number - b.number) <= 1e-6 * max(1, abs(a.number))
    if a.dimension == "temperature":
        return abs(a.value - b.value) <= 0.3
    if {a.unit, b.unit} == {"week", "month"}:  # eight weeks are two months as people say it
        weeks, months = (a, b) if a.unit == "week" else (b, a)
        return 4 * months.number <= weeks.number <= 4.5 * months.number
    exact = _UNITS[a.unit][2] and _UNITS[b.unit][2]
    return abs(a.value - b.value) <= (1e-6 if exact else 0.03) * max(abs(a.value), abs(b.value))


def _quantity(start: int, end: int, number: float, unit: str, is_code: bool, pair: bool) -> Quantity:
    dimension, factor = _UNITS[unit][:2] if unit else ("", 1)
    value = number * 9 / 5 + 32 if unit == "C" else number * factor
    return Quantity(start, end, value, dimension, unit, number, is_code, pair)


def _numbers(match: re.Match[str]) -> list[float]:
    """The number of a match; several where number words follow each other, as in "two three days"."""
    written = _THOUSANDS.sub("", match["value"])
    if written in _TIMES:
        values = [_TIMES[written]]
    elif written[0] in ".0123456789":
        values = [float(written)]
    else:
        values = spoken_numbers(written)
    values[-1] = values[-1] * _MAGNITUDES.get(match["magnitude"] or "", 1) + (0.5 if match["half"] else 0)
    return values
