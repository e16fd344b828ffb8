"""Test results, ages, dates, durations and other numbers held against the note."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Hashable, Iterable, Iterator
from datetime import date
from itertools import accumulate, combinations_with_replacement, pairwise

from clinadapt.clinical.claims.asked_times import asks_for_this_visit
from clinadapt.clinical.claims.checked import CheckedClaim, each_once, verdict
from clinadapt.clinical.claims.clauses import beside
from clinadapt.clinical.claims.kinds import Claim
from clinadapt.clinical.claims.quantities import Quantity, is_year, parts_of_time, same
from clinadapt.clinical.claims.reading import Measurement, Reading
from clinadapt.clinical.claims.reckoned_doses import TOTAL
from clinadapt.clinical.claims.relatives import RELATIVE
from clinadapt.clinical.claims.words import STOP_WORDS, stem
from clinadapt.clinical.dates import MONTHS, less_precise, other_reading
from clinadapt.clinical.mention import Mention

_IN = re.compile(r"\b(?:in|of|since|until|year)(?: '| )\Z")
_ABOUT = re.compile(
    r"(?:\b(?:about|approximately|approx\.?|around|roughly|nearly|almost|some|circa|"
    r"(?:more|less|longer|shorter|over|under|just|slightly|a little|a bit)(?: (?:than|over|under|more|less))*)|~) ?\Z"
)
_BIRTH = re.compile(r"\b(?:dob|birth|born)\b")
_BORN = re.compile(r"\b(?:d\.?o\.?b\.?|date of birth|born(?: on)?)\W{0,3}\Z")
_PERIOD = re.compile(
    r"(?:(?: of)? [a-z]+){0,2}?(?: (?:per|an?|each|every) |/ ?)(?P<p>day|week|month|year)|(?: of)?(?: [a-z]+)?"
    r" (?P<ly>dai|week|month|year)ly\b"
)
_AGO = re.compile(r" (?:ago|before|earlier|previously)\b")
_LAST = re.compile(r"\b(?:(?:last|(?:the )?previous) (day|week|month|year)|yesterday)\b")
_AND = re.compile(r",? (?:and )?")
_BARE_MONTH = re.compile(
    r"\b(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|"
    r"Nov(?:ember)?|Dec(?:ember)?)\b"
)
_SHORT_DATE = re.compile(r"(?<![\d/.])(?!\d+/10\b)(0?[1-9]|[12]\d|3[01])/(0?[1-9]|[12]\d|3[01])(?![\d/])")
_CHANGE = re.compile(r"\bfrom (\d+(?:\.\d+)?)[^\d.;]{0,8} to (\d+(?:\.\d+)?)")
_MOST_SUMMED = 60  # quantities of a note
_ROUGHLY = 0.1  # of a round number, by which what it rounds may differ
_MOST_LISTED = 5  # things that a reader counts
_MOST_BARE = 4  # words of an answer that is hardly more than a year
_MARGIN = 2  # words by which the surroundings of another value must fit better
_HEADER = 80  # characters within which a note tells how old the patient is
_AT_AN_AGE = re.compile(rf"\b(?:at|when|since|from|by|until|before|after)\b|{RELATIVE.pattern}")
_IN_ML = ("blood loss", "urine output")  # as notes leave out
_UNIT_WORDS = {stem(unit) for unit in ("hours", "days", "weeks", "months", "years", "minutes")}
_OLD = re.compile(r"[- ]olds?\b")
_NO_TIME = re.compile(r"once|twice|thrice|\d+ ?(?:\+|/)")  # twice daily, protein 2+, pain 3/10
# Of "Which dates does the note give?", which is no closer to "Date of discharge:"
_DATE = {stem("date"), "follow", "up"}


def check_tests(stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    by_name: dict[str, list[Measurement]] = {}
    for each in source.measurements if stated.measurements else ():
        by_name.setdefault(each.name, []).append(each)

    def check(measurement: Measurement) -> Iterator[CheckedClaim]:
        name = measurement.name
        value = "/".join([*(f"{q.number:g}" for q in measurement.values[:-1]), str(measurement.values[-1])])
        claim = Claim("test", measurement.values[0].start, measurement.end, f"{name} {value}")
        given = by_name.get(name, [])
        fits = [(m.start, m.end) for m in given if same_values(m.values, measurement.values)]
        if not fits and len(measurement.values) > 1:
            pairs = (pair for pair in value_pairs(source) if same_values(pair, measurement.values))
            fits = [(first.start, second.end) for first, second in pairs]
        if not fits:
            fits = [q[:2] for m in given for q in m.others if same_values((q,), measurement.values)]
        if not fits and not given:
            fits = [q[:2] for q in source.quantities if same_values((q,), measurement.values[:1])]
        yield verdict(claim, fits, [(m.start, m.end) for m in given])

    def content(measurement: Measurement) -> Hashable:
        values = tuple((q.start - measurement.start, *q[2:]) for q in measurement.values)
        return measurement.name, measurement.end - measurement.start, values

    yield from each_once(stated.measurements, content, check)


def check_ages(stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    known: dict[float, list[tuple[int, int]]] = {}
    spans = [(s, e) for s, e, _ in source.ages] if stated.ages else []
    for start, end, years in stated.ages:
        if years not in known:
            own = [(s, e) for s, e, y in source.ages if y == years]
            of_past = spans and _AT_AN_AGE.search(stated.lower, *stated.sentence_at(start))
            bare = (q for q in source.quantities if q.number == years and q.unit in ("", "year", "F" * (years < 90)))
            known[years] = own or [q[:2] for q in bare if not spans or of_past or q.unit or q.start < _HEADER]
        yield verdict(Claim("age", start, end, f"{years:g} years"), known[years], spans)


def check_sex(stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    if stated.sex and source.sex:
        sex, start, end = stated.sex
        spans = [source.sex[1:]]
        claim = Claim("sex", start, end, sex)
        yield verdict(claim, spans if sex == source.sex[0] else [], spans)


def check_dates(stated: Reading, source: Reading, asked: Reading | None) -> Iterator[CheckedClaim]:
    of_birth = _BIRTH.search(stated.lower) or (asked and _BIRTH.search(asked.lower))
    dates = [d for d in source.dates if of_birth or not _BORN.search(source.lower, max(0, d.start - 16), d.start)]
    variants = [(day, _forms(source, day)) for day in dates] if stated.dates or stated.months else []

    def check(day: Mention) -> Iterator[CheckedClaim]:
        meant = _meant(stated, day, source)
        fits = [(d.start, d.end) for d, forms in variants if meant & forms]
        if not fits and day.value[0] == "-":  # 3/14 may also be a fraction of the note
            fits = [(d.start, d.end) for d, _ in variants if d.value[-5:] == day.value[-5:]]
        other = [(d.start, d.end) for d, forms in variants if not meant & forms]
        if not fits:
            fits, more = _in_short_figures(day, source)
            other += more
        if fits and other and not (asked and fits[0][0] < _HEADER and asks_for_this_visit(asked)):
            fits = _better(stated, (day.start, day.end), source, fits, other, asked)
        yield verdict(Claim("date", day.start, day.end, day.value), fits, other)

    def check_month(month: Mention) -> Iterator[CheckedClaim]:
        own = [(d.start, d.end) for d, forms in variants if any(month.value in f[-5:].split("-")[:2] for f in forms)]
        own += [(m.start, m.end) for m in source.months if m.value == month.value]
        written = _BARE_MONTH.finditer(source.text) if not own else ()
        own += [m.span() for m in written if f"{MONTHS.index(m[0][:3].lower()) + 1:02}" == month.value]
        yield verdict(
            Claim("date", month.start, month.end, f"--{month.value}"), own, [(d.start, d.end) for d, _ in variants]
        )

    def content(day: Mention) -> Hashable:
        return stated.text[day.start : day.end], day.value, stated.around((day.start, day.end))

    yield from each_once(stated.dates, content, check)
    yield from each_once(stated.months, lambda month: (month.value, month.end - month.start), check_month)


def _in_short_figures(day: Mention, source: Reading) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Where the note may have a day of a year in figures, as 5/21 or 21/5; and where it may have others."""
    own: list[tuple[int, int]] = []
    others: list[tuple[int, int]] = []
    wanted = sorted(map(int, day.value[-5:].split("-"))) if day.value[-6:-5] == "-" else []
    for match in _SHORT_DATE.finditer(source.lower) if wanted else ():
        (own if sorted(map(int, match.groups())) == wanted else others).append(match.span())
    return own, others if own else []


def _forms(source: Reading, day: Mention) -> set[str]:
    """What an answer may write for a date of the note: it, or the other reading of figures that may be either, whole or
    in part."""
    readings = {day.value} if source.date_order else _readings(source, day)
    return set().union(*(less_precise(each) | {each[:4]} for each in readings))


def _meant(stated: Reading, day: Mention, source: Reading) -> set[str]:
    """What a date of the answer may be: figures that may be either are read in the order that its dates have, or else
    those in figures of the note."""
    other = other_reading(stated.text[day.start : day.end], day.value)
    if not other or stated.order_of_its_figures:
        return {day.value}
    by_day, by_month = (day.value, other) if stated.date_order == "day" else (other, day.value)
    order = source.date_order if source.has_date_in_figures else ""
    return {by_day} if order == "day" else {by_month} if order == "month" else {by_day, by_month}


def _readings(text: Reading, day: Mention) -> set[str]:
    """A date, and what its figures are in the other order."""
    return {day.value, other_reading(text.text[day.start : day.end], day.value) or day.value}


def check_numbers(
    stated: Reading,
    source: Reading,
    asked: Reading | None,
    covered: set[tuple[int, int]],
    ages: list[tuple[int, int]],
) -> Iterator[CheckedClaim]:
    """Quantities that no other claim covers: durations, sizes, counts."""
    others = _apart(stated.quantities, [*covered, *ages, *(f[:2] for f in stated.frequencies)])
    counts = {quantity[:2]: stem for stem, counted in stated.counted.items() for quantity in counted}
    named = _of_something(source) if others else set()
    same_ones = (q for q in source.quantities if q.dimension and any(same(q, each) for each in stated.quantities))
    said = {q[:2] for q in same_ones} if others else set()
    aged = {start for start, _, _ in source.ages} if others else set()

    def check(quantity: Quantity) -> Iterator[CheckedClaim]:
        span = quantity.start, quantity.end
        kind = "duration" if quantity.dimension == "time" else "number"
        claim = Claim(kind, *span, str(quantity))
        counted = source.counted.get(counts.get(span, ""), [])
        if counted and not any(_fits(quantity, q) for q in counted):
            yield verdict(claim, [], [q[:2] for q in counted])
            return
        if quantity.number in (0, 1) and not quantity.dimension:  # notes say "a" and "none"
            return
        if counts.get(span) and not counted and _counts_a_list(quantity, stated, source):
            return
        fits = _given(quantity, stated, source, named)
        if not fits and quantity.unit in ("day", "week") and (between := _between_dates(quantity.value, source)):
            yield verdict(claim, between, [])
            return
        other = [
            q[:2] for q in source.quantities
            if q.dimension == quantity.dimension and not q.is_code and not _fits(quantity, q) and q.start not in aged
        ] if quantity.dimension else []  # fmt: skip
        if is_year(quantity) and len(stated.words) <= _MOST_BARE:
            other = [q[:2] for q in source.quantities if is_year(q) and q.number != quantity.number]
        if period := _period(stated, quantity.end):
            periods = [(span, _period(source, span[1])) for span in fits]
            fits = [span for span, own in periods if own in ("", period)]
            other += [span for span, _ in periods]
        if _OLD.match(stated.lower, quantity.end):
            times = {q[:2] for q in source.quantities if q.dimension == "time"}
            fits = [each for each in fits if each in times or each[0] < _HEADER]
            other = [] if any(start < _HEADER for start, _ in fits) else other  # "baby check 6/52" tells an age
        unsaid = [q for q in other if q not in said]
        if fits and unsaid:
            fits = _better(stated, span, source, fits, unsaid, asked)
        against = other if quantity.dimension and _shares(stated, span, source, other) else []
        yield verdict(claim, fits, against)

    def content(quantity: Quantity) -> Hashable:
        span = quantity.start, quantity.end
        return span[1] - span[0], quantity[2:], counts.get(span), stated.around(span)

    yield from each_once(others, content, check)


def _period(reading: Reading, position: int) -> str:
    """The first letters of the time that a number which ends at a position is for: `da` of "30 units per day"."""
    match = _PERIOD.match(reading.lower, position)
    return (match["p"] or match["ly"])[:2] if match else ""


def _of_something(source: Reading) -> set[tuple[int, int]]:
    """Spans of the bare numbers of a note that count something or are results of tests: they are no dose or time."""
    counting = {q[:2] for counted in source.counted.values() for q in counted if not q.dimension}
    return counting | {v[:2] for m in source.measurements for v in m.values if not v.dimension}


def _counts_a_list(quantity: Quantity, stated: Reading, source: Reading) -> bool:
    """Whether a number may be how many things the note lists: "three broken ribs" of ribs six to eight."""
    near = stated.words_within(quantity.end, quantity.end + 30)[:3]
    is_few = not quantity.dimension and quantity.number <= _MOST_LISTED
    return is_few and any(word.stem in source.stems and word.stem not in source.counted for word in near)


def _given(quantity: Quantity, stated: Reading, source: Reading, named: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """Where the note has a quantity: as it is, roughly where the answer says so, or in parts that make it up."""
    own = [q for q in source.quantities if quantity.dimension in ("", "angle") or q[:2] not in named]
    if quantity.dimension:
        own = [q for q in own if q.dimension or not _NO_TIME.match(source.lower, q.start)]
    fits = [q[:2] for q in own if _fits(quantity, q)]
    around = max(0, quantity.start - 40), quantity.end + 30
    if not fits and quantity.dimension == "time":  # day 5 of antibiotics; fortnightly
        alike = (q for q in source.quantities if q.number == quantity.number)
        fits = [q[:2] for q in alike if source.lower.endswith(f"{quantity.unit} ", 0, q.start)]
        fits += [f[:2] for f in source.frequencies if abs(f[2] * quantity.value - 1) < 0.02]
        fits += parts_of_time(quantity, source.lower)
    if not fits and quantity.number == 1 and _AGO.match(stated.lower, quantity.end):
        fits = [m.span() for m in _LAST.finditer(source.lower) if (m[1] or "day") == quantity.unit]
    is_round = quantity.number <= 10 or quantity.number % 5 == 0
    if not fits and quantity.dimension and is_round and _ABOUT.search(stated.lower, around[0], quantity.start):
        fits = [q[:2] for q in [*own, *_sums(own, source)] if _about(quantity, q, _ROUGHLY)]
    if not fits and quantity.dimension and TOTAL.search(stated.lower, *around):
        fits = [a[:2] for a, b in combinations_with_replacement(own[:_MOST_SUMMED], 2) if _is_sum(quantity, a, b)]
    if not fits and quantity.dimension:
        fits = _difference(quantity, stated, own)
    fits += [v[:2] for m in source.measurements for v in m.values if v.dimension and same(quantity, v)]
    if quantity.unit == "mL":
        of_volume = (m.values[0] for m in source.measurements if m.name in _IN_ML)
        fits += [v[:2] for v in of_volume if not v.dimension and v.number == quantity.number]
    if not fits and not quantity.dimension:
        fits = [(d.start, d.end) for d in source.dates if d.value[:4] == f"{quantity.number:g}"]
        fits += [f[:2] for f in source.frequencies if f[2] == quantity.number]
        fits += _spoken_year(quantity, source)
    return fits


def _apart(quantities: Iterable[Quantity], spans: list[tuple[int, int]]) -> list[Quantity]:
    """Quantities that are no part of a name and overlap none of these spans."""
    spans = sorted(spans)
    ends = list(accumulate((end for _, end in spans), max))  # the last end so far
    apart = []
    for quantity in quantities:
        before = bisect_right(spans, quantity.start, key=lambda span: span[0])
        reaches = before and ends[before - 1] > quantity.start
        begins = before < len(spans) and spans[before][0] < quantity.end
        if not (quantity.is_code or reaches or begins):
            apart.append(quantity)
    return apart


def _spoken_year(quantity: Quantity, source: Reading) -> list[tuple[int, int]]:
    """A year in two digits, as 1982 in "back in eighty two"."""
    if not is_year(quantity):
        return []
    alike = (q for q in source.quantities if not q.dimension and q.number == quantity.number % 100)
    return [q[:2] for q in alike if _IN.search(source.lower, max(0, q.start - 9), q.start)]


def _between_dates(days: float, source: Reading) -> list[tuple[int, int]]:
    """The second of two dates of the note that are so many days apart."""
    known = [(date.fromisoformat(d.value).toordinal(), d) for d in source.dates if len(d.value) == 10]
    ordinals = {ordinal for ordinal, _ in known}
    return [(last.start, last.end) for ordinal, last in known if ordinal - days in ordinals]


def value_pairs(source: Reading) -> list[tuple[Quantity, Quantity]]:
    """Pairs of a note, which may be blood pressures of several positions: "lying 158/80, standing 121/70"."""
    return [(first, second) for first, second in pairwise(source.quantities) if first.pair]


def same_values(a: tuple[Quantity, ...], b: tuple[Quantity, ...]) -> bool:
    """Whether the values agree; a unit may be missing in one of the texts."""
    return len(a) >= len(b) and all(
        same(x, y) or ("" in (x.dimension, y.dimension) and abs(x.number - y.number) < 1e-6)
        for x, y in zip(a, b, strict=False)
    )


def _fits(stated: Quantity, own: Quantity) -> bool:
    in_percent = stated.dimension == own.dimension == "percent"
    if same(stated, own) or (in_percent and stated.number == round(own.number)):  # 6.4 % are about six
        return True
    return "" in (stated.dimension, own.dimension) and not (stated.dimension and own.is_code) and (
        abs(stated.number - own.number) < 1e-6
    )  # fmt: skip


def _is_sum(stated: Quantity, one: Quantity, other: Quantity) -> bool:
    return stated.dimension == one.dimension == other.dimension and abs(stated.value - one.value - other.value) < 1e-6


def _difference(quantity: Quantity, stated: Reading, own: list[Quantity]) -> list[tuple[int, int]]:
    """Where the note has the two values whose difference a quantity is, as its sentence says: 13 pounds of "from 131 to
    118"."""
    change = _CHANGE.search(stated.lower, *stated.sentence_at(quantity.start))
    ends = [float(value) for value in change.groups()] if change else [0.0, 0.0]
    spans = [[q[:2] for q in own if q.number == end] for end in ends]
    return spans[0] if all(spans) and abs(abs(ends[0] - ends[1]) - quantity.number) < 1e-6 else []


def _about(stated: Quantity, own: Quantity, share: float) -> bool:
    return stated.dimension == own.dimension and abs(stated.value - own.value) <= share * stated.value + 1e-6


def _sums(quantities: list[Quantity], source: Reading) -> Iterator[Quantity]:
    """Times and lengths in two parts, such as 4 minutes and 39 seconds."""
    for first, second in pairwise(quantities):
        in_two_units = first.dimension == second.dimension and first.dimension and first.unit != second.unit
        if in_two_units and _AND.fullmatch(source.lower, first.end, second.start):
            yield first._replace(end=second.end, value=first.value + second.value)


def _better(
    stated: Reading,
    span: tuple[int, int],
    source: Reading,
    fits: list[tuple[int, int]],
    other: list[tuple[int, int]],
    asked: Reading | None,
) -> list[tuple[int, int]]:
    """`fits`; none where the words around another value of the note are clearly those around the answer's."""
    own = stated.around(span) - _UNIT_WORDS
    question = asked.stems - STOP_WORDS - _DATE if asked else frozenset()
    if _most_shared(own, fits, source) > _most_shared(own, other, source):
        return fits
    best_fit, best_other = (_most_shared(own | question, spans, source) for spans in (fits, other))
    if asked and _is_beside(question, source, fits, other):
        return []
    clear = best_other - best_fit >= _MARGIN or (best_fit == 0 < best_other and len(stated.around(span)) <= 2)
    return [] if clear else fits


def _most_shared(words: frozenset[str], spans: list[tuple[int, int]], source: Reading) -> int:
    return max(len(words & source.around(span)) for span in spans)


def _is_beside(
    words: frozenset[str], source: Reading, fits: list[tuple[int, int]], other: list[tuple[int, int]]
) -> bool:
    """Whether words of the question stand beside another value of the same sentence and beside none of those that
    fit: "admitted 02/11, discharged 02/16"."""
    sentences = {source.sentence_at(start) for start, _ in fits}
    near = [span for span in other if source.sentence_at(span[0]) in sentences and _is_time(span, source)]
    return any(words & beside(span, source) for span in near) and not any(words & beside(f, source) for f in fits)


def _is_time(span: tuple[int, int], source: Reading) -> bool:
    return not any(q[:2] == span and q.dimension not in ("time", "") for q in source.quantities)


def _shares(stated: Reading, span: tuple[int, int], source: Reading, other: list[tuple[int, int]]) -> bool:
    words = stated.around(span)
    return any(words & source.around(each) for each in other)
