"""What every teacher does: case report -> note, note -> instructions with answers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Text:
    """A row of TEXTS."""

    source: int
    row: int
    kind: str
    text: str
    description: str | None
    private: bool


@dataclass(frozen=True)
class Triple:
    """An instruction about a note with its answer; fields as in TRIPLES, spans as (start, end) in the note."""

    instruction: str
    answer: str
    task: str
    answerable: bool = True
    check: str = "none"
    spans: tuple[tuple[int, int], ...] = ()


@dataclass
class Made:
    """What a teacher made of one note: triples, and how many it dropped for which reason."""

    triples: list[Triple] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


class Dropped(Exception):
    """A case that no note can be made of; says why, without its text."""


class OutOfBudget(Exception):
    """The teacher may not ask any more; what was made is whole."""


class Teacher(Protocol):
    """Called from `concurrency` threads at once. The same text and settings give the same answer."""

    concurrency: int
    digest: str  # names teacher, prompts or rules, and settings by content

    @property
    def tokens(self) -> int:
        """What it has cost so far, in and out; 0 where nobody is asked."""

    def note(self, case: Text) -> str:
        """A note with the facts of a case report, and no others. Raises Dropped or OutOfBudget."""

    def triples(self, note: Text) -> Made:
        """Instructions about a note with answers that it supports. Raises OutOfBudget."""

    def close(self) -> None:
        """Called from another thread when the step is about to end early: begin nothing more and end all waiting."""
