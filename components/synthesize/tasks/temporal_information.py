"""Temporal information extraction: all dates, those of the stay, time of follow-up, times to fill into a gap."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clinadapt.clinical.dates import date_mentions
from clinadapt.clinical.sections import one_line
from components.synthesize.parsed_note import ParsedNote
from components.synthesize.teacher import Subject, Triple
from components.synthesize.unanswerable import not_given, not_mentioned

TASK = "Temporal Information Extraction"

_COUNT = r"(?:\d+(?:\.\d+)?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|several|a few)"
_DURATION = (
    rf"(?<![/\d.-])(?:{_COUNT}(?:(?: to | or |-){_COUNT})? (?:minutes|hours|days?|weeks?|wks|months?|years?|yrs)|"
    r"\d{1,2}(?:-\d{1,2})?/(?:7|52|12)(?![\d/]))"
)
_TIME = re.compile(rf"\b(?P<time>{_DURATION}(?: ago\b)?)(?![ -]old|\w)")
_NOT_A_TIME = re.compile(
    r" (?:in size|a (?:week|day|month|year)|size|gestation|pregnan|of gestation|of age|old|history|by |post|"
    r"before|prior|after|earlier|later|old|PTA\b|per |each |out of )"
)
_FOLLOW_UP_TIME = re.compile(
    rf"\b(?:[Ff]ollow(?:ed)?[ -]?up|[Ff]/[Uu]|[Rr]eview(?:ed)?|[Rr]/[Vv]|[Ss]ee (?:him|her|you|me|us)|"
    r"[Rr]eturn(?:s)?(?: to (?:the )?(?:clinic|office))?|RTC|[Ss]ee again|See Dr\. \w|[Ss]een again|"
    r"back)(?: [a-z]+){0,5}? "
    rf"(?P<when>in (?:about |approximately )?{_DURATION}(?:['’] time)?)(?!\w)"
)
_ANY_FOLLOW_UP = re.compile(
    r"follow|return|\bsee\b|recheck|re-?evaluat|appointment|visit|back in|week|month|call|clinic|f/u|review|r/v|"
    r"\d/(?:7|52|12)\b|next|again|discharg",
    re.IGNORECASE,
)


# What `date_mentions` leaves out, or a list of all dates would have to give as well
_PARTIAL_DATE = re.compile(
    r"\b(?:19|20)\d\d\b(?! ?(?:mg|m[lL]|units|mcg|g)\b)|(?<![\d/])(?:0?[1-9]|1[0-2])/\d\d(?![\d/])|"
    r"\b(?:January|February|March|April|June|July|August|September|October|November|December|Christmas|Easter)\b|"
    r"\b(?:in|since|last|until|of|by) May\b"
)
MAX_GAPS, MAX_CANDIDATES = 3, 30
FRAGMENT = 5  # words of a sentence that a question quotes
_ANY_DATE = r"\d{1,4}[/.-]\d{1,2}|\b(?:19|20)\d\d\b|\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
_STAY = {
    "admitted": {"DATE OF ADMISSION", "ADMISSION DATE", "ADMITTED", "ADMIT DATE"},
    "discharged": {"DATE OF DISCHARGE", "DISCHARGE DATE", "DISCHARGED"},
}


def generate(note: ParsedNote) -> Iterator[Triple]:
    """One triple for all dates, one for the follow-up, up to three gaps, and the dates of the stay."""
    yield from _dates(note)
    yield from _follow_up(note)
    yield from _gaps(note)
    yield from _stays(note)


def _dates(note: ParsedNote) -> Iterator[Triple]:
    dates = date_mentions(note.text)
    whole = all(any(s <= m.start() < e for s, e, _ in dates) for m in _PARTIAL_DATE.finditer(note.text))
    if whole and len(dates) >= 2 and len({date.value for date in dates}) == len(dates) <= 8:
        yield Triple(
            note.choose(
                "List all dates in the note, separated by semicolons.",
                "Which dates does the note give? Separate them by semicolons.",
                "What dates are in the note? Separate them by semicolons.",
            ),
            "; ".join(note.text[start:end] for start, end, _ in dates),
            TASK,
            check="set",
            spans=tuple((start, end) for start, end, _ in dates),
            subject=Subject(_ANY_DATE, not_given("any date")),
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
                "When is the next review?",
                "When is the follow-up?",
            ),
            matches[0]["when"],
            TASK,
            check="exact",
            spans=(matches[0].span(),),
            subject=Subject(_ANY_FOLLOW_UP.pattern, not_given("the time of the next visit")),
        )


def _gaps(note: ParsedNote) -> Iterator[Triple]:
    """Gaps in place of the only time of a sentence, each with the words before it, which stand nowhere else."""
    text, whole = note.text, one_line(note.text)
    times = [(span, list(_TIME.finditer(text, *span))) for span in note.sentences if span[1] - span[0] <= 220]
    candidates = [(start, matches[0]) for (start, end), matches in times if len(matches) == 1]
    note.rng.shuffle(candidates)
    count = 0
    for start, match in candidates[:MAX_CANDIDATES]:
        before = text[start : match.start()].split()[-FRAGMENT:]
        words = " ".join(before)
        if len(before) < 3 or count == MAX_GAPS or re.search(r'[":]|\b(?:Mr|Mrs|Ms|Dr)\b', words):
            continue
        if _NOT_A_TIME.match(text, match.end()) or before[-1] == "at" or whole.count(words) != 1:
            continue
        count += 1
        yield Triple(
            note.choose(
                f'Which time does the note give in the gap: "{words} ____"',
                f'When or for how long, according to the note? Fill the gap: "{words} ____"',
                f'Complete with the time from the note: "{words} ____"',
                f'What time follows "{words}" in the note?',
            ),
            match["time"],
            TASK,
            check="exact",
            spans=(match.span(),),
            subject=Subject(r"\s+".join(map(re.escape, words.split())), not_mentioned(f'the words "{words}"')),
        )


def _stays(note: ParsedNote) -> Iterator[Triple]:
    """Dates of admission and discharge, from their headers."""
    for event, headers in _STAY.items():
        sections = [section for section in note.sections if section.header.upper() in headers]
        if len(sections) == 1:
            (section,) = sections
            body = note.text[section.start : section.end]
            dates = date_mentions(body)
            if len(dates) == 1 and len(body) - len(body[dates[0].start : dates[0].end]) < 4:
                span = (section.start + dates[0].start, section.start + dates[0].end)
                yield Triple(
                    note.choose(f"When was the patient {event}?", f"On which date was the patient {event}?"),
                    note.text[slice(*span)],
                    TASK,
                    check="exact",
                    spans=(span,),
                    subject=Subject(event[:5], not_mentioned(f"a date on which the patient was {event}")),
                )
