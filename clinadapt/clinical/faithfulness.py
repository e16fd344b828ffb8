"""Faithfulness check: numbers, dates and drugs in an answer that its note does not support."""

from __future__ import annotations

import re

from clinadapt.clinical.dates import dates, less_precise
from clinadapt.clinical.doses import number_mentions, numbers
from clinadapt.clinical.drugs import drugs
from clinadapt.clinical.number_format import point_decimals

_TIMES_PER_DAY = {"b.i.d": "2", "bid": "2", "t.i.d": "3", "tid": "3", "q.i.d": "4", "qid": "4"}
_DOSING_FREQUENCY = re.compile(r"\b(?:b\.i\.d|bid|t\.i\.d|tid|q\.i\.d|qid)\b", re.IGNORECASE)

_AGE_AND_SEX = re.compile(r"(?<![\w.])(\d{1,3})[FM]\b")  # 36F is a woman of 36 years


def facts(text: str) -> set[str]:
    """Normalized numbers (`20 mg`, `3`), dates (`2009-03-14`) and drugs (`lisinopril`) of a text."""
    return numbers(text) | dates(text) | drugs(text)


def unsupported_facts(answer: str, note: str, decimal_comma: bool = False) -> set[str]:
    """Facts of an answer that its note does not support.

    A number with a unit of mass, volume or time needs the same number with that unit; any other number needs the
    number alone. A drug may appear by brand in one text and by generic name in the other, a number by word or by
    digits. A date in the note also supports the same date with less detail ("March 2009", "2009"). With
    `decimal_comma`, 0,125 is less than one in both texts.
    """
    answer, note = point_decimals(answer, decimal_comma), point_decimals(note, decimal_comma)
    answer_numbers, answer_dates, answer_drugs = numbers(answer), dates(answer), drugs(answer)
    note_dates: set[str] = set()
    if answer_numbers or answer_dates:
        note_dates = {variant for day in dates(note) for variant in less_precise(day)}
    note_numbers = {day[:4] for day in note_dates if day[0] != "-"}
    if answer_numbers:
        values = {mention.value for mention in number_mentions(note, include_codes=True)}
        note_numbers |= values | {value.partition(" ")[0] for value in values}
        note_numbers |= {_TIMES_PER_DAY[match.lower()] for match in _DOSING_FREQUENCY.findall(note)}
        note_numbers |= {f"{age} year" for age in _AGE_AND_SEX.findall(note)}
    unsupported_drugs = answer_drugs - drugs(note) if answer_drugs else set()
    return (answer_numbers - note_numbers) | (answer_dates - note_dates) | unsupported_drugs
