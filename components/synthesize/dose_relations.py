"""Questions about the dose and frequency of a drug, and about a dose that the note changes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clinadapt.clinical.mention import Mention
from components.synthesize.parsed_note import ParsedNote
from components.synthesize.teacher import Subject, Triple
from components.synthesize.unanswerable import not_given, not_mentioned

_WORDS = (
    r"(?:one|two|two and a half|three|four|five|ten|fifteen|twenty|twenty[- ]five|thirty|forty|fifty|sixty|"
    r"seventy[- ]five|eighty|ninety|one hundred|two hundred|five hundred)"
)
_NUMBER = rf"(?:\d{{1,3}}(?:,\d{{3}})+|\d+(?:\.\d+)?|{_WORDS})"
_UNIT = r"(?:mg|mcg|micrograms?|units?|mEq|grams?|gm|g|milligrams?|mls?|puffs?)"
_AMOUNT = rf"{_NUMBER}(?: ?(?:-|to|/) ?{_NUMBER})? ?{_UNIT}"
_ARROW = r"(?:-{1,2}>|=>|>|→)"
_DOSE = re.compile(
    rf"(?: (?:XL|XR|SR|CR|ER|CD|LA|MR|succinate|tartrate|sulfate|sodium|HCl|inhaler|nebs?|"
    r"nebuli[sz]ers?|tablets?|capsules?|syrup|suspension))?"
    rf"[, ]*(?:at |of )?(?P<dose>{_AMOUNT})(?![\w/%])(?! ?(?:per|/|or \d|to \d|- ?\d))",
    re.IGNORECASE,
)
# Before a drug: its dose, a number of tablets, or another drug of a combination, whose dose has two parts
_DOSE_BEFORE = re.compile(rf"(?:{_AMOUNT}(?: \w+){{0,2}} (?:of )?|\b\d+ ?x |[A-Za-z]{{3}}[/+])$", re.IGNORECASE)
_NO_UNIT = re.compile(
    r" \d[\d.,]*(?<![.,])(?![\d/%]| ?(?:x\b|mm|cm|kg|times?|hours?|days?|weeks?|months?|years?))", re.IGNORECASE
)
_FREQUENCY = re.compile(
    r"[, ]*(?:p\.?o\.?|by mouth|orally|IV|intravenous(?:ly)?|sublingual|tablets?|one tablet|1 tablet)?[, ]*"
    r"(?P<frequency>(?:once|twice|three times|four times|2 times|3 times) (?:a day|daily|per day)|daily|every day|"
    r"b\.i\.d\.|t\.i\.d\.|q\.i\.d\.|q\.d\.|q\. ?day|every (?:\d+|four|six|eight|twelve) hours|"
    r"q\.? ?\d+ ?h\.?|at bedtime|q\.h\.s\.|BD|TDS|QDS|OD|bd|tds|qds|od|nocte|mane|every morning|every night|"
    r"nightly|weekly|once a week|every other day|BID|TID|QID|QHS|qHS|bid|tid|qid|qhs|om)"
    rf"(?!\w)(?! ?{_ARROW})"
    r"(?! ?(?:for|x|inc\b|increas|then|and|in the|on|[pP]\.?[rR]\.?[nN]|as (?:needed|required)|if|except|or|to|\())"
)
# How long it is taken, after its dose: `500 mg TDS 5/7`
_COURSE = re.compile(
    r"[, ]*(?:PO|p\.?o\.?|IV|orally)?[, ]*"
    r"(?:(?:[OBTQ]DS?|[obtq]ds?|[BTQ]ID|[btq]id|[btq]\.i\.d\.|daily|(?:once|twice|three times|four times) (?:a day|"
    r"daily))[, ]*)?(?:for (?:a total of )?|x ?)?"
    r"(?P<course>\d{1,2}/(?:7|52)|(?:\d{1,2}|one|two|three|four|five|six|seven|ten|fourteen)(?:(?: to |"
    r"-)\d{1,2})? ?(?:days|weeks?)|"
    r"\d{1,2} ?d)(?![\w/-])(?!,? ?(?:ago|then|and then|if|or|to|of|course|supply|later|before|after|prior)\b)"
)
# A second dose of the same drug: `150 mg in the morning and 200 mg at night`, `200 mg stat then 100 mg daily`
_SECOND_DOSE = re.compile(
    rf"(?:[^.;\n]|\.(?=\w\.)|(?<=\.\w)\.){{0,40}}?"
    r"(?:\b(?:then|and|or|followed by|plus|to|alternat\w+(?: with)?) |[,/+] |"
    rf"{_ARROW} ?)(?:\w+ ){{0,2}}?{_AMOUNT}",
    re.IGNORECASE,
)
# A change of dose, in the words of a plan: `increased from 40 mg a day to 80 mg a day`
_CHANGE = (
    r"(?:increas\w*|decreas\w*|reduc\w*|rais\w*|lower\w*|titrat\w*|chang\w*|adjust\w*|taper\w*|doubl\w*|halv\w*|"
    r"switch\w*|cut|cutting|go(?:es|ing)?|went|c[oa]m(?:e|ing) (?:up|down|back)|bump\w*|uptitrat\w*|step\w*|mov\w*|"
    r"up to|down to|new dose|previously|used to|instead|wean\w*)"
)
_ANY_CHANGE = re.compile(rf"\b{_CHANGE}\b|[↑↓]", re.IGNORECASE)
_ENDED = re.compile(
    r"\b(?:stop\w*|discontinu\w*|held|hold\w*|withh\w+|off|ceas\w*|was on|had been on|allerg\w*|no longer|"
    r"not taking|r[au]n out|overdos\w*|OD of|ingest\w*|declin\w*|refus\w*|(?:instead|in place) of)\b",
    re.IGNORECASE,
)
_IF = re.compile(
    r"\b(?:if|unless|should|may|might|could|consider\w*|aim|as tolerated|as \w+ allows|(?:re)?start\w*|begin|by \d)\b",
    re.IGNORECASE,
)
_BETWEEN = r"(?:,? (?:a day|daily|once daily|once a day|twice a day|twice daily|b\.i\.d\.|BD|OD|TDS|every day|nocte))?"
_FROM_TO = re.compile(
    rf"\bfrom (?P<old>{_AMOUNT}){_BETWEEN} (?:up |down )?to (?P<new>{_AMOUNT})(?![\w/])", re.IGNORECASE
)
# Right after the drug: `glargine 22 units -> 26 units`
_TO_BY_ARROW = re.compile(rf"(?<= )(?P<old>{_AMOUNT}){_BETWEEN} ?{_ARROW} ?(?P<new>{_AMOUNT})(?![\w/])", re.IGNORECASE)
_TO = re.compile(
    rf"\b(?:increas|decreas|reduc|rais|lower|titrat|chang|adjust|"
    rf"cut|(?:go(?:es|ing)?|went|c[oa]m(?:e|ing)) (?:up|down|back))\w*\b"
    rf"[^.;\n]{{0,60}}? to (?P<new>{_AMOUNT})(?![\w/])",
    re.IGNORECASE,
)


# Between a drug and a change of dose, which may then be that of another
_ANOTHER = re.compile(r"[.;,]| (?:and|but) |\b(?:his|her|the|their) (?!dose|dosage)", re.IGNORECASE)


def dose_relations(note: ParsedNote, task: str) -> Iterator[Triple]:
    """Dose and frequency of each drug whose dose is certain; of a drug whose dose changes, the new and the old one."""
    changed: dict[str, tuple[int, re.Match[str]]] = {}
    in_doubt: set[str] = set()
    for start, end in note.sentences:
        drugs = {mention.value for mention in note.drugs if start <= mention.start < end}
        match = _FROM_TO.search(note.text, start, end) or _TO.search(note.text, start, end)
        if match and not _is_of_drug(note, match):
            in_doubt |= drugs
            continue
        if by_arrow := _TO_BY_ARROW.search(note.text, start, end):
            match = by_arrow
            drugs = {mention.value for mention in note.drugs if mention.end + 1 == match.start()}
        if match and not drugs:  # which drug?
            return
        if match and (len(drugs) > 1 or drugs & changed.keys() or _IF.search(note.text, start, end)):  # which, or when?
            in_doubt |= drugs
        elif match:
            changed[drugs.pop()] = (start, match)
    for drug in dict.fromkeys(mention.value for mention in note.drugs):
        mentions = [mention for mention in note.drugs if mention.value == drug]
        if drug in in_doubt or sum(other[:2] == mentions[0][:2] for other in note.drugs) > 1:
            continue  # or a brand of two drugs
        if drug in changed:
            yield from _changed_dose(note, task, mentions, *changed[drug])
        else:
            yield from _dose_and_frequency(note, task, mentions)


def _is_of_drug(note: ParsedNote, match: re.Match[str]) -> bool:
    """Whether a drug stands within a change of dose, or right before it: not in `Valtrex, steroids cut to 1 mg`."""
    return any(
        match.start() - 80 <= mention.start < match.end()
        and (mention.end > match.start() or not _ANOTHER.search(note.text, mention.end, match.start()))
        for mention in note.drugs
    )


def _changed_dose(
    note: ParsedNote, task: str, mentions: list[Mention], start: int, match: re.Match[str]
) -> Iterator[Triple]:
    if _ENDED.search(note.text, match.start(), match.end() + 80):  # decreased for a week, then discontinued
        return
    if _SECOND_DOSE.match(note.text, match.end()):
        return
    mention = next(mention for mention in mentions if mention.start >= start)
    name = note.text[mention.start : mention.end]
    questions = {
        "new": (
            f"What is the new dose of {name}?",
            f"To what dose is {name} changed?",
            f"Which dose of {name} should the patient take from now on?",
        ),
        "old": (f"What was the dose of {name} before the change?", f"What was the previous dose of {name}?"),
    }
    for which, wordings in questions.items():
        if which in match.groupdict():
            yield _about_drug(note, task, mention, match, which, wordings, "a change of")


def _dose_and_frequency(note: ParsedNote, task: str, mentions: list[Mention]) -> Iterator[Triple]:
    """Dose and frequency of one drug that has one dose, in no sentence that tells of a change."""
    doses = _doses(note.text, mentions)
    if len(doses) != 1 or len(mentions) > 3:
        return
    if any(_is_in_doubt(note, mention) or note.is_of_relative(mention) for mention in mentions):
        return
    (match,) = doses.values()
    if not match.lastgroup:  # a dose without its unit
        return
    next_drug = min((other.start for other in note.drugs if other.start >= match.end()), default=len(note.text))
    if _SECOND_DOSE.match(note.text, match.end(), next_drug):
        return
    mention = next(m for m in mentions if m.end == match.start())
    name = note.text[mention.start : mention.end]
    frequency = _FREQUENCY.match(note.text, match.end())
    wordings = (
        f"What dose of {name} does the note give?",
        f"At what dose is {name} given?",
        f"Which dose belongs to {name}?",
        f"What is the dose of {name}?",
        *((f"How much {name} does the patient take?",) if frequency else ()),
    )
    yield _about_drug(note, task, mention, match, "dose", wordings, "a dose of")
    if (course := _COURSE.match(note.text, match.end())) and len(mentions) == 1:
        how_long = (
            f"For how long is {name} given?",
            f"How long is {name} to be taken?",
            f"What length of treatment does the note give for {name}?",
        )
        yield _about_drug(note, task, mention, course, "course", how_long, "a length of treatment with")
    if frequency and len(mentions) == 1:
        how_often = (
            f"How often is {name} taken?",
            f"What frequency does the note give for {name}?",
            f"With which frequency is {name} ordered?",
        )
        yield _about_drug(note, task, mention, frequency, "frequency", how_often, "a frequency for")


def _about_drug(
    note: ParsedNote,
    task: str,
    mention: Mention,
    match: re.Match[str],
    group: str,
    wordings: tuple[str, ...],
    fact: str,
) -> Triple:
    """A question about a drug that a group of the match answers; `fact` as in "the note does not give a dose of"."""
    name = note.text[mention.start : mention.end]
    return Triple(
        note.choose(*wordings),
        match[group],
        task,
        check="exact",
        spans=((mention.start, mention.end), match.span(group)),
        subject=Subject(rf"\b{re.escape(name)}\b", not_mentioned(name), mention.value, not_given(f"{fact} {name}")),
    )


def _is_in_doubt(note: ParsedNote, mention: Mention) -> bool:
    """Whether the sentence around a mention, or the one after, may change the dose, stop the drug or start another."""
    spans = [(start, end) for start, end in note.sentences if start <= mention.start + 1 < end or start > mention.start]
    start, end = max(0, mention.start - 120), len(note.text)  # where no sentence is found, as in dictation
    if spans and spans[0][0] <= mention.start + 1:
        start, end = spans[0][0], spans[min(1, len(spans) - 1)][1]
    if _ENDED.search(note.text, max(0, mention.start - 50), min(end, mention.end + 80)):
        return True
    return bool(_ANY_CHANGE.search(note.text, start, min(end, mention.end + 250)))


def is_changed_elsewhere(note: ParsedNote, start: int, end: int) -> bool:
    """Whether a drug that a span of the note names is stopped, or its dose changed, outside of the span."""
    listed = {mention.value for mention in note.drugs if start <= mention.start < end}
    others = (mention for mention in note.drugs if not start <= mention.start < end)
    return any(mention.value in listed and _is_in_doubt(note, mention) for mention in others)


def _doses(text: str, mentions: list[Mention]) -> dict[str, re.Match[str]]:
    """Doses right after the mentions of one drug, by normalized dose; empty when one may precede a mention."""
    doses: dict[str, re.Match[str]] = {}
    for mention in mentions:
        if _DOSE_BEFORE.search(text[max(0, mention.start - 40) : mention.start]):
            return {}
        if re.match(r"[/+][A-Za-z]{3}", text[mention.end :]):
            return {}
        if match := _DOSE.match(text, mention.end) or _NO_UNIT.match(text, mention.end):
            doses[match[match.lastgroup or 0].lower().replace(" ", "")] = match
    return doses
