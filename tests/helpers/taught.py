"""What the rules teacher asks about a note, whatever the seed."""

from __future__ import annotations

import re
from functools import cache
from random import Random

from clinadapt.config.instruct import Synthesis
from components.synthesize.parsed_note import ParsedNote
from components.synthesize.rules_teacher import RulesTeacher
from components.synthesize.teacher import Text, Triple
from components.synthesize.unanswerable import WaitingQuestions

SEEDS = 6


@cache
def triples(note: str) -> list[Triple]:
    """All triples about a note, with several seeds, which draw the wordings."""
    text = Text(0, 1, "notes", note, None, False)
    teachers = [RulesTeacher(Synthesis(triples_per_note=64, seed=seed)) for seed in range(SEEDS)]
    return [triple for teacher in teachers for triple in teacher.triples(text).triples]


def answers(note: str, question: str) -> set[str]:
    """All answers to questions that match."""
    return {triple.answer for triple in triples(note) if re.search(question, triple.instruction)}


def is_refused(asked_of: str, question: str, put_to: str) -> bool:
    """Whether a matching question that one note answers is put to another as one without an answer."""
    asked = [triple for triple in triples(asked_of) if re.search(question, triple.instruction)]
    assert asked
    waiting, rng = WaitingQuestions(), Random(0)
    for _ in range(20):  # each takes a random share
        waiting.add(asked_of, asked, rng)
    return bool(waiting.ask(ParsedNote(put_to, None, rng), 3))
