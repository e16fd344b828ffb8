"""Relation extraction: drug and dose, drug and frequency, laboratory test and value, body part and side."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from clinadapt.clinical.mention import Mention
from components.synthesize.parsed_note import ParsedNote
from components.synthesize.teacher import Triple, unanswerable

TASK = "Relation Extraction"

_DOSE_NUMBER = (
    r"\d[\d,]*(?:\.\d+)?(?:\s?(?:-|to)\s?\d+(?:\.\d+)?)?\s?(?:mg|mcg|units|mEq|g|grams|gm|milligrams|micrograms)"
)
_DOSE = re.compile(
    rf"(?: (?:XL|XR|SR|CR|ER|CD|LA|succinate|tartrate|sulfate|sodium|HCl))?"
    rf"[, ]*(?:at |of )?(?P<dose>{_DOSE_NUMBER})(?![\w/%])(?! ?(?:per|/))"
)
_DOSE_BEFORE = re.compile(rf"{_DOSE_NUMBER}(?: \w+){{0,2}} (?:of )?$")
_ANY_QUANTITY = re.compile(r"\d|\b(?:one|two|half|dose)\b")
_FREQUENCY = re.compile(
    r"[, ]*(?:p\.?o\.?|by mouth|orally|IV|intravenous(?:ly)?|sublingual|tablets?|one tablet|1 tablet)?[, ]*"
    r"(?P<frequency>(?:once|twice|three times|four times|2 times|3 times) (?:a day|daily|per day)|daily|every day|"
    r"b\.i\.d\.|t\.i\.d\.|q\.i\.d\.|q\.d\.|q\. ?day|every (?:\d+|four|six|eight|twelve) hours|"
    r"q\.? ?\d+ ?h\.?|at bedtime|q\.h\.s\.|"
    r"nightly|weekly|every other day)(?!\w)(?! ?(?:for|x|then|and|in the|on|p\.r\.n|as needed|prn|or|to|\())"
)
_TEST_NAMES = (
    "hemoglobin", "hematocrit", "potassium", "sodium", "creatinine", "glucose", "ejection fraction", "BUN", "troponin",
    "TSH", "PSA", "INR", "lipase", "white blood cell count", "platelets",
)  # fmt: skip
_VALUE_CHANGES = re.compile(
    r"dropped|then|repeat|rose|increas|decreas|went|down to|up to|later|after|from|came|fell|subsequent|peak"
)
_SIDE_AND_PART = re.compile(
    r"\b(?P<side>[Rr]ight|[Ll]eft|RIGHT|LEFT) "
    r"(?P<part>knee|shoulder|elbow|wrist|hip|ankle|breast|kidney|eye|ear|hand|foot|thumb)\b(?! and )"
)
_IRREGULAR_PLURALS = {"foot": "feet"}
_MAY_BE_ABSENT = (
    "warfarin", "metformin", "lisinopril", "prednisone", "atorvastatin", "amlodipine", "gabapentin", "omeprazole",
    "furosemide", "sertraline", "levothyroxine", "clopidogrel",
)  # fmt: skip


def generate(note: ParsedNote) -> Iterator[Triple]:
    """Triples for every relation that is unambiguous in the note, and one for a drug not in the note."""
    names = {mention.value: note.text[mention.start : mention.end] for mention in note.drugs}
    for drug, name in names.items():
        yield from _dose_and_frequency(note, name, [mention for mention in note.drugs if mention.value == drug])
    yield from _test_values(note)
    yield from _sides(note)
    drug = note.rng.choice([drug for drug in _MAY_BE_ABSENT if drug not in names])
    yield unanswerable(
        note.choose(f"What dose of {drug} does the note give?", f"How often is {drug} taken?"),
        f"The note does not mention {drug}.",
        TASK,
    )


def _dose_and_frequency(note: ParsedNote, name: str, mentions: list[Mention]) -> Iterator[Triple]:
    """Dose and frequency of one drug; an unanswerable triple for a drug without any quantity nearby."""
    text = note.text
    doses = _doses(text, mentions)
    if len(doses) == 1 and len(mentions) <= 3:
        (match,) = doses.values()
        mention = next(m for m in mentions if m.end == match.start())
        yield Triple(
            note.choose(
                f"What dose of {name} does the note give?",
                f"At what dose is {name} given?",
                f"Which dose belongs to {name}?",
            ),
            match["dose"],
            TASK,
            check="exact",
            spans=((mention.start, mention.end), match.span("dose")),
        )
        frequency = _FREQUENCY.match(text, match.end())
        if frequency and len(mentions) == 1:
            yield Triple(
                note.choose(
                    f"How often is {name} taken?",
                    f"What frequency does the note give for {name}?",
                    f"With which frequency is {name} ordered?",
                ),
                frequency["frequency"],
                TASK,
                check="exact",
                spans=((mention.start, mention.end), frequency.span("frequency")),
            )
    elif len(mentions) == 1 and not _ANY_QUANTITY.search(text[max(0, mentions[0].start - 60) : mentions[0].end + 60]):
        yield unanswerable(
            note.choose(f"What dose of {name} does the note give?", f"At what dose is {name} given?"),
            f"The note does not give a dose of {name}.",
            TASK,
        )


def _doses(text: str, mentions: list[Mention]) -> dict[str, re.Match[str]]:
    """Doses right after the mentions of one drug, by normalized dose; empty when one may precede a mention."""
    doses: dict[str, re.Match[str]] = {}
    for mention in mentions:
        if _DOSE_BEFORE.search(text[max(0, mention.start - 40) : mention.start]):
            return {}
        if match := _DOSE.match(text, mention.end):
            doses[match["dose"].lower().replace(" ", "")] = match
    return doses


def _test_values(note: ParsedNote) -> Iterator[Triple]:
    """Values of laboratory tests that the note mentions once."""
    for pattern, test in _test_patterns():
        matches = list(pattern.finditer(note.text))
        if len(matches) != 1 or len(re.findall(test, note.text, re.IGNORECASE)) != 1:
            continue
        (match,) = matches
        if _VALUE_CHANGES.search(note.text, match.end(), match.end() + 80):
            continue
        yield Triple(
            note.choose(
                f"What value does the note give for {test}?",
                f"Which value belongs to {test}?",
                f"What was the {test}?",
            ),
            match["value"],
            TASK,
            check="exact",
            spans=(match.span(),),
        )


@cache
def _test_patterns() -> list[tuple[re.Pattern[str], str]]:
    return [
        (
            re.compile(
                rf"\b{name}(?: (?:level|count))?(?: (?:is|was|of|at|estimated at|calculated at|about))? "
                rf"(?P<value>\d+(?:\.\d+)?(?:%| ng/mL| mg/dL| U/L| g/dL| mIU/L)?)"
                r"(?![\d/.-]\d|[\d,]\d| ?(?:to|-|/|percent|%|x|cm|mm)\s?\w|[A-Za-z])",
                re.IGNORECASE,
            ),
            name,
        )
        for name in _TEST_NAMES
    ]


def _sides(note: ParsedNote) -> Iterator[Triple]:
    """Side of each body part that the note mentions on one side only."""
    matches: dict[str, dict[str, re.Match[str]]] = {}
    for match in _SIDE_AND_PART.finditer(note.text):
        matches.setdefault(match["part"].lower(), {})[match["side"].lower()] = match
    for part, by_side in matches.items():
        plural = _IRREGULAR_PLURALS.get(part, part + "s")
        both_sides = rf"\b(?:both|bilateral\w*|either|other|contralateral|opposite)\b|\b{plural}\b"
        if len(by_side) == 1 and not re.search(both_sides, note.text, re.IGNORECASE):
            ((side, match),) = by_side.items()
            yield Triple(
                note.choose(
                    f"Which {part} does the note speak of, the right or the left?",
                    f"On which side is the {part} that the note speaks of?",
                ),
                f"{side} {part}",
                TASK,
                check="exact",
                spans=(match.span(),),
            )
