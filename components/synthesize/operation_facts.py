"""Questions about an operation that a description in sentences answers: position, anesthesia, closure, end."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clinadapt.clinical.sections import section_lexicon
from components.synthesize.parsed_note import ParsedNote, quote
from components.synthesize.teacher import Subject, Triple
from components.synthesize.unanswerable import not_given, not_mentioned

_POSITIONS = (
    r"(?:supine|prone|lithotomy|decubitus|Trendelenburg|beach[- ]?chair|semi-?Fowler\w*|sitting|jackknife|lateral)"
)
_POSITION = re.compile(
    rf"\b(?:placed|positioned|laid|put) (?:in(?:to)? )?(?:the |"
    rf"a )?(?P<answer>(?:[a-z-]+ ){{0,2}}?{_POSITIONS}(?: decubitus)?(?: position)?)"
    r"(?=[.,;\n]| (?:on|with|and|in|under|for|after)\b|$)"
)
_LAYER = r"(?:skin|fascia|peritoneum|subcutaneous (?:tissues?|layer)|dermis|sternum|galea|platysma|wounds?|port sites?)"
_CLOSED = re.compile(
    rf"\b(?P<layer>{_LAYER}) (?:was|were) (?:then |subsequently )?(?:re)?(?:closed|approximated) (?:with|using) "
    r"(?:an? )?(?P<answer>[A-Za-z0-9#-][A-Za-z0-9#/ .-]{2,60}?)"
    r"(?=;|,? and (?:the|then)\b|,? followed\b|\. |\.$| (?:in|for|after|on|over|as|at|to)\b|$)"
)
_ANESTHESIA = re.compile(
    r"\b(?P<answer>(?:general|spinal|epidural|local|regional|topical|monitored)(?: [a-z]+){0,2}? ana?esth(?:esia|"
    r"etics?)(?: care)?)\b",
    re.IGNORECASE,
)
_KIND_OF_ANESTHESIA = re.compile(
    r"\b(?:general|spinal|epidural|local|regional|topical|monitored|MAC|sedat\w+|blocks?|lidocaine|marcaine)\b", re.I
)
_CONDITION = re.compile(
    r"\b(?:recovery(?: room| area| unit)?|PACU|care unit|floor|ward)[^.;:\n]{0,20}? in (?:a |an )?"
    r"(?P<answer>(?:good|stable|satisfactory|excellent|fair|critical)(?:,? (?:and )?(?:good|stable|"
    r"satisfactory))? condition)\b",
    re.IGNORECASE,
)
_COMPLICATIONS = re.compile(
    r"\b(?P<answer>(?:(?:there )?were )?no (?:(?:immediate|intra-?operative|apparent|known|other) )*complications?|"
    r"without (?:(?:any|apparent|immediate|known) )*complications?)\b(?! (?:from|of|with|in)\b)",
    re.IGNORECASE,
)
_BLOOD_LOSS = re.compile(
    r"\b[Ee]stimated blood loss (?:was|is)(?: estimated at)? (?P<answer>(?:(?:less than|about|approximately|"
    r"under) )?\d[\d,]* ?(?:mL|ml|cc)|minimal|negligible)\b"
)
_DESCRIBES = re.compile(
    r"\b(?:prepped|prepared and draped|draped|incision|sutures?|scope|catheter was|ana?esthe(?:sia|tic) was|"
    r"operating (?:room|theat\w+))\b",
    re.IGNORECASE,
)


def operation_facts(note: ParsedNote, task: str) -> Iterator[Triple]:
    """Facts of an operation that the note describes, each where the note says one thing of it."""
    if len(_DESCRIBES.findall(note.text)) < 2:
        return
    yield from _position(note, task)
    yield from _closures(note, task)
    yield from _as_section(note, task, "anesthesia", _ANESTHESIA)
    yield from _as_section(note, task, "complications", _COMPLICATIONS)
    yield from _as_section(note, task, "blood loss", _BLOOD_LOSS)
    yield from _condition(note, task)


def _position(note: ParsedNote, task: str) -> Iterator[Triple]:
    matches = list(_POSITION.finditer(note.text))
    others = re.findall(rf"\b{_POSITIONS} position|\b(?:supine|prone|lithotomy|jackknife)\b", note.text, re.IGNORECASE)
    again = re.findall(
        r"\b(?:placed|put|positioned) in(?:to)? [^.;\n]{0,40}?position\b|\b(?:turned|repositioned|rotated|flipped)\b",
        note.text,
    )
    if len(matches) == 1 and len(others) <= 1 and len(again) <= ("position" in matches[0][0].rpartition(" ")[2]):
        questions = (
            "In which position was the patient placed?",
            "How was the patient positioned?",
            "What was the position of the patient?",
        )
        subject = Subject(rf"position|{_POSITIONS}|placed", not_given("the position of the patient"))
        yield quote(note, questions, matches[0].span("answer"), task, subject)


def _closures(note: ParsedNote, task: str) -> Iterator[Triple]:
    matches = list(_CLOSED.finditer(note.text))
    for match in matches:
        layer = match["layer"].lower()
        closings = re.findall(rf"\b{layer}[^.;\n]{{0,30}}? (?:re)?(?:closed|approximated)\b", note.text, re.IGNORECASE)
        if (
            len(closings) != 1
            or re.search(r"\bof (?:the )?(?:\w+ )?$", note.text[: match.start()])
            or re.search(r"layer|fashion$", match["answer"])
        ):
            continue
        be = "were" if layer.endswith("s") else "was"
        questions = (
            f"With what {be} the {layer} closed?",
            f"What was used to close the {layer}?",
            f"What closed the {layer}?",
        )
        lacking = (*not_mentioned(f"the {layer}"), *not_given(f"what the {layer} {be} closed with"))
        yield quote(note, questions, match.span("answer"), task, Subject(rf"\b{layer[:8]}|clos", lacking))


def _as_section(note: ParsedNote, task: str, name: str, pattern: re.Pattern[str]) -> Iterator[Triple]:
    """What a section of that name would hold, where the note has none and says it once."""
    entry = section_lexicon()[name]
    if any(section.name == name for section in note.sections):
        return
    matches = list(pattern.finditer(note.text))
    if name == "anesthesia":
        kinds = {kind.lower() for kind in _KIND_OF_ANESTHESIA.findall(note.text)}
        matches = matches[:1] if len(kinds) == 1 else []
    elif len(re.findall("complicat" if name == "complications" else "blood loss|bleed", note.text, re.IGNORECASE)) > 1:
        return
    if len(matches) == 1:
        subject = Subject(entry["lacking"], not_mentioned(entry["about"]))
        yield quote(note, tuple(entry["ask"]), matches[0].span("answer"), task, subject)


def _condition(note: ParsedNote, task: str) -> Iterator[Triple]:
    matches = list(_CONDITION.finditer(note.text))
    if len(matches) == 1 and len(re.findall(r"\bcondition\b", note.text, re.IGNORECASE)) == 1:
        questions = (
            "In what condition was the patient after the operation?",
            "In which condition did the patient leave the operating room?",
            "What was the patient's condition?",
        )
        lacking = section_lexicon()["condition"]["lacking"]
        subject = Subject(rf"{lacking}|recovery", not_mentioned("the patient's condition"))
        yield quote(note, questions, matches[0].span("answer"), task, subject)
