"""Temporal information extraction: all dates, time of follow-up, and times to fill into a sentence of the note."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clinadapt.clinical.dates import date_mentions
from clinadapt.clinical.sections import one_line
from components.synthesize.parsed_note import ParsedNote
from components.synthesize.teacher import Triple, unanswerable

TASK = "Temporal Information Extraction"

_COUNT = r"(?:\d+(?:\.\d+)?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|several|a few)"
_DURATION = rf"(?<![/\d.-]){_COUNT}(?:(?: to | or |-){_COUNT})? (?:minutes|hours|days?|weeks?|wks|months?|years?|yrs)"
_TIME = re.compile(rf"\b(?P<time>{_DURATION}(?: ago\b)?)(?![ -]old|\w)")
_NOT_A_TIME = re.compile(
    r" (?:in size|a (?:week|day|month|year)|size|gestation|pregnan|of gestation|of age|old|history|by |post)"
)
_FOLLOW_UP_TIME = re.compile(
    rf"\b(?:[Ff]ollow(?:ed)?[ -]?up|F/u|[Rr]eturn(?:s)?(?: to (?:the )?(?:clinic|office))?|RTC|"
    r"[Ss]ee again|See Dr\. \w|[Ss]een again|back)(?: [a-z]+){0,5}? "
    rf"(?P<when>in (?:about |approximately )?{_DURATION})\b"
)
_ANY_FOLLOW_UP = re.compile(
    r"follow|return|\bsee\b|recheck|re-?evaluat|appointment|visit|back in|week|month|call|clinic|f/u", re.I
)


def generate(note: ParsedNote) -> Iterator[Triple]:
    """One triple for all dates, one for the follow-up, and up to two sentences with a gap."""
    yield from _dates(note)
    yield from _follow_up(note)
    yield from _gaps(note)


def _dates(note: ParsedNote) -> Iterator[Triple]:
    dates = date_mentions(note.text)
    if len(dates) >= 2 and len({date.value for date in dates}) == len(dates) <= 8:
        yield Triple(
            note.choose(
                "List all dates in the note, separated by semicolons.",
                "Which dates does the note give? Separate them by semicolons.",
            ),
            "; ".join(note.text[start:end] for start, end, _ in dates),
            TASK,
            check="set",
            spans=tuple((start, end) for start, end, _ in dates),
        )


def _follow_up(note: ParsedNote) -> Iterator[Triple]:
    text = note.text
    matches = [match for span in note.sentences for match in _FOLLOW_UP_TIME.finditer(text, *span)]
    if len(matches) == 1 and not re.search(r"follow|return", text[matches[0].end() : matches[0].end() + 200], re.I):
        yield Triple(
            note.choose(
                "When is the patient to be seen again?",
                "After what time is the next visit planned?",
                "When should the patient come back?",
            ),
            matches[0]["when"],
            TASK,
            check="exact",
            spans=(matches[0].span(),),
        )
    elif not _ANY_FOLLOW_UP.search(text):
        yield unanswerable(
            note.choose("When is the patient to be seen again?", "When is the next visit planned?"),
            "The note does not say when the patient is to be seen again.",
            TASK,
        )


def _gaps(note: ParsedNote) -> Iterator[Triple]:
    """Cloze questions from sentences that contain exactly one time."""
    text = note.text
    clozes = []
    for start, end in note.sentences:
        if end - start > 220 or ":" in text[start:end] or '"' in text[start:end]:
            continue
        times = list(_TIME.finditer(text, start, end))
        if len(times) != 1:
            continue
        (match,) = times
        if _NOT_A_TIME.match(text, match.end()) or text[match.start() - 4 : match.start()] == " at ":
            continue
        if len(text[start : match.start()].split()) >= 3:
            clozes.append((start, end, match))
    note.rng.shuffle(clozes)
    for start, end, match in clozes[:2]:
        gap = one_line(f"{text[start : match.start('time')]}____{text[match.end('time') : end]}")
        yield Triple(
            note.choose(
                f'Which time does the note give in the gap: "{gap}"',
                f'When or for how long, according to the note? Fill the gap: "{gap}"',
                f'Complete with the time from the note: "{gap}"',
            ),
            match["time"],
            TASK,
            check="exact",
            spans=((start, end),),
        )
