"""Numbers, dates and drugs of an answer that its note does not hold."""

from __future__ import annotations

import re

from clinadapt.clinical.dates import _less_detailed, dates
from clinadapt.clinical.doses import _numbers, numbers
from clinadapt.clinical.drugs import drugs

_TIMES_A_DAY = {"b.i.d": "2", "bid": "2", "t.i.d": "3", "tid": "3", "q.i.d": "4", "qid": "4"}


_OFTEN = re.compile(r"\b(?:b\.i\.d|bid|t\.i\.d|tid|q\.i\.d|qid)\b", re.IGNORECASE)


def facts(text: str) -> set[str]:
    """Numbers ("20 mg", "3"), dates ("2009-03-14") and drugs ("lisinopril") of a text, normalised."""
    return numbers(text) | dates(text) | drugs(text)


def unsupported_facts(answer: str, note: str) -> set[str]:
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
