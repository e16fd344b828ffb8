"""Questions about investigations in sentences: when one was done, and what it showed."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clinadapt.clinical.dates import date_mentions
from clinadapt.clinical.sections import without_period
from components.synthesize.parsed_note import ParsedNote, quote
from components.synthesize.teacher import Subject, Triple
from components.synthesize.unanswerable import not_given, not_mentioned

MAX_RESULT = 110  # characters
# An investigation -> what else stands for it in a note
_NAMES = {
    r"chest (?:x-ray|film|radiograph)": r"x-?ray|radiogra|film|\bcxr\b|chest imaging",
    r"echocardiogram": r"\becho|\btte\b|\btee\b|ejection|ultraso",
    r"electrocardiogram|EKG|ECG": r"electrocardio|\be[ck]g\b|rhythm|tracing|telemetry",
    r"(?:exercise )?stress test|treadmill test": r"stress|treadmill|exercise|nuclear",
    r"(?:carotid |abdominal |renal |thyroid |pelvic )?ultrasound(?: of the [a-z]+)?": (
        r"ultraso|sonogra|doppler|duplex|scan"
    ),
    r"CT(?: scan)?(?: of the [a-z]+(?: and [a-z]+)?)?": r"\bct\b|\bcat\b|tomogra|scan|imaging",
    r"MRI(?: scan)?(?: of the [a-z]+(?: spine)?)?": r"\bmri\b|magnetic|scan|imaging",
    r"sleep study": r"sleep|polysomno|apnea",
    r"colonoscopy": r"colonoscop|endoscop|scope",
    r"bone density scan": r"density|dexa|t-score|scan",
    r"urine culture": r"urin|cultur|\bmsu\b",
    r"blood cultures?": r"cultur",
    r"biopsy": r"biops|patholog|histolog",
    r"angiogram|angiography": r"angiogra|catheteri[sz]|\bcta\b",
    r"EEG": r"\beeg\b|electroenceph",
}
_SHOWED = r"(?:showed|shows|revealed|reveals|demonstrated|demonstrates)"
_NO_RESULT = re.compile(
    r"^(?:to be|up|that there)\b|\b(?:as above|the same|same as|the following|see|above|that is|it|this|if|"
    r"and (?:she|he|we|i|they|the patient)|"
    rf"{_SHOWED.removeprefix('(?:')}\b",
    re.IGNORECASE,
)
# How the next sentence tells more of the result
_GOES_ON = re.compile(r"(?:No|There (?:is|was|are|were)|It (?:also|further)|Also|Additional(?:ly)?|Otherwise)\b")
# Between an investigation and `showed`, or after it where the next sentence says `It showed`: something else may have
_ANOTHER_SUBJECT = re.compile(
    r"\b(?:which|that|and|but|she|he|patient|if|when|then|before|after|scan|films?|x-?rays?|tests?|bloods|labs|"
    rf"stud(?:y|ies)|{'|'.join(_NAMES)})\b",
    re.IGNORECASE,
)


def investigation_dates(note: ParsedNote, task: str) -> Iterator[Triple]:
    """When each investigation was done that one sentence of the note names with a date."""
    for mention, i, pattern in _investigations(note):
        if date := _date(note, mention, note.sentences[i]):
            yield _dated(note, mention, date, pattern, task)


def investigation_results(note: ParsedNote, task: str) -> Iterator[Triple]:
    """What each investigation showed that one sentence of the note names."""
    for mention, i, pattern in _investigations(note):
        if result := _result(note, mention, i):
            yield _reported(note, mention, result, pattern, task)


def _investigations(note: ParsedNote) -> Iterator[tuple[re.Match[str], int, str]]:
    """The investigations that the note names once: the mention, its sentence, and what else stands for it."""
    for name, others in _NAMES.items():
        mentions = list(re.finditer(rf"\b(?:{name})(?!\w)", note.text))
        spans = [i for i, (start, end) in enumerate(note.sentences) for m in mentions if start <= m.start() < end]
        if len(mentions) != 1 or len(spans) != 1:
            continue
        (mention,), (i,) = mentions, spans
        short = re.match("[A-Z]{2,}", mention[0])
        if short and len(re.findall(rf"\b[A-Z]{{0,3}}{short[0]}[A-Z]{{0,2}}s?\b", note.text)) > 1:  # a HCT beside a CT
            continue
        yield mention, i, rf"{others}|{re.escape(mention[0])}"


def _date(note: ParsedNote, mention: re.Match[str], sentence: tuple[int, int]) -> tuple[int, int] | None:
    """Span of the only date of the sentence, right after the investigation: `a stress test was done on 4 March`."""
    dates = date_mentions(note.text[slice(*sentence)])
    if len(dates) != 1:
        return None
    start, end = sentence[0] + dates[0].start, sentence[0] + dates[0].end
    between = note.text[mention.end() : start]
    return (
        (start, end)
        if re.fullmatch(r" (?:was (?:done|performed|obtained|made) )?(?:on|from|of|dated) (?:the )?", between)
        else None
    )


def _result(note: ParsedNote, mention: re.Match[str], i: int) -> tuple[int, int] | None:
    """Span of what it showed, to the end of the sentence; the sentence may be the next one: `It showed ...`."""
    start, end = note.sentences[i]
    pattern = rf"(?P<between>(?:[^.;:]|\.\d){{0,90}}?)(?:; it|, which|,? and(?: it)?)? {_SHOWED} "
    showed = re.compile(pattern).match(note.text, mention.end(), end)
    between = showed["between"] if showed else note.text[mention.end() : end]
    if not showed and i + 1 < len(note.sentences):
        i += 1
        start, end = note.sentences[i]
        showed = re.compile(rf"It {_SHOWED} ").match(note.text, start, end)
    if not showed or _ANOTHER_SUBJECT.search(between):
        return None
    found = without_period(note.text[showed.end() : end])
    if i + 1 < len(note.sentences) and _GOES_ON.match(note.text, *note.sentences[i + 1]):
        return None
    if not 3 < len(found) <= MAX_RESULT or _NO_RESULT.search(found) or ":" in found:
        return None
    return showed.end(), showed.end() + len(found)


def _dated(note: ParsedNote, mention: re.Match[str], span: tuple[int, int], pattern: str, task: str) -> Triple:
    return Triple(
        note.choose(
            f"When was the {mention[0]}?",
            f"When was the {mention[0]} done?",
            f"On which date was the {mention[0]} done?",
            f"What is the date of the {mention[0]}?",
        ),
        note.text[slice(*span)],
        task,
        check="exact",
        spans=(span,),
        subject=Subject(pattern, (*not_mentioned(f"the {mention[0]}"), *not_given(f"a date of the {mention[0]}"))),
    )


def _reported(note: ParsedNote, mention: re.Match[str], span: tuple[int, int], pattern: str, task: str) -> Triple:
    questions = (
        f"What did the {mention[0]} show?",
        f"What was the result of the {mention[0]}?",
        f"What was found on the {mention[0]}?",
        f"What did the {mention[0]} reveal?",
    )
    lacking = (*not_mentioned(f"the {mention[0]}"), *not_given(f"a result of the {mention[0]}"))
    return quote(note, questions, span, task, Subject(pattern, lacking))
