"""Unanswerable questions: questions that one note answers, put to another that does not.

Whether a question can be answered must not show in its wording, or a model learns to refuse by wording. So no question
is written to be unanswerable: each is a copy of one that an earlier note of the same source answers, and a question of
any kind is copied with the same probability. The wordings of both have one distribution by construction.
"""

from __future__ import annotations

import re
from collections import deque
from random import Random

from components.synthesize.parsed_note import ParsedNote
from components.synthesize.teacher import Subject, Triple

SHARE = 0.25  # of the questions that are copied
MAX_PER_NOTE = 3
MAX_NOTE = 50_000  # characters of a note that waiting questions are compared with
WAITING = 200  # questions that wait for a note; the oldest gives way
ANY_DRUG = "any"  # as the drug of a subject
_NEAR = 60  # characters around a drug in which a number may be its dose
_QUANTITY = re.compile(
    r"\d|\b(?:one|two|three|four|five|ten|twenty|thirty|forty|fifty|half|dose|doses|dosage|daily|nightly|weekly|"
    r"morning|bedtime|twice|b\.?d|o\.?d|t\.?d\.?s|q\.?d\.?s|p\.?r\.?n|needed|mane|nocte)\b",
    re.IGNORECASE,
)


class WaitingQuestions:
    """Questions of the notes so far that wait for a note which does not answer them."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, Triple]] = deque(maxlen=WAITING)

    def add(self, note: str, triples: list[Triple], rng: Random) -> None:
        """Take a random SHARE of the questions that a note answers."""
        self._waiting += [(note, triple) for triple in triples if triple.subject and rng.random() < SHARE]

    def ask(self, note: ParsedNote, limit: int) -> list[Triple]:
        """At most `limit` of the waiting questions, of different tasks, that the note does not answer.

        Those about a drug that the note names without a dose come first: only the note tells that they have no answer.
        """
        asked: list[Triple] = []
        if len(note.text) > MAX_NOTE:
            return asked
        for find in (_without_quantity, _absent):
            for entry in list(self._waiting):
                origin, triple = entry
                if len(asked) == limit:
                    return asked
                if origin == note.text or any(triple.task == other.task for other in asked):
                    continue
                if triple.subject and (refusals := find(triple.subject, note)):
                    self._waiting.remove(entry)
                    refusal = note.choose(*refusals)
                    asked.append(Triple(triple.instruction, refusal, triple.task, answerable=False, check="exact"))
        return asked


def _without_quantity(subject: Subject, note: ParsedNote) -> tuple[str, ...]:
    if not subject.without_quantity:
        return ()
    mentions = [mention for mention in note.drugs if mention.value == subject.drug]
    if len(mentions) != 1:
        return ()
    (mention,) = mentions
    around = note.text[max(0, mention.start - _NEAR) : mention.end + _NEAR]
    return () if _QUANTITY.search(around) else subject.without_quantity


def _absent(subject: Subject, note: ParsedNote) -> tuple[str, ...]:
    if any(subject.drug in (mention.value, ANY_DRUG) for mention in note.drugs):
        return ()
    return () if re.search(subject.pattern, note.text, re.IGNORECASE) else subject.refusals


def not_mentioned(thing: str) -> tuple[str, ...]:
    """Wordings that a note does not mention a thing: `warfarin`, `the family history`."""
    return (
        f"The note does not mention {thing}.",
        f"The note says nothing about {thing}.",
        f"There is no mention of {thing} in the note.",
        f"Nothing in the note mentions {thing}.",
        f"This cannot be answered from the note: it does not mention {thing}.",
        f"Not stated: the note does not mention {thing}.",
    )


def not_given(fact: str) -> tuple[str, ...]:
    """Wordings that a note does not give a fact: `a dose of warfarin`, `the heart rate`."""
    return (
        f"The note does not give {fact}.",
        f"The note does not state {fact}.",
        f"The note does not say anything about {fact}.",
        f"This cannot be answered from the note: it does not give {fact}.",
        f"There is no information about {fact} in the note.",
    )
