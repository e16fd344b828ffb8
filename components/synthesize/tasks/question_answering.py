"""Question answering: the content of a section, vital signs, age, habits, and whether the patient has a symptom."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from clinadapt.clinical.sections import one_line, section_lexicon
from components.synthesize.parsed_note import ParsedNote
from components.synthesize.section_content import EXAMINED, section_content
from components.synthesize.symptoms import symptom_questions
from components.synthesize.teacher import Subject, Triple
from components.synthesize.unanswerable import not_given, not_mentioned

TASK = "Question Answering"

MAX_SECTIONS = 6
MAX_MATCHES = 6  # of a topic in one sentence
_EXAMINATION = {"physical examination", "vital signs"}


class _VitalSign(NamedTuple):
    value: re.Pattern[str]
    label: re.Pattern[str]
    name: str
    questions: tuple[str, ...]


_IS = r"(?:(?: is| was| are| were| of| at)?:? | ?: ?| ?- ?)"
_VITAL_SIGNS = (
    _VitalSign(
        re.compile(rf"\b(?:BP|[Bb]lood pressure){_IS}(?P<value>\d{{2,3}}/\d{{2,3}})(?!\d|/)"),
        re.compile(r"\bbp\b|blood pressure|vital|\b\d{2,3}/\d{2,3}\b|hypotens|hypertens|mmhg|\bobs\b", re.I),
        "a blood pressure",
        (
            "What was the blood pressure?",
            "Which blood pressure does the note give?",
            "What is the patient's blood pressure?",
            "What is the BP?",
        ),
    ),
    _VitalSign(
        re.compile(
            rf"\b(?:HR|[Pp]ulse|[Hh]eart rate|P){_IS}(?P<value>\d{{2,3}})(?![\d/%.]\d|[\d/%])(?! ?(?:to|-|and|or)\b)"
        ),
        re.compile(r"\bhr\b|\bpulses?\b|heart rate|vital|\bP \d|bpm|beats|tachyc|bradyc|\bobs\b", re.I),
        "a heart rate",
        ("What was the heart rate?", "Which heart rate does the note give?", "How fast was the pulse?"),
    ),
    _VitalSign(
        re.compile(rf"\b(?:[Tt]emperature|[Tt]emp|T){_IS}(?P<value>\d{{2,3}}(?:\.\d)?)(?![\d/%-]|\.\d)"),
        re.compile(r"\btemperatures?\b|\btemp\b|\bT:? \d|vital|febrile|fever|\bobs\b", re.I),
        "a temperature",
        ("What was the temperature?", "Which temperature does the note give?"),
    ),
    _VitalSign(
        re.compile(
            rf"\b(?:RR|[Rr]espirations?|[Rr]espiratory rate){_IS}(?P<value>\d{{1,2}})(?![\d/%]|\.\d)(?! ?(?:to|-)\b)"
        ),
        re.compile(r"\brr\b|respiratory rate|respirations?|vital|breaths|\bR \d|\bobs\b", re.I),
        "a respiratory rate",
        ("What was the respiratory rate?", "Which respiratory rate does the note give?"),
    ),
    _VitalSign(
        re.compile(
            r"\b(?:O2 sats?|[Ss]ats?|SpO2|SPO2|SaO2|[Oo]xygen saturations?|O2 saturation)"
            rf"{_IS}(?P<value>\d{{2,3}} ?%)(?! ?(?:to|-)\b)"
        ),
        re.compile(r"\bsat|spo2|sao2|oxygen|\bo2\b|vital|oximet|\bobs\b|room air", re.I),
        "an oxygen saturation",
        ("What was the oxygen saturation?", "Which oxygen saturation does the note give?", "What are the sats?"),
    ),
)
_AGE = re.compile(r"\b(?P<age>\d{1,3})[- ](?:year|yr)s?[- ]old\b|\b(?P<short>\d{1,2}) ?(?:y/?o|yo|Y/?O|[FM])\b(?= )")
_ANY_AGE = (
    r"\b(?:years?|yrs?|months?|weeks?|days?)[- ]?old|\baged?\b|y\.o|y/?o\b|\b\d{1,2} ?[FM]\b|dob|birth|boy|girl|infant|"
    r"neonat|newborn"
)
_TOPICS = {
    "smoking": r"smok|tobacco|cigar|pack[- ]year|nicotine|vap(?:e|ing)",
    "alcohol": r"(?<!with )\balcohol(?! (?:swab|prep|pad|and|was))|drink|etoh|beer|wine|units a week",
    "the patient's work": r"\bwork(?:s|ed|ing)? (?:as|in|at|for)|occupation|retired|employ|\bjob\b",
    "the patient's living situation": r"\blives?\b|\bliving\b|nursing home|care home|residen",
    "anticoagulation": r"anticoag|warfarin|coumadin|heparin|apixaban|rivaroxaban|\binr\b|eliquis|xarelto|blood thinner",
    "pregnancy": r"pregnan|gravid|gestation|trimester|\blmp\b|antenatal",
}


_STUDY_HEADERS = {"EXAM", "EXAMINATION", "STUDY", "EXAMINATION PERFORMED", "PROCEDURE"}
_STUDY = r"\bct\b|tomograph|\bmri\b|magnetic|ultraso|sonogra|x-?ray|radiograph|echo|mammo|\bviews?\b|doppler|"
r"scan|\beeg\b|\bemg\b"


def generate(note: ParsedNote) -> Iterator[Triple]:
    """Up to six sections, vital signs that the note gives once, the age, habits, the study and symptoms."""
    yield from _sections(note)
    yield from _vital_signs(note)
    yield from _age(note)
    yield from _topics(note)
    yield from _study(note)
    yield from symptom_questions(note, TASK)


def _sections(note: ParsedNote) -> Iterator[Triple]:
    counts = Counter(section.name for section in note.sections)
    candidates, around = [], ""  # the part of the note that a line such as `SKIN:` stands in
    for section in note.sections:
        in_examination = around in _EXAMINATION
        if section.name not in EXAMINED:
            around = section.name or around
        entry = section_lexicon().get(section.name, {})
        if "ask" not in entry or counts[section.name] > 1 or (section.name in EXAMINED and not in_examination):
            continue
        if answer := section_content(note.text, section):
            candidates.append((section, entry, answer))
    note.rng.shuffle(candidates)
    for section, entry, answer in candidates[:MAX_SECTIONS]:
        yield Triple(
            note.choose(*entry["ask"]),
            answer,
            TASK,
            check="exact" if len(answer) < 80 else "none",
            spans=((section.start, section.end),),
            subject=Subject(entry["lacking"], not_mentioned(entry["about"])),
        )


def _vital_signs(note: ParsedNote) -> Iterator[Triple]:
    for sign in _VITAL_SIGNS:
        matches = list(sign.value.finditer(note.text))
        if len(matches) == 1:
            (match,) = matches
            yield Triple(
                note.choose(*sign.questions),
                match["value"],
                TASK,
                check="exact",
                spans=(match.span(),),
                subject=Subject(sign.label.pattern, not_given(sign.name)),
            )


def _age(note: ParsedNote) -> Iterator[Triple]:
    matches = list(_AGE.finditer(note.text))
    ages = {match["age"] or match["short"] for match in matches}
    if len(ages) == 1 and matches[0].start() < 500:
        yield Triple(
            note.choose("How old is the patient?", "What is the patient's age?", "What age is the patient?"),
            f"{ages.pop()} years",
            TASK,
            check="exact",
            spans=(matches[0].span(),),
            subject=Subject(_ANY_AGE, not_given("the patient's age")),
        )


def _study(note: ParsedNote) -> Iterator[Triple]:
    """The imaging study that a short section names as the examination."""
    sections = [section for section in note.sections if section.header.upper() in _STUDY_HEADERS]
    if len(sections) != 1 or not 2 <= len(note.text[sections[0].start : sections[0].end].split()) <= 12:
        return
    study = section_content(note.text, sections[0])
    if study and re.search(_STUDY, study, re.IGNORECASE):
        yield Triple(
            note.choose(
                "Which study was done?", "What examination does the report describe?", "What kind of study is it?"
            ),
            study,
            TASK,
            check="exact",
            spans=((sections[0].start, sections[0].end),),
            subject=Subject(rf"{_STUDY}|study|imag|radiolog", not_mentioned("any imaging study")),
        )


def _topics(note: ParsedNote) -> Iterator[Triple]:
    """The only sentence about a topic."""
    for topic, pattern in _TOPICS.items():
        matches = list(re.finditer(pattern, note.text, re.IGNORECASE))
        if not 1 <= len(matches) <= MAX_MATCHES:
            continue
        spans = {span for span in note.sentences for match in matches if span[0] <= match.start() < span[1]}
        if len(spans) != 1 or not all(any(s <= m.start() < e for s, e in spans) for m in matches):
            continue
        ((start, end),) = spans
        sentence = one_line(note.text[start:end])
        if 2 <= len(sentence.split()) <= 30 and ":" not in sentence and not re.match(r"\d+\.?$", sentence):
            yield Triple(
                note.choose(f"What does the note say about {topic}?", f"Is anything recorded about {topic}?"),
                sentence,
                TASK,
                spans=((start, end),),
                subject=Subject(pattern, not_mentioned(topic)),
            )
