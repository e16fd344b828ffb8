"""Question answering: the content of a section, vital signs, and what the note does not contain."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from clinadapt.clinical.sections import one_line, section_lexicon
from components.synthesize.parsed_note import ParsedNote
from components.synthesize.teacher import Triple, unanswerable

TASK = "Question Answering"

MAX_SECTIONS = 3


class _VitalSign(NamedTuple):
    value: re.Pattern[str]
    label: re.Pattern[str]
    questions: tuple[str, ...]


_BLOOD_PRESSURE = _VitalSign(
    re.compile(r"\b(?:BP|[Bb]lood pressure)(?: is| was| of)?:? (?P<value>\d{2,3}/\d{2,3})(?!\d|/)"),
    re.compile(r"\bBP\b|blood pressure", re.I),
    (
        "What was the blood pressure?",
        "Which blood pressure does the note give?",
        "What is the patient's blood pressure?",
    ),
)
_VITAL_SIGNS = (
    _BLOOD_PRESSURE,
    _VitalSign(
        re.compile(r"\b(?:HR|[Pp]ulse|[Hh]eart rate|P)(?: is| was| of)?:? (?P<value>\d{2,3})(?![\d/%.])(?! ?(?:to|-))"),
        re.compile(r"\bHR\b|\bpulse\b|heart rate", re.I),
        ("What was the heart rate?", "Which heart rate does the note give?", "How fast was the pulse?"),
    ),
    _VitalSign(
        re.compile(r"\b(?:[Tt]emperature|Temp)(?: is| was| of)?:? (?P<value>\d{2,3}(?:\.\d)?)(?![\d/%-])"),
        re.compile(r"\btemperature\b|\btemp\b|\bT\b", re.I),
        ("What was the temperature?", "Which temperature does the note give?"),
    ),
    _VitalSign(
        re.compile(
            r"\b(?:RR|[Rr]espirations?|[Rr]espiratory rate)(?: is| was| are| of)?:? (?P<value>\d{1,2})(?![\d/%.])"
        ),
        re.compile(r"\bRR\b|respiratory rate|respirations?", re.I),
        ("What was the respiratory rate?", "Which respiratory rate does the note give?"),
    ),
)


def generate(note: ParsedNote) -> Iterator[Triple]:
    """Up to three sections, each vital sign that the note gives once, and up to two unanswerable questions."""
    yield from _sections(note)
    yield from _vital_signs(note)
    yield from _unanswerable(note)


def _sections(note: ParsedNote) -> Iterator[Triple]:
    counts = Counter(section.name for section in note.sections)
    candidates = []
    for section in note.sections:
        questions = section_lexicon().get(section.name, {}).get("ask")
        body = note.text[section.start : section.end]
        if questions and counts[section.name] == 1 and 3 < len(body) < 500 and body.replace("\n", " ").isprintable():
            candidates.append((section, questions))
    note.rng.shuffle(candidates)
    for section, questions in candidates[:MAX_SECTIONS]:
        answer = one_line(note.text[section.start : section.end])
        if re.search(r"[A-Za-z]{2}", answer) and not re.search(r"(?i)___|\bsame\b|as above|\bsee ", answer):
            check = "exact" if len(answer) < 80 else "none"
            spans = ((section.start, section.end),)
            yield Triple(note.choose(*questions), answer, TASK, check=check, spans=spans)


def _vital_signs(note: ParsedNote) -> Iterator[Triple]:
    for sign in _VITAL_SIGNS:
        matches = list(sign.value.finditer(note.text))
        if len(matches) == 1 and len(sign.label.findall(note.text)) == 1:
            (match,) = matches
            yield Triple(note.choose(*sign.questions), match["value"], TASK, check="exact", spans=(match.span(),))


def _unanswerable(note: ParsedNote) -> Iterator[Triple]:
    lower_text = note.text.lower()
    absent = [
        section
        for section in section_lexicon().values()
        if "lacking" in section and not re.search(section["lacking"], lower_text)
    ]
    if absent:
        section = note.rng.choice(absent)
        yield unanswerable(note.choose(*section["ask"]), section["none"], TASK)
    if not re.search(r"blood pressure|\bbp\b|vital|\d{2,3}/\d{2}|hypotens|hypertens|mmhg", lower_text):
        yield unanswerable(note.choose(*_BLOOD_PRESSURE.questions), "The note does not give a blood pressure.", TASK)
