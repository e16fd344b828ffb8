"""Temporal information extraction: all dates, those of the stay, time of follow-up, times to fill into a gap."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clinadapt.clinical.dates import date_mentions
from clinadapt.clinical.sections import one_line
from components.synthesize.diagnostics import investigation_dates
from components.synthesize.parsed_note import ParsedNote
from components.synthesize.teacher import Subject, Triple
from components.synthesize.unanswerable import not_given, not_mentioned

TASK = "Temporal Information Extraction"

_COUNT = r"(?:\d+(?:\.\d+)?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|several|a few)"
_DURATION = (
    rf"(?<![/\d.-])(?:{_COUNT}(?:(?: to | or |-){_COUNT})? (?:minutes|hours|days?|weeks?|wks|months?|years?|yrs)|"
    r"[1-4]?\d(?:-[1-4]?\d)?/(?:7|52|12)(?![\d/]))"  # 92/52 is a blood pressure
)
_TIME = re.compile(rf"\b(?P<time>{_DURATION}(?: ago\b)?)(?![ -]old|\w)")
_NOT_A_TIME = re.compile(
    r" (?:in size|a (?:week|day|month|year)|size|gestation|pregnan|of gestation|of age|old|history|by |post|"
    r"before|prior|after|earlier|later|early|late\b|premature|overdue|old|PTA\b|per |each |out of )"
)
# What may stand behind a whole time: anything else is a part of it, as in `six months seizure free`
_AFTER_TIME = re.compile(
    r"\W*$|\W*[.,;:()/\n]|[ -]+(?:[A-Z\d]|(?:and|or|but|with|without|when|while|for|to|in|on|at|of|by|from|until|till|"
    r"if|then|as|because|due|so|the|an?|his|her|he|she|it|they|this|that|these|which|who|i|we|there|was|were|is|are|has|had|"
    r"have|will|would|should|prn|po|iv|via|during|under|over|now|since|through|within|once|twice|daily|only|total|today|"
    r"again|secondary|status|s/p|where|against|despite|except|than|per|[a-z]+ly|[a-z]+ing|[a-z]+ed)\b)|\W*[\[{\"&+=>-]"
)
_IN_TIME = rf"in (?:about |approximately )?(?:{_DURATION}|a (?:week|month|fortnight))(?:['’] time)?"
_FOLLOW_UP_TIME = re.compile(
    rf"\b(?:[Ff]ollow(?:ed)?[ -]?up|[Ff]/[Uu]|[Rr]eview(?:ed)?|[Rr]/[Vv]|[Ss]ee (?:him|her|you|me|us)|"
    r"[Rr]eturn(?:s)?(?: to (?:the )?(?:clinic|office))?|RTC|[Ss]ee again|See Dr\. \w|[Ss]een again|"
    r"back|will be seen|appointment is|to return)(?: [a-z]+){0,5}? "
    rf"(?P<when>{_IN_TIME})(?!\w)"
)
# In shorthand: `RTC 2 mo`, `r/v 2/52`, `Next visit Fri`
_NEXT_VISIT = re.compile(
    rf"\b(?:[Rr]eview|[Rr]/[Vv]|RV|RTC|[Ff]/[Uu]|[Ff]ollow[ -]?[Uu]p|NV|[Nn]ext (?:visit|appt|appointment|session|"
    rf"review|call)|"
    rf"[Ss]ee again|TCI) ?[:=-]? ?(?:appt |in |on )?(?P<when>(?:after )?{_DURATION}|\d{{1,2}}(?:-\d{{1,2}})? ?(?:mo|"
    rf"mos|mths?|wks?|d)\b|"
    r"a (?:week|month|fortnight)\b|(?:Mon|Tues?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?\b|"
    r"tomorrow\b)(?! (?:ago|later|prior|post|after|x\b))"
)
# Which is no visit: `return to full duty in 4 to 6 months`
_TO_LIFE = re.compile(
    r"\b(?:returns?|back) to (?!(?:the |my |our |this |a )?(?:clinic|office|see|me|us|surgery|hospital|department|"
    r"practice|doctor|be seen|follow))",
    re.IGNORECASE,
)
_IF = re.compile(r"\b(?:if|unless)\b", re.IGNORECASE)
# Behind the time of a visit: another visit, or what this one depends on
_IS_UNCERTAIN = re.compile(r"follow|return|^,? (?:if|unless|only if|prn|as needed|p\.r\.n)\b", re.IGNORECASE)
# `was told to have a repeat mammogram`, which was then
_TOLD_BEFORE = re.compile(r"\b(?:was|were|been) (?:told|advised|asked|supposed|meant|scheduled|recommended)\b")
# What is done again, or taken out, after a time
_PLANNED = {
    "repeated": re.compile(
        rf"(?:\b[Rr]epeat (?P<after>[A-Za-z][A-Za-z -]{{2,30}}?)|(?P<before>[A-Za-z][A-Za-z -]{{2,30}}?) "
        rf"(?:will|should|is to|are to) be (?:repeated|rechecked|checked again)) (?P<when>{_IN_TIME})(?!\w)"
    ),
    "removed": re.compile(
        r"\b(?P<before>[Ss]utures|[Ss]titches|[Ss]taples|[Cc]lips|[Dd]rain|[Cc]ast|[Cc]atheter|[Ss]plint) "
        rf"(?:(?:will|should|is to|are to) be (?:removed|taken out)|(?:comes? )?out) (?P<when>{_IN_TIME})(?!\w)"
    ),
}
_ANY_FOLLOW_UP = re.compile(
    r"follow|return|\bsee\b|recheck|re-?evaluat|appointment|visit|back in|week|month|call|clinic|f/u|review|r/v|"
    r"\d/(?:7|52|12)\b|next|again|discharg|repeat|years?\b|\byrs?\b|\d ?(?:wks?|mos?|mths?|d)\b|\b(?:mon|tues?|wed|"
    r"thu(?:rs)?|fri)\b",
    re.IGNORECASE,
)


# What `date_mentions` leaves out, or a list of all dates would have to give as well
_PARTIAL_DATE = re.compile(
    r"\b(?:19|20)\d\d\b(?! ?(?:mg|m[lL]|units|mcg|g)\b)|(?<![\d/])(?:0?[1-9]|1[0-2])/\d\d(?![\d/])|"
    r"\b(?:January|February|March|April|June|July|August|September|October|November|December|Christmas|Easter)\b|"
    r"\b(?:in|since|last|until|of|by) May\b|"
    r"\b(?:in|since|last|until|of|by|from) (?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\b|"
    r"(?<![\d./-])\d{1,2}([./-])\d{1,2}\1\d{2,4}(?!\d)|"
    r"\b(?:on|from|since|until|till|by|dated|due|of) \d{1,2}/\d{1,2}(?![\d/])"
)
_TOLD = {"history of present illness", "subjective", "past medical history", "past surgical history"}  # what has been
_PERSON = r"\b(?:man|woman|boy|girl|child|baby|son|daughter|brother|sister|mother|father|patient|male|female)"
MAX_GAPS, MAX_CANDIDATES = 3, 30
FRAGMENT = 5  # words of a sentence that a question quotes
_ANY_DATE = r"\d{1,4}[/.-]\d{1,2}|\b(?:19|20)\d\d\b|\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
_STAY = {  # event -> its headers, the words before its date in a sentence, questions, and what a note without it lacks
    "a date on which the patient was admitted": (
        {"DATE OF ADMISSION", "ADMISSION DATE", "ADMITTED", "ADMIT DATE"},
        "was admitted(?: to [a-z ]{3,30})?",
        ("When was the patient admitted?", "On which date was the patient admitted?", "What is the date of admission?"),
        "admit|admission",
    ),
    "a date on which the patient was discharged": (
        {"DATE OF DISCHARGE", "DISCHARGE DATE", "DISCHARGED"},
        "went home|was discharged(?: home)?",
        (
            "When was the patient discharged?",
            "On which date was the patient discharged?",
            "When did the patient go home?",
        ),
        "discharg|went home|goes home",
    ),
    "an operation": (
        {"DATE OF OPERATION", "DATE OF PROCEDURE", "DATE OF SURGERY", "OPERATION DATE"},
        "",
        ("When was the operation?", "When was the operation done?", "On which date was the patient operated on?"),
        "operat|surg|procedur|underwent|ectomy|plasty|otomy|repair",
    ),
}


def generate(note: ParsedNote) -> Iterator[Triple]:
    """Dates, follow-up, dates of tests and of the stay, what is planned; gaps where there are few of those."""
    named = [
        *_dates(note),
        *_follow_up(note),
        *investigation_dates(note, TASK),
        *_planned(note),
        *_stays(note),
    ]
    yield from named
    yield from _gaps(note, max(1, MAX_GAPS - len(named)))


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
    past = [(section.start, section.end) for section in note.sections if section.name in _TOLD]
    by_end = {
        match.end(): match
        for span in note.sentences
        for pattern in (_NEXT_VISIT, _FOLLOW_UP_TIME)
        for match in pattern.finditer(text, *span)
        if not any(start <= match.start() < end for start, end in past)
        and not _IF.search(text, span[0], match.start("when"))
        and not _TO_LIFE.search(match[0])
    }
    matches = list(by_end.values())
    if len(matches) == 1 and not _IS_UNCERTAIN.search(text[matches[0].end() : matches[0].end() + 200]):
        after = ("After what time is the next visit planned?",) if re.search(r"\d|in ", matches[0]["when"]) else ()
        yield Triple(
            note.choose(
                "When is the patient to be seen again?",
                *after,
                "When should the patient come back?",
                "When is the next review?",
                "When is the follow-up?",
                "When will the patient be seen again?",
                "When will the patient be reviewed?",
            ),
            matches[0]["when"],
            TASK,
            check="exact",
            spans=(matches[0].span(),),
            subject=Subject(_ANY_FOLLOW_UP.pattern, not_given("the time of the next visit")),
        )


def _planned(note: ParsedNote) -> Iterator[Triple]:
    """When something is to be repeated or removed."""
    for done, pattern in _PLANNED.items():
        matches = [
            match
            for span in note.sentences
            for match in pattern.finditer(note.text, *span)
            if not _TOLD_BEFORE.search(note.text, span[0], match.start())
        ]
        if len(matches) == 1:
            (match,) = matches
            thing = match.groupdict().get("after") or match["before"]
            thing = " ".join(word if word[:2].isupper() else word.lower() for word in thing.split()).removeprefix(
                "the "
            )
            if " and " in thing:  # which one, or both
                continue
            yield Triple(
                note.choose(
                    f"When should the {thing} be {done}?",
                    f"When will the {thing} be {done}?",
                    f"After what time is the {thing} to be {done}?",
                ),
                match["when"],
                TASK,
                check="exact",
                spans=(match.span(),),
                subject=Subject(re.escape(thing.split()[-1][:6]), not_mentioned(f"the {thing}")),
            )


def _gaps(note: ParsedNote, limit: int) -> Iterator[Triple]:
    """Gaps in place of the only time of a sentence, each with the words before it, which stand nowhere else."""
    text, whole = note.text, one_line(note.text)
    times = [(span, list(_TIME.finditer(text, *span))) for span in note.sentences if span[1] - span[0] <= 220]
    candidates = [(start, matches[0]) for (start, end), matches in times if len(matches) == 1]
    note.rng.shuffle(candidates)
    count = 0
    for start, match in candidates[:MAX_CANDIDATES]:
        before = text[start : match.start()].split()[-FRAGMENT:]
        words = " ".join(before)
        if len(before) < 3 or count == limit or re.search(r'[":]|\b(?:Mr|Mrs|Ms|Dr)\b|\($', words):
            continue
        if re.search(rf"(?:[A-Z]\w+|{_PERSON}),$", words):  # an age
            continue
        if (
            re.search(r"\b(?:at|every|with|age of|uterus(?: of)?(?: about| approximately)?)$", words)
            or whole.count(words) != 1
        ):
            continue
        if _NOT_A_TIME.match(text, match.end()) or not _AFTER_TIME.match(text[match.end() : match.end() + 20]):
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
    """Dates of admission, discharge and operation, from their headers or from the only sentence that gives one."""
    for event, (headers, words, questions, lacking) in _STAY.items():
        spans = [*_dates_under(note, headers), *_dates_after(note, words)]
        if len(spans) == 1:
            yield Triple(
                note.choose(*questions),
                note.text[slice(*spans[0])],
                TASK,
                check="exact",
                spans=(spans[0],),
                subject=Subject(lacking, not_mentioned(event)),
            )


def _dates_under(note: ParsedNote, headers: set[str]) -> Iterator[tuple[int, int]]:
    """Spans of the dates that are all of a section with one of these headers."""
    sections = [section for section in note.sections if section.header.upper() in headers]
    for section in sections:
        body = note.text[section.start : section.end]
        dates = date_mentions(body)
        if len(dates) == 1 and len(body) - len(body[dates[0].start : dates[0].end]) < 4:
            yield section.start + dates[0].start, section.start + dates[0].end


def _dates_after(note: ParsedNote, words: str) -> Iterator[tuple[int, int]]:
    """Spans of the dates right after these words, each alone in its sentence."""
    for start, end in note.sentences if words else ():
        dates = date_mentions(note.text[start:end])
        if len(dates) == 1 and re.search(rf"\b(?:{words}) on (?:the )?$", note.text[start : start + dates[0].start]):
            yield start + dates[0].start, start + dates[0].end
