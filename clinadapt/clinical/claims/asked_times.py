"""Dates, times of day and durations that a question asks for by an event: the date of the letter is not that of the
operation that it tells of."""

from __future__ import annotations

import re

from clinadapt.clinical.claims.asked_things import Span, is_bare, other_places, places
from clinadapt.clinical.claims.checked import CheckedClaim
from clinadapt.clinical.claims.clauses import clause_around
from clinadapt.clinical.claims.quantities import is_year, same
from clinadapt.clinical.claims.reading import Reading
from clinadapt.clinical.claims.times_and_titers import clock_times

_ASKS_WHEN = re.compile(
    r"\W*(?:when\b|(?:on |in |at )?(?:what|which) (?:date|day|month|year|time)\b|what (?:is|was) the (?:date|time) )"
)
_ASKS_HOW_LONG = re.compile(r"\W*(?:how long|for how (?:long|many)|how many (?:days|weeks|months|years))\b")
_THIS_VISIT = re.compile(r"\b(?:today|tonight|now|this (?:visit|morning|afternoon|evening|admission))\b")
_ASKS_FOR_VISIT = re.compile(
    r"\W*(?:when|(?:what|which) (?:date|day))\b(?!.*\b(?:last|previous\w*|first|next|earlier|again|operat\w+)\b)"
    r".*\b(?:seen|reviewed|visit\w*|consultation|appointment|letter|note|report|written|dictated|assess\w+)\b"
)
_HEADER = 150  # characters at the beginning, where a date is that of the note
_TIMES = ("date", "duration", "number")


def asks_for_this_visit(asked: Reading) -> bool:
    """Whether a question asks when the note was written or the patient seen, so that the date at its head answers."""
    return bool(_ASKS_FOR_VISIT.match(asked.lower))


def of_asked_event(checks: list[CheckedClaim], stated: Reading, source: Reading, asked: Reading) -> list[CheckedClaim]:
    """The checks; contradicted where a bare answer is a time of the note that stands apart from what the question asks
    about, beside which the note has another."""
    when = bool(_ASKS_WHEN.match(asked.lower))
    said = [q[:2] for q in stated.quantities] + [(d.start, d.end) for d in [*stated.dates, *stated.months]]
    if not (when or _ASKS_HOW_LONG.match(asked.lower)) or source.turns or not is_bare(stated, asked, said):
        return checks
    if not any(each.outcome == "supported" and each.claim.kind in _TIMES for each in checks):
        return checks
    named = places(asked, source)
    if not named:
        return checks
    times = [q[:2] for q in source.quantities if q.dimension == "time" and not _is_age(q[:2], source)]
    if when:
        times += [*((d.start, d.end) for d in [*source.dates, *source.months]), *_years(source)]
        times += [time[:2] for time in clock_times(source)]
    around = [source.sentence_at(start) for start, _ in [*named, *other_places(asked, source)]]
    return [
        each._replace(outcome="contradicted", evidence=other)
        if each.outcome == "supported" and each.claim.kind in _TIMES and each.evidence
        and (other := _other_time(each.evidence, times, named, around, source))
        else each
        for each in checks
    ]  # fmt: skip


def _other_time(
    evidence: Span, times: list[Span], named: list[Span], around: list[Span], source: Reading
) -> Span | None:
    """The time that a note has beside what is asked for, where it has that of the evidence only apart from it."""
    own = [span for span in times if _is_same_time(span, evidence, source)]
    if not own or any(_is_near(span, around, source) for span in own):
        return None
    others = [span for span in times if span not in own and _is_beside(span, named, source)]
    if others and any(start < _HEADER for start, _ in own):  # the date of the note: it may tell of today
        dated, told = ({source.sentence_at(start) for start, _ in spans} for spans in (times, named))
        if told - dated or any(_THIS_VISIT.search(source.lower, *each) for each in told):
            return None
    return others[0] if others else None


def _is_same_time(span: Span, other: Span, source: Reading) -> bool:
    if span == other or source.lower[slice(*span)] == source.lower[slice(*other)]:
        return True
    dates = {d.value for d in source.dates if (d.start, d.end) in (span, other)}
    both = [q for q in source.quantities if q[:2] in (span, other)]
    return (len(dates) == 1 and all(any((d.start, d.end) == s for d in source.dates) for s in (span, other))) or (
        len(both) == 2 and same(both[0], both[1])
    )


def _is_near(span: Span, around: list[Span], source: Reading) -> bool:
    """Whether a time stands in a sentence of what is asked for, or in that behind it."""
    start, end = source.sentence_at(span[0])
    return any(start <= s < end or (0 <= start - e <= 2 and e <= start) for s, e in around)


def _is_beside(span: Span, named: list[Span], source: Reading) -> bool:
    start, end = clause_around(span, source)
    return any(start <= s < end for s, _ in named)


def _is_age(span: Span, source: Reading) -> bool:
    return any(start < span[1] and span[0] < end for start, end, _ in source.ages)


def _years(source: Reading) -> list[Span]:
    return [q[:2] for q in source.quantities if is_year(q) and not q.is_code]
