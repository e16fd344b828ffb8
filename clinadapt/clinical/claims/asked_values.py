"""Values of bare answers, held against the test and the time that the question asks for: "118" to "What is the sodium
now?" of a note that has "sodium was 118 and is now 124"."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clinadapt.clinical.claims.asked_numbers import ASKS_INVOLVED
from clinadapt.clinical.claims.asked_things import is_bare
from clinadapt.clinical.claims.checked import CheckedClaim, verdict
from clinadapt.clinical.claims.clauses import beside
from clinadapt.clinical.claims.kinds import Claim
from clinadapt.clinical.claims.number_checks import same_values, value_pairs
from clinadapt.clinical.claims.quantities import Quantity, is_year, same
from clinadapt.clinical.claims.reading import Measurement, Reading
from clinadapt.clinical.claims.relatives import RELATIVE
from clinadapt.clinical.claims.results import PENDING
from clinadapt.clinical.claims.words import STOP_WORDS, stem
from clinadapt.clinical.dates import MONTHS

_ASKS_VALUE = re.compile(
    r"\W*(?:what|which|how (?:much|many|fast|heavy|tall|wide|thick|deep|high|low|large|big|is|was|did|has|far))\b"
)
_NOT_A_VALUE = re.compile(
    r"\b(?:treat|given|cause|plan|done|manage|happen|los[te]|gain|chang|ris|rose|fell|fall|drop|increas|decreas)\w*\b"
)
_NOW = re.compile(
    r"\b(?:now|currently|today|presently|at present|(?:lower|reduc|rais|increas|chang|cut)\w*(?: down| back)? to)\b"
)
_ASKS_NOW = re.compile(
    r"\b(?:now|current(?:ly)?|today|latest|new(?:est)?|present(?:ly)?|after\b(?! (?:meal|food))|(?:at|on) discharge)\b"
)
_BEFORE = re.compile(
    r"\bbefore\b(?! (?:meal|food|breakfast|lunch|dinner|bed|sleep))|\blast (?:year|month|week|visit|time)\b|"
    r"\b(?:previous(?:ly)?|prior|ago|earlier|initial(?:ly)?|at first|original(?:ly)?|baseline|formerly)\b"
)
_IS = re.compile(r"(?:[^?]*,? and |\W*)(?:what|which|how)\b[^?]{0,25}?\b(?:is|are|does|do)\b")
_IN_TIME = re.compile(
    rf"\b(?:in|on|at) (?:early |late )?({'|'.join(MONTHS)}|(?:19|20)\d\d|admission|arrival|presentation|booking)"
)
_AGO = re.compile(r" ago\b")
_BOUND = re.compile(r"[,;(\n]|[.:](?!\d)")
_SIDE = re.compile(r"\b(left|right)\b")
_SIDE_BEHIND = re.compile(r"(?: ?(?:mm ?hg|db|diopters?|dpt|d|%|cm|mm))?(?: in| on| of)?(?: the)? ?\(?")
_NEAR = 25  # characters between a side and its value
_HOW_MANY = re.compile(r"\W*how many ([a-z]+)")
_FEW = 2
_NEUTRAL = """count level value result score current latest high low large measure measures measuring number rate about
approximately around now then today previously currently old size volume up down least most only
last week month year day visit time yesterday ago arrival admission discharge from target usual normal baseline
followed"""
_NO_LABEL = STOP_WORDS | frozenset(map(stem, _NEUTRAL.split()))  # words that name nothing that has a value


def check_asked_values(stated: Reading, source: Reading, asked: Reading) -> Iterator[CheckedClaim]:
    """The first value of an answer that names no test and no drug, where the question names what it is of."""
    values = _first_value(stated)
    asks_value = _ASKS_VALUE.match(asked.lower) and not _NOT_A_VALUE.search(asked.lower)
    counted = [*_of_counted(values, stated, source, asked)] if values else []
    if counted:
        yield from counted
        return
    if values and (of_relative := [*_of_relative(values, stated, source, asked)]):
        yield from of_relative
        return
    if not values or not asks_value or stated.tests_named or stated.drugs or asked.drugs:
        return
    names = {name for _, _, name in asked.tests_named}
    given = [m for m in source.measurements if m.name in names] if len(names) == 1 else []
    if given:
        own = [m.values for m in given] + [(q,) for m in given for q in m.others]
        own += [(q,) for m in given for q in _unlabelled(m, source)]
        later = {source.earlier_numbers.get(v[0][:2]) for v in own}
        own += [(q,) for q in source.quantities if q[:2] in later and not q.pair]
        known = {v[0][:2] for v in own if len(v) > 1}
        own += [pair for pair in value_pairs(source) if pair[0][:2] not in known] if len(values) > 1 else []
        fits = _of_asked_part([v for v in own if same_values(v, values)], own, source, asked)
        if not fits and not _is_bare(stated, asked):  # it may be of something else
            return
        claim = Claim("test", *_span(values), f"{names.pop()} {'/'.join(map(str, values))}")
        yield verdict(claim, map(_span, fits), map(_span, own))
    elif names and _is_bare(stated, asked) and (pending := _pending(names, source)):
        yield CheckedClaim(Claim("test", *_span(values), f"{min(names)} known"), "contradicted", pending)
    elif _is_bare(stated, asked) and (side := _SIDE.search(asked.lower)) and _is_sided(values, source):
        fits, own = _of_side(values, side[1], source)
        claim = Claim("number", *_span(values), f"{side[1]} {'/'.join(map(str, values))}")
        yield verdict(claim, map(_span, fits), map(_span, own))
    elif _is_bare(stated, asked) and (label := _of_another_label(values, source, asked)):
        yield CheckedClaim(Claim("number", *_span(values), str(values[0])), "contradicted", label)


def _pending(names: set[str], source: Reading) -> tuple[int, int] | None:
    """Span of a test of these that the note only names as pending."""
    spans = [source.span_of(first, stop) for first, stop, n in source.tests_named if n in names]
    return spans[0] if spans and all(PENDING.match(source.lower, end) for _, end in spans) else None


def check_sided_values(stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    """Values that an answer has beside one side and the note beside the other alone, where it has another for that:
    "the right kidney has 8.2 cm" of "left 8.2 cm, right 10.4 cm"."""
    for value in stated.quantities if stated.sides and source.sides else ():
        side = "" if value.is_code else _side((value,), stated)
        if not side or not _is_sided((value,), source):
            continue
        fits, own = _of_side((value,), side, source)
        if not fits and (alike := [v for v in own if v[0].dimension == value.dimension]):
            claim = Claim("side", value.start, value.end, f"{side} {value}")
            yield CheckedClaim(claim, "contradicted", _span(alike[0]))


def _of_counted(
    values: tuple[Quantity, ...], stated: Reading, source: Reading, asked: Reading
) -> Iterator[CheckedClaim]:
    """A bare number of things that the note counts: "How many pillows?" of "sleeps on 3 pillows"."""
    match = _HOW_MANY.match(asked.lower)
    own = source.counted.get(stem(match[1]), []) if match and _is_bare(stated, asked) else []
    some = bool(match) and bool(ASKS_INVOLVED.match(asked.lower))  # of all that the note counts
    if match and own and not some and not any(same_values((q,), values[:1]) for q in own):
        yield CheckedClaim(Claim("number", *_span(values), f"{values[0]} {match[1]}"), "contradicted", own[0][:2])


def _of_relative(
    values: tuple[Quantity, ...], stated: Reading, source: Reading, asked: Reading
) -> Iterator[CheckedClaim]:
    """A bare number about a relative, where the note has numbers in its sentences about this relative, and not this."""
    relative = RELATIVE.search(asked.lower)
    if not relative or not _is_bare(stated, asked):
        return
    sentences = [source.sentence_at(word.start) for word in source.words_of(stem(relative[0]))]
    near = [q for start, end in sentences for q in source.quantities if start <= q.start < end]
    if near and not any(same_values((q,), values[:1]) for q in near):
        yield CheckedClaim(
            Claim("number", *_span(values), f"{values[0]} of {relative[0]}"), "contradicted", near[0][:2]
        )


def of_stated_time(
    checks: list[CheckedClaim], stated: Reading, source: Reading, asked: Reading | None
) -> list[CheckedClaim]:
    """The checks; contradicted where a number of the note is of another time than the answer says, or the question."""
    if not source.earlier_numbers:
        return checks
    time = ""
    if asked and (_BEFORE.search(asked.lower) or _asks_for_dated(asked, source)):
        time = "before"
    elif asked and (_ASKS_NOW.search(asked.lower) or _IS.match(asked.lower)):
        time = "now"
    return [
        each._replace(outcome="contradicted")
        if each.outcome == "supported" and each.claim.kind in ("test", "dose", "number", "duration")
        and each.evidence and _is_of_other_time(each.claim, each.evidence[0], stated, source, asked, time)
        else each
        for each in checks
    ]  # fmt: skip


def _asks_for_dated(asked: Reading, source: Reading) -> bool:
    """Whether a question asks for the value of a month or year in which the note has an earlier one."""
    if not (match := _IN_TIME.search(asked.lower)):
        return False
    dated = re.compile(rf" (?:in |on |at )?(?:early |late )?{match[1]}")
    return any(dated.match(source.lower, end) for _, end in source.earlier_numbers)


def _is_of_other_time(
    claim: Claim, evidence: int, stated: Reading, source: Reading, asked: Reading | None, time: str
) -> bool:
    """Whether the note, around the evidence, has the number of a claim only for another time than it says, or else
    than `time`, that of the question."""
    if _AGO.match(stated.lower, claim.end):  # "11 weeks ago" is a time by itself
        return False
    first = next((q for q in stated.quantities if claim.start <= q.start < claim.end), None)
    alike = [q for q in source.quantities if first and q.number == first.number]
    named = asked.stems - _NO_LABEL if asked and len(stated.words) <= _FEW else frozenset()
    own = [q[:2] for q in alike if named & {w.stem for w in source.words_within(*source.sentence_at(q.start))}]
    own = own or [q[:2] for q in alike if source.sentence_at(q.start) == source.sentence_at(evidence)]
    if not first or not own:
        return False
    earlier = source.earlier_numbers
    begin, stop = stated.sentence_at(claim.start)
    if any(begin <= span[0] < stop for span in stated.earlier_numbers):  # "from 14 to 5.2"
        later = next((q.number for q in stated.quantities if q[:2] == stated.earlier_numbers.get(first[:2])), None)
        earlier_ones = {q.number for q in source.quantities if earlier.get(q[:2]) in own}
        return later in earlier_ones and not any(span in earlier for span in own)
    time = _time(stated.lower, begin, stop) or time
    if time == "before":
        return all(span not in earlier and span in earlier.values() for span in own)
    return time == "now" and all(span in earlier for span in own)


def _time(lower: str, start: int, end: int) -> str:
    """`before` or `now`, as a text says; empty where it says neither or both."""
    before, now = _BEFORE.search(lower, start, end), _NOW.search(lower, start, end)
    return "" if bool(before) == bool(now) else "before" if before else "now"


def _side(values: tuple[Quantity, ...], source: Reading) -> str:
    """The side that a value stands beside: before it where its sentence begins with a side, "left eye 6/9, right 6/24",
    else behind it, "16 right, 21 left"."""
    first, last = values[0].start, values[-1].end
    start, end = source.sentence_at(first)
    sides = [m for m in source.sides if start <= m.start < end and m.side != "both"]
    numbers = [q for q in source.quantities if start <= q.start < end]
    if sides and numbers and sides[0].start < numbers[0].start:
        behind = max((q.end for q in numbers if q.end <= first), default=start)
        near = [m.side for m in sides if behind <= m.start < first and first - m.end <= _NEAR]
    else:
        near = [m.side for m in sides if last <= m.start and _SIDE_BEHIND.fullmatch(source.lower, last, m.start)]
    return near[-1] if near else ""


def _is_sided(values: tuple[Quantity, ...], source: Reading) -> bool:
    """Whether the note has a value, and it beside a side wherever it does."""
    own = [pair for pair in _all_values(source, len(values)) if same_values(pair, values)]
    return bool(own) and all(_side(pair, source) for pair in own)


def _of_side(
    values: tuple[Quantity, ...], side: str, source: Reading
) -> tuple[list[tuple[Quantity, ...]], list[tuple[Quantity, ...]]]:
    """Where the note has a value on a side, and where it has any on that side."""
    own = [each for each in _all_values(source, len(values)) if _side(each, source) == side]
    return [each for each in own if same_values(each, values)], own


def _all_values(source: Reading, parts: int) -> list[tuple[Quantity, ...]]:
    return list(value_pairs(source)) if parts > 1 else [(q,) for q in source.quantities]


def _alike(a: Quantity, b: Quantity) -> bool:
    return a.dimension == b.dimension or not (a.dimension and b.dimension)


def _is_bare(stated: Reading, asked: Reading) -> bool:
    return is_bare(stated, asked, [q[:2] for q in stated.quantities])


def _first_value(stated: Reading) -> tuple[Quantity, ...]:
    """The first number of a text that is no time; with its second part, where it has one."""
    numbers = [q for q in stated.quantities if not q.is_code and q.dimension != "time"]
    return tuple(numbers[: 1 + numbers[0].pair]) if numbers else ()


def _unlabelled(measurement: Measurement, source: Reading) -> Iterator[Quantity]:
    """The numbers behind the value of a test in its sentence that nothing else is said to have: "INR 3.4, last week
    2.1"."""
    end = source.sentence_at(measurement.start)[1]
    for number in source.quantities:
        if measurement.end <= number.start < end:
            if _label(number, source):
                return
            yield number


def _of_asked_part(
    fits: list[tuple[Quantity, ...]], own: list[tuple[Quantity, ...]], source: Reading, asked: Reading
) -> list[tuple[Quantity, ...]]:
    """`fits`; none where the clause of another value has a word of the question and those of the fits have none:
    "standing"."""
    named = {i for first, stop, _ in asked.tests_named for i in range(first, stop)}
    words = {w.stem for i, w in enumerate(asked.words) if i not in named} - _NO_LABEL
    if not words or any(words & beside(_span(v), source) for v in fits):
        return fits
    return [] if any(words & beside(_span(v), source) for v in own if v not in fits) else fits


def _of_another_label(values: tuple[Quantity, ...], source: Reading, asked: Reading) -> tuple[int, int] | None:
    """Span of the number that the note has right behind a word of the question, where the answer's value only stands
    behind other words: 1.1 of "neutrophils 1.1, platelets 92" for 92."""
    words = asked.stems - _NO_LABEL
    labels = [(q, _label(q, source)) for q in source.quantities if not is_year(q)]
    if not any(label in words for _, label in labels):
        return None
    given: list[tuple[Quantity, str]] = []
    others: list[tuple[Quantity, str]] = []
    within = False
    for number, label in labels:  # what follows without a label is of the label before
        within = label in words or (within and not label)
        (given if within else others).append((number, label))
    alike = [q for q, _ in given if _alike(q, values[0])]
    if not alike or any(q.number == values[0].number or same(q, values[0]) for q, _ in given):
        return None
    return alike[0][:2] if any(label and same_values((q,), values[:1]) for q, label in others) else None


def _label(number: Quantity, source: Reading) -> str:
    """Stem of the word before a number, but for "is", "of" and the like; empty where another number is before it."""
    index = source.word_at(number.start) - 1
    start = source.sentence_at(number.start)[0]
    while index >= 0 and source.words[index].start >= start and source.words[index].stem in _NO_LABEL:
        index -= 1
    if index < 0 or source.words[index].start < start or number.start - source.words[index].end > 12:
        return ""
    name = source.words[index].stem
    return "" if name.isdigit() or _BOUND.search(source.lower, source.words[index].end, number.start) else name


def _span(values: tuple[Quantity, ...]) -> tuple[int, int]:
    return values[0].start, values[-1].end
