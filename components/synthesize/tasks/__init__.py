"""Tasks of the rules teacher, one module per task.

A task yields the triples that rules can derive from a note with certainty; in doubt it yields none. To add one, write a
module in this package with

- `TASK`: the name of the task, the value of the column `task` of the triples (see `clinadapt.data.schemas.instruct`);
- `generate(note)`: a generator of `Triple`s that the note answers. Wordings are drawn with `note.choose`, spans are
  character offsets into `note.text`, and `subject` says what the question asks for, so that the same question can be
  put to notes without it (see `components.synthesize.unanswerable`);

and add the module to `TASKS` below. Triples are taken from the tasks in turn, in this order: rare tasks come first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from components.synthesize.parsed_note import ParsedNote
from components.synthesize.tasks import (
    abbreviation_expansion,
    coreference,
    named_entities,
    paraphrasing,
    question_answering,
    relation_extraction,
    summarization,
    temporal_information,
)
from components.synthesize.teacher import Triple


class Task(Protocol):
    """What each module of this package provides."""

    TASK: str

    def generate(self, note: ParsedNote) -> Iterator[Triple]:
        """Triples about a note. Answers are certain, and spans support them."""


TASKS: tuple[Task, ...] = (
    coreference,
    temporal_information,
    relation_extraction,
    abbreviation_expansion,
    named_entities,
    paraphrasing,
    summarization,
    question_answering,
)
