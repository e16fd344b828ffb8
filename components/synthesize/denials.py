"""What the patient denies: asked only where the note denies nothing else, or the answer would lack a part."""

from __future__ import annotations

import re
from collections.abc import Iterator

from components.synthesize.parsed_note import ParsedNote, quote
from components.synthesize.section_content import EXAMINED
from components.synthesize.teacher import Subject, Triple
from components.synthesize.unanswerable import not_mentioned

DENIAL = Subject(
    r"\b(?:den(?:y|ie[sd])|no|not|nor|without|negative|absence|nil)\b", not_mentioned("any denied symptom")
)
_DENIED = re.compile(
    r"(?:\b[Dd]en(?:ies|ied)(?: any)? |\b[Hh]as had no |\b[Rr]eports no |(?:(?<=[.:;] )|^)(?=[Nn]o [^,.]{3,30}, no ))"
    r"(?P<answer>[A-Za-z][a-z -]+(?:, [a-z][a-z -]+)*(?:,? (?:and|or) [a-z][a-z -]+)?)(?=[.;\n]|$)",
    re.MULTILINE,
)
_HABIT = re.compile(
    r"\b(?:but|upon|as far as|problems?|distress|past|however|that|having|since|sexual\w*|travel|contacts?|other|"
    r"complaints?|symptoms?|treatments?|therapy|changes?|this|except|cyanosis|clubbing|o?edema|murmurs?|rales|"
    r"wheez\w*|bruits?|gallops?|\w+megaly|mass(?:es)?|tenderness|\w*adenopathy|guarding|jvd|recent|prior|previous|"
    r"history|surger\w+|injur\w+|trauma|fall|falls)\b|tobacco|alcohol|drug|smok|drink|caffeine|allerg|use\b"
)
_NO_SYMPTOMS = re.compile(r"pressure|diabet|disease|\bproblems?\b|\bdysfunctions?\b|\w+itis\b|cancer|asthma|stroke")
# Sections and sentences of findings, which the patient does not deny
_OF_EXAMINATION = EXAMINED | {"physical examination", "vital signs", "findings", "allergies"}
_FINDING = re.compile(
    r"\b(?:on (?:\w+ )?exam\w*|o/e|exam\w*|lungs?|abdomen|abdo|heart (?:rate|sounds)|murmurs?|rhythm|pupils|soft|"
    r"\w*tender\w*|wheezes|rales|rhonchi|crackles|(?:reveal|show|demonstrat)\w*|scan|x-?rays?|"
    r"mri|ct|echo\w*|ultraso\w+|biops\w+|ekg|ecg|cultures?)\b",
    re.IGNORECASE,
)
_EXAMINED_FROM = re.compile(
    r"\b(?:on (?:\w+ )?exam|o/?e\b|(?:physical|clinical) exam|exam(?:ination)?:|objective)", re.I
)
_NOT_HAD = re.compile(
    r"\b(?:den(?:y|ies|ied|ying)|nil (?=[a-z])|(?:systems?|ros|otherwise)\W[^.]{0,30}(?:negative|unremarkable)|"
    r"(?:not|never) (?:had|have|having|been having|experienc\w+|notic\w+)|"
    r"no(?! (?:one|more|longer|known|other|further|new|acute|improvement|change|benefit|relief|effect|help|avail|"
    r"family|past|prior|previous|significant (?:change|improvement|past|medical|family)|medic\w+|"
    r"regular|current|drugs?|allerg\w+|complications?|evidence|signs?|contrast|need|plans?|children|apparent|alcohol|tobacco|smok\w+)\b)|"
    r"without(?=(?: \w+){0,2} (?:pain|vomiting|nausea|fever|cough|bleeding|weakness|numbness|dizziness)\b))\b",
    re.IGNORECASE,
)


def denied(note: ParsedNote, task: str) -> Iterator[Triple]:
    """What the patient denies, as the only sentence about it puts it."""
    denials = [match for span in note.sentences for match in _DENIED.finditer(note.text, *span)]
    if len(denials) != 1:
        return
    (denial,) = denials
    answer = denial["answer"]
    is_list_of_no = answer.startswith(("No ", "no "))
    if _HABIT.search(answer) or (not is_list_of_no and re.search(r"\bno\b", answer)):
        return
    if not denies_more(note, denial.span()):
        symptoms = ("Which symptoms does the patient deny?", "Which symptoms does the patient not have?")
        questions = ("What does the patient deny?", *(() if _NO_SYMPTOMS.search(answer) else symptoms))
        yield quote(note, questions, denial.span("answer"), task, DENIAL)


def denies_more(note: ParsedNote, span: tuple[int, int]) -> bool:
    """Whether the note tells, outside a span and before an examination, of anything else that the patient has not."""
    examined = _EXAMINED_FROM.search(note.text, span[1])
    findings = [(section.start, section.end) for section in note.sections if section.name in _OF_EXAMINATION]
    findings += [sentence for sentence in note.sentences if _FINDING.search(note.text, *sentence)]
    return any(
        not any(start <= match.start() < end for start, end in (span, *findings))
        for match in _NOT_HAD.finditer(note.text, 0, examined.start() if examined else len(note.text))
    )
