"""Named entity recognition: drugs of the note, items of a numbered list of diagnoses, denied symptoms."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clinadapt.clinical.mention import Mention
from clinadapt.clinical.sections import Section, section_lexicon
from components.synthesize.denials import DENIAL, denies_more
from components.synthesize.parsed_note import ParsedNote
from components.synthesize.teacher import Spans, Subject, Triple
from components.synthesize.unanswerable import ANY_DRUG, not_mentioned

TASK = "Named Entity Recognition"

# Drugs, drug classes and preparations that the drug lexicon does not cover
_OUTSIDE_LEXICON = re.compile(
    r"\b(?:iron|calcium|vitamin|multivitamin|oxygen|saline|antibiotics?|vaccin\w*|contrast|insulin|estrogen|potassium|"
    r"steroids?|(?:neo-?)?adjuvant|chemo\w*|regimens?|(?-i:[A-Z]{2,}(?:-[A-Z]+)? ?[x×] ?\d)|"
    r"inhaler|magnesium|zinc|fish oil|drops|b-?12|folate|spray|patch|cream|ointment|lotion|"
    r"antacids?|solution|ringer\S*|penicillins|nsaids?|statins?|narcotics?|diuretics?|allerg\w+|betadine|"
    r"toxoid|cocaine|heroin|marijuana|cannabis|\w*amphetamines?|ecstasy|lsd|opi(?:oid|ate)s?|ppis?|ssris?|"
    r"beta[- ]?blockers?|ace inhibitors?|antihistamines?|decongestants?|laxatives?|stool softeners?|"
    r"(?:pain|other) medications?|asa|hctz|ntg|pcn|tpa|ivig|ocps?|hrt|anti-d|immunoglobulins?|"
    r"prophylaxis|thinners?|painkillers?|jabs?|abx|nebs?|kcl|adren|norad|adrenaline|prop|alfent|"
    r"para(?! ?\d)|pred|dex|gent|glyco|nitro|metro|amp|analogues?|cef|omep|lanso|trimeth|levomep|vit|mst(?! ?\d)|"
    r"albumin(?= \d)|"
    r"nicotine|caffeine|lmwh|doacs?|noacs?|nrt|mtx|mmf|wort|adr|cocp|csl|contracepti\w+|capox|xelox|folfox\w*|folfiri\w*|flot|fec|r?-?chop|"
    r"abvd|tpn|ffp|5-?fu|dmards?|ics|"
    r"lama|laba|saba|aeds?|jic|tnf|hypnotics?|sedatives?|pip[/ ]taz\w*|immunosuppress\w*|antiretroviral\w*|"
    r"antidepressants?|antipsychotics?|anticoagulants?|analges\w+|antihypertensives?)\b",
    re.IGNORECASE,
)
# from the start of a word only, or a long word would take quadratic time
_WORD_WITH_DOSE = re.compile(
    r"(?<![A-Za-z-])-*([A-Za-z][A-Za-z-]{3,})[ ,]+(?:[A-Z]{2,3} )?\d[\d.,/]* ?"
    r"(?:mg|mcg|micrograms?|units|tab(?:let)?s?|caps?(?:ule)?s?|sachets?|puffs?|ml (?:[BTQbtq]\.?[DdIi]))\b"
)
# `T. Glycomet`, `Tab Zincovit`: a name of a drug for certain
_DOSAGE_FORM = re.compile(
    r"\b(?:T|Tab|Cap|Inj|Syp|Syr|Susp|Neb)\.? (?=[A-Z][a-z]{2})|\b(?:T|Tab|Cap|Inj)\. ?(?=[A-Za-z]{3})"
)
# `aspirin and Zzyx`, where the second is no known drug
_LISTED_WITH = re.compile(
    r"(?: [\d.,/%-]+ ?(?:mg|mcg|g|units|%)?)?(?: (?:[Bb][Dd]|[Oo][Dd]|[Tt][Dd][Ss]|daily|[bt]\.i\.d\.))?"
    r"(?:,? (?:and|or|with|plus) |, ?| ?[+/&] ?)(?!Dr\b|Mr|Ms)([A-Z][a-z]{3,})\b"
)
# What follows the comma of a drug, or a list of none
_NO_ITEM = re.compile(
    r"\b(?:daily|needed|morning|night|bedtime|then|hours|days?|weeks?|takes?|taking|none|nil|times?|with|for|before|"
    r"after|unclear|"
    r"unknown|stopped|started|mouth|medications?|regular|tablets?|mg|mcg)\b",
    re.IGNORECASE,
)
_DIAGNOSIS_SECTIONS = {
    "assessment", "impression", "diagnosis", "discharge diagnosis", "admission diagnosis", "preoperative diagnosis",
    "postoperative diagnosis", "past medical history",
}  # fmt: skip
_LIST_MARKER = re.compile(r"(?:^|(?<=[\s,.]))(\d{1,2})\.\s*(?=[A-Z])")
_DENIES = re.compile(r"\b[Dd]en(?:ies|ied)(?: any| having any)?:? (?=[a-z])")
_SYMPTOM = re.compile(r"[a-z][a-z-]*(?: [a-z][a-z-]*){0,3}$")
_HABIT = re.compile(r"tobacco|alcohol|drug|smok|drink|caffeine|allerg|disease|diabet|pressure|symptoms?\b|complaint")
# Half of two symptoms that share a word: `heat or cold intolerance`
_HALF = re.compile(
    r"(?:[a-z-]+ )?"
    r"(?:heat|cold|hot|left|right|auditory|visual|bowel|urinary|bladder|chest|abdominal|upper|lower|joint|muscle|neck|"
    r"back|thyroid|kidney|liver|suicidal|homicidal|focal|night|day|fecal|hand|leg|arm|foot|head|nasal|sinus)"
)
_CLAUSE = re.compile(
    r"\b(?:no|not|that|he|she|who|has|had|was|is|are|with|but|being|at|since|any|except|other|this|for|"
    r"to|when|during|in the past|history)\b"
)


def generate(note: ParsedNote) -> Iterator[Triple]:
    """One triple for all drugs, one per numbered list of diagnoses, one for the denied symptoms."""
    yield from _drugs(note)
    yield from _diagnoses(note)
    yield from _denied_symptoms(note)


def _drugs(note: ParsedNote) -> Iterator[Triple]:
    first_by_drug: dict[str, Mention] = {}
    for mention in note.drugs:
        first_by_drug.setdefault(mention.value, mention)
    spans = tuple(dict.fromkeys((start, end) for start, end, _ in first_by_drug.values()))
    all_names, first_names = ({note.text[start:end].lower() for start, end, *_ in each} for each in (note.drugs, spans))
    has_one_name_each = len(all_names) == len(first_names)
    is_complete = has_one_name_each and not _OUTSIDE_LEXICON.search(note.text) and not _has_unknown_drug(note)
    if 1 <= len(first_by_drug) <= 12 and is_complete:
        instruction = note.choose(
            "List all drugs that the note mentions, separated by semicolons.",
            "Which drugs are named in this note? Separate them by semicolons.",
            "Extract every medication named in the note, separated by semicolons.",
            "What drugs come up in this note? Separate them by semicolons.",
        )
        pattern = rf"{_OUTSIDE_LEXICON.pattern}|medic|\bmeds?\b|drug|tablet|\bmg\b|pill"
        subject = Subject(pattern, not_mentioned("any drug"), ANY_DRUG)
        yield _list_triple(note, instruction, spans, subject)


def _has_unknown_drug(note: ParsedNote) -> bool:
    """Whether a word with a dose, or a name that is listed with a drug, is not among the drug mentions."""
    starts, ends = {mention.start for mention in note.drugs}, {mention.end for mention in note.drugs}
    if any(match.end(1) not in ends for match in _WORD_WITH_DOSE.finditer(note.text)):
        return True
    if any(match.end() not in starts for match in _DOSAGE_FORM.finditer(note.text)) or _lists_another(note):
        return True
    listed = (_LISTED_WITH.match(note.text, end) for end in ends)
    return any(match and match.start(1) not in starts for match in listed)


def _lists_another(note: ParsedNote) -> bool:
    """Whether a list of medications has an item that names none of the drug mentions."""
    for section in note.sections:
        if section.name not in ("medications", "discharge medications"):
            continue
        for item in re.finditer(r"[^,;\n]+", note.text[section.start : section.end]):
            start, end = section.start + item.start(), section.start + item.end()
            words = re.findall(r"[A-Za-z]{4,}", re.sub(r"\(.*", "", item[0]))
            if words and not _NO_ITEM.search(item[0]) and not any(start <= m.start < end for m in note.drugs):
                return True
    return False


def _diagnoses(note: ParsedNote) -> Iterator[Triple]:
    for section in note.sections:
        if section.name in _DIAGNOSIS_SECTIONS and (items := _numbered_items(note.text, section)):
            instruction = note.choose(
                f"List the items under {section.header}, separated by semicolons.",
                f"Which diagnoses or findings are listed under {section.header}? Separate them by semicolons.",
                f"Extract the numbered points of the section {section.header}, separated by semicolons.",
            )
            subject = Subject(
                rf"\b{re.escape(section.header)}|" + section_lexicon()[section.name]["lacking"],
                not_mentioned(section_lexicon()[section.name]["about"]),
            )
            yield _list_triple(note, instruction, items, subject)


def _denied_symptoms(note: ParsedNote) -> Iterator[Triple]:
    denials = [(match, span) for span in note.sentences if (match := _DENIES.search(note.text, *span))]
    if len(denials) != 1 or denies_more(note, denials[0][1]):
        return
    match, (_, sentence_end) = denials[0]
    if symptoms := _enumerated_symptoms(note.text, match.end(), sentence_end):
        instruction = note.choose(
            "Which symptoms does the patient deny? Separate them by semicolons.",
            "List what the patient denies, separated by semicolons.",
            "Extract the symptoms that are denied, separated by semicolons.",
            "What does the patient deny? Separate the symptoms by semicolons.",
            "What was denied? Answer with a list separated by semicolons.",
        )
        yield _list_triple(note, instruction, symptoms, DENIAL)


def _list_triple(note: ParsedNote, instruction: str, spans: Spans, subject: Subject) -> Triple:
    answer = "; ".join(note.text[start:end] for start, end in spans)
    return Triple(instruction, answer, TASK, check="set", spans=spans, subject=subject)


def _numbered_items(text: str, section: Section) -> Spans:
    """Spans of the items `1. ... 2. ...` of a section that is nothing but a list of short items; otherwise empty."""
    markers = list(_LIST_MARKER.finditer(text, section.start, section.end))
    if not 2 <= len(markers) <= 10 or markers[0].start() != section.start:
        return ()
    if [int(marker[1]) for marker in markers] != list(range(1, len(markers) + 1)):
        return ()
    ends = [marker.start() for marker in markers[1:]] + [section.end]
    spans = []
    for marker, end in zip(markers, ends, strict=True):
        item = text[marker.end() : end].rstrip(" .,\n")
        if not item or len(item.split()) > 14 or ";" in item or ". " in item or ".," in item or not item.isprintable():
            return ()
        spans.append((marker.end(), marker.end() + len(item)))
    return tuple(spans)


def _enumerated_symptoms(text: str, start: int, end: int) -> Spans:
    """Spans of the parts of `fever, chills or cough.`; empty unless each is a plain symptom."""
    spans = []
    position = start
    enumeration = text[start:end].rstrip(".")
    for part in re.split(r",? (?:and|or|nor) |, ", enumeration):
        position = text.index(part, position)
        if not _SYMPTOM.match(part) or _HALF.fullmatch(part) or _CLAUSE.search(part) or _HABIT.search(part):
            return ()
        spans.append((position, position + len(part)))
        position += len(part)
    return tuple(spans) if len(spans) >= 2 else ()
