"""The interface of a teacher: case report -> note, note -> instruction triples."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

Spans = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Text:
    """A row of the table TEXTS (`clinadapt.data.schemas.instruct`): a case report or a note; `decimal_comma`: whether
    its numbers have a decimal comma."""

    source: int
    row: int
    kind: str
    text: str
    description: str | None
    private: bool
    specialty: str | None = None
    patient: str | None = None
    encounter: str | None = None
    date: datetime | None = None
    sex: str | None = None
    age_band: str | None = None
    decimal_comma: bool = False


@dataclass(frozen=True)
class Subject:
    """What a question asks for: with it, the same question can be put to a note that does not contain the answer.

    Attributes:
        pattern: regular expression, in any case; a note in which it matches anywhere may contain the answer.
        refusals: wordings of the answer that a note without it gets.
        drug: generic name, if a drug is asked about: a note that names it in any way may contain the answer.
        without_quantity: wordings for a note that names the drug once, without a number near it.
    """

    pattern: str
    refusals: tuple[str, ...]
    drug: str = ""
    without_quantity: tuple[str, ...] = ()


@dataclass(frozen=True)
class Triple:
    """An instruction about a note with its answer.

    Attributes:
        instruction, answer, task, answerable, check: as in the table TRIPLES (`clinadapt.data.schemas.instruct`).
        spans: (start, end) of the parts of the note that support the answer, in characters.
        subject: what the instruction asks for; None if it cannot be asked of another note.
    """

    instruction: str
    answer: str
    task: str
    answerable: bool = True
    check: str = "none"
    spans: Spans = ()
    subject: Subject | None = None


@dataclass
class TripleBatch:
    """Triples of one note, and how many were dropped for which reason."""

    triples: list[Triple] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


class Dropped(Exception):
    """No usable note can be generated from a case; the message gives the reason without any text of the case."""


class BudgetExhausted(Exception):
    """The token budget is used up; results so far are complete."""


class Teacher(Protocol):
    """Generates notes and triples. Called from `concurrency` threads; deterministic in the texts, in order, and in the
    settings."""

    concurrency: int
    digest: str  # of model and prompts, or rules, and of the settings

    @property
    def tokens(self) -> int:
        """Tokens used so far, prompts and replies; 0 for a teacher without a model."""

    @property
    def thoughts(self) -> int:
        """Replies whose thoughts were cut off; 0 for a teacher without a model."""

    @property
    def host(self) -> str:
        """The host that texts are sent to; empty for a teacher without a model."""

    def note(self, case: Text) -> str:
        """Write a note with the facts of a case report and no others.

        Raises:
            Dropped: the note would not be faithful.
            BudgetExhausted: the token budget is used up.
        """

    def triples(self, note: Text) -> TripleBatch:
        """Generate instructions about a note, with answers that the note supports.

        Raises:
            BudgetExhausted: the token budget is used up.
        """

    def close(self) -> None:
        """Stop early: start no more requests and wake all waiting threads. Called from another thread."""
