"""Questions about why something was done, where a sentence names both and says so: `was stopped because of a cough`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from clinadapt.clinical.sections import without_period
from components.synthesize.parsed_note import ParsedNote, quote
from components.synthesize.teacher import Subject, Triple
from components.synthesize.unanswerable import not_given, not_mentioned

MAX_TRIPLES = 3
MAX_REASON = 90  # characters
_VERBS = (
    r"(?:started|stopped|given|increased|raised|reduced|lowered|decreased|cut|held|withheld|discontinued|added|changed|"
    r"switched|done|performed|obtained|ordered|requested|arranged|booked|placed|left|inserted|kept|observed|admitted|"
    r"transferred|sent|resumed|prescribed|recommended)"
)
_OF_PATIENTS = {"admitted", "transferred", "kept", "observed"}
_LINK = (
    r"(?:because of|owing to|due to|on account of|in view of|because(?= (?:he|she|the|of|it)\b)|"
    r"to (?:rule out|exclude|look for|check for))"
)
_FOR = r"for (?=(?!the (?:past|last|first|next)\b)[a-z])"
_WHAT = r"(?:^|[,;:] (?:and |so )?(?=(?:an?|the|his|her) ))(?P<what>[A-Za-z][A-Za-z0-9' /-]{1,45}?)"
_DOSE = r"(?: (?:from |to )?\d[\d.,]* ?(?:mg|mcg|g)(?: [a-z.]+){0,3}?)"
_AUXILIARY = r"(?P<auxiliary>was|were|has been|have been)"
# What was done in the passive, with a dose or a date between verb and reason; `for` right after the verb or a dose only
_PASSIVE = re.compile(
    rf"{_WHAT} {_AUXILIARY} (?P<verb>{_VERBS})"
    rf"(?P<between>(?: [^\s,;:]+){{0,9}}?) (?P<why>(?:{_LINK}) .+)$"
)
_PASSIVE_FOR = re.compile(
    rf"{_WHAT} {_AUXILIARY} (?P<verb>{_VERBS})"
    rf"(?P<between>{_DOSE}{{0,2}}) (?P<why>{_FOR}.+)$"
)
_ACTIVE = re.compile(
    rf"\b(?:I|[Ww]e) (?:have )?(?P<verb>{_VERBS}|asked for) (?:(?:his|her|the) )?(?P<what>[A-Za-z][A-Za-z' -]{{2,40}}?)"
    rf"(?P<between>{_DOSE}{{0,2}}) (?P<why>(?:{_LINK}|{_FOR}) ?.+)$"
)
_STARTED_ON = re.compile(rf"\b(?:started|put) on (?P<what>[A-Za-z]+)(?P<between>{_DOSE}?) (?P<why>{_LINK} .+)$")
_SO = re.compile(
    rf"^(?P<why>[A-Z][^;]{{4,80}}), so (?P<what>[a-z][A-Za-z' -]{{2,40}}?) {_AUXILIARY} (?P<verb>{_VERBS})\b"
)
_ADMITTED = re.compile(
    r"\b(?:[Pp]atient|[Mm]an|[Ww]oman|[Ll]ady|[Gg]entleman|[Ff]emale|[Mm]ale|[Hh]e|[Ss]he|who|"
    r"M(?:r|rs|s)\. [A-Z]\w*)(?: who)? was (?P<verb>admitted)"
    r"(?: on [A-Z0-9][\w ,/-]{2,18}?)? (?P<why>with [a-z].+)$"
)
_REASON_END = re.compile(
    rf",? (?:and|which|but) (?:it )?(?:showed|revealed|demonstrated|was|were|then|(?:re-?)?{_VERBS})\b|"
    r"; |, (?:so|and|which|but) "
)
_PRONOUN = re.compile(
    r"(?:to|in|on|at|for|from|by|of|into|up|out|with|it|this|that|these|which|there|who|they|we|all|both|none|one)\b",
    re.IGNORECASE,
)
_PATIENT = re.compile(r"(?:he|she|(?:the )?p(?:atien)?t|mr\.? ?\w?|mrs\.? ?\w?|ms\.? ?\w?)$", re.IGNORECASE)
_DOUBT = re.compile(
    r"\b(?:not|never|if|unless|may|might|could|would|should|possibly|family|mother|father)\b", re.IGNORECASE
)
# Between a deed and a reason, which then may be that of the manner: `performed poorly due to`, `stopped early for`
_MANNER = re.compile(r" (?:\w+ly|early|late|again|twice|alone|only|without|under|instead)\b", re.IGNORECASE)
_NEW_SENTENCE = re.compile(r"\b[A-Z]\. [A-Z][a-z]|, (?:as )?(?:suggested|recommended|requested|advised) by\b")
_NO_REASON = re.compile(
    r"for (?:\d|(?:a |the |his |her )?(?:further|follow|evaluation|about|approximately|total|duration|discharge|"
    r"now|one|two|three|four|five|six|seven|ten|several|many|above|patholog|histolog|"
    r"review|culture|analysis|some time|time|"
    r"day|week|month|year|patient|baby|child|infant|mother|family|him|her|home|use))",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Reason:
    """Something that was done and why: `what was verb`, and the span of the reason."""

    what: str
    auxiliary: str
    verb: str
    start: int
    end: int


def reason_questions(note: ParsedNote, task: str) -> Iterator[Triple]:
    """Why each thing was done for which one sentence gives the reason; none that the note says twice."""
    reasons = [reason for span in note.sentences if (reason := _reason(note, *span))]
    asked = Counter((reason.what.lower(), reason.verb) for reason in reasons)
    reasons = [reason for reason in reasons if asked[reason.what.lower(), reason.verb] == 1]
    note.rng.shuffle(reasons)
    for reason in reasons[:MAX_TRIPLES]:
        deed = f"{reason.auxiliary} {reason.what} {reason.verb}"
        words = [word for word in re.findall(r"[A-Za-z-]{3,}", reason.what) if word not in ("the", "his", "her")]
        generic = _generic(note, reason.what)
        pattern = "|".join(rf"\b{re.escape(word)}" for word in words[-2:] or [reason.verb])
        questions = (
            f"Why {deed}?",
            f"Why {deed}?",
            f"For what reason {deed}?",
            f"What is the reason that {reason.what} {reason.auxiliary} {reason.verb}?",
        )
        lacking = (*not_mentioned(reason.what), *not_given(f"a reason for {reason.what}"))
        yield quote(note, questions, (reason.start, reason.end), task, Subject(pattern, lacking, drug=generic))


def _reason(note: ParsedNote, start: int, end: int) -> _Reason | None:
    """The first reason that a sentence gives; None in doubt."""
    sentence = without_period(note.text[start:end])
    if "\n" in sentence or _DOUBT.search(sentence):
        return None
    for pattern in (_SO, _STARTED_ON, _ADMITTED, _ACTIVE, _PASSIVE, _PASSIVE_FOR):
        if not (match := pattern.search(sentence)):
            continue
        groups = match.groupdict()
        what = _named(note, groups.get("what") or "the patient")
        if (
            what == "the patient" and (groups.get("verb") or "started") not in _OF_PATIENTS
        ):  # given, or started on, what?
            return None
        reason_end = match.end("why")
        if pattern is not _SO and (stop := _REASON_END.search(sentence, match.start("why"))):
            reason_end = stop.start()
        why = sentence[match.start("why") : reason_end]
        if _NEW_SENTENCE.search(why) or _MANNER.match(groups.get("between") or ""):
            return None
        if not what or not 6 < len(why) <= MAX_REASON or _NO_REASON.match(why) or ":" in why or len(why.split()) < 2:
            return None
        verb = {"asked for": "requested"}.get(groups.get("verb") or "", groups.get("verb") or "started")
        plural = groups.get("auxiliary") in ("were", "have been") or (pattern is _ACTIVE and what.endswith("s"))
        auxiliary = "were" if plural and what != "the patient" else "was"
        return _Reason(what, auxiliary, verb, start + match.start("why"), start + reason_end)
    return None


def _named(note: ParsedNote, what: str) -> str:
    """How a question names what was done: a drug without its dose, a person as the patient; empty for a pronoun."""
    if _PATIENT.match(what):
        return "the patient"
    what = re.sub(r"^(?:then|so|also|therefore|subsequently|some) ", "", what, flags=re.IGNORECASE)
    if (
        _PRONOUN.match(what)
        or len(what.split()) > 6
        or re.search(r"\b(?:and|who|that|which|or|with|he|she|was|were|is|are|\d+)\b", what)
    ):
        return ""
    if generic := _generic(note, what):
        name = re.match(r"(?:the |his |her )?([A-Za-z-]+)", what, re.IGNORECASE)
        return name[1].lower() if name and generic and name[1][1:].islower() else what
    what = re.sub(r"^(?:A|An|The|His|Her)(?= )", lambda article: article[0].lower(), what)
    what = re.sub(r"^(?:his|her) ", "the ", what)
    return what if re.match(r"[A-Z][A-Z]|(?:an?|the) ", what) else what[0].lower() + what[1:]


def _generic(note: ParsedNote, what: str) -> str:
    """The drug that begins the words, by its generic name; empty for anything else."""
    words = re.sub(r"^(?:the|his|her|a|an) ", "", what.lower())
    names = {note.text[m.start : m.end].lower(): m.value for m in note.drugs}
    return next((value for name, value in names.items() if re.match(rf"{re.escape(name)}\b", words)), "")
