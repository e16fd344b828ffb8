"""What the marks of a version settle: a case is settled where enough reviewers say the same and nobody else says
otherwise, or where one more person has settled a disagreement."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from clinadapt.data.text import clean
from clinadapt.feedback.cases import Case, Queue, parse_cases, reviewed_versions
from clinadapt.feedback.marks import CaseMarks, Mark, Verdict, parse_marks, person
from clinadapt.feedback.records import LeftOut, StoredRecord, read_records
from clinadapt.storage.object_store import Store

How = Literal["agreed", "single", "third"]
State = Literal["unmarked", "waiting", "disagreement", "settled"]


@dataclass(frozen=True)
class Settled:
    """What people say of a case.

    Attributes:
        case: the answer with its note.
        verdict: `right`, `wrong` or `unsafe`.
        correction: what the answer or the label should be; None where nobody gave one.
        reviewers: who decided, sorted.
        how: `agreed` (as many as the version's profile demands), `single` (it demands one) or `third` (who settled a
            disagreement).
    """

    case: Case
    verdict: Verdict
    correction: str | None
    reviewers: tuple[str, ...]
    how: How


@dataclass(frozen=True)
class JudgedCase:
    """A case with its marks.

    Attributes:
        case: the answer with its note.
        given: its marks.
        reviewers: people who have to agree.
    """

    case: Case
    given: CaseMarks
    reviewers: int

    @property
    def marks(self) -> tuple[Mark, ...]:
        """One of each reviewer, flags among them."""
        return self.given.blind + self.given.flags

    @property
    def settling(self) -> Mark | None:
        """The mark of the person who settled a disagreement; it does not count where they had marked the case."""
        mark = self.given.settling
        return mark if mark and person(mark.reviewer) not in {person(each.reviewer) for each in self.marks} else None

    @property
    def disagreement(self) -> bool:
        """Whether the reviewers differ in verdict or correction. Who gives no correction does not differ in it."""
        corrections = {clean(mark.correction).casefold() for mark in self.marks if mark.correction}
        return len({mark.verdict for mark in self.marks}) > 1 or len(corrections) > 1

    @property
    def settled(self) -> Settled | None:
        """What is settled; None while the case is open."""
        deciding: tuple[Mark, ...] = (self.settling,) if self.settling else self.marks
        if not self.settling and (self.disagreement or len(self.marks) < self.reviewers):
            return None
        how: How = "third" if self.settling else "agreed" if len(deciding) > 1 else "single"
        correction = next((mark.correction for mark in deciding if mark.correction), None)
        names = tuple(sorted(mark.reviewer for mark in deciding))
        return Settled(self.case, deciding[0].verdict, correction, names, how)

    @property
    def state(self) -> State:
        """What is still open about it."""
        if self.settled:
            return "settled"
        if self.disagreement:
            return "disagreement"
        return "waiting" if self.marks else "unmarked"


@dataclass(frozen=True)
class Reviews:
    """All that people said of a version.

    Attributes:
        queue: None where publish queued nothing.
        cases: in the order of the queue.
        left_out: records that do not count, by reason.
        records: that this was read from.
    """

    queue: Queue | None
    cases: list[JudgedCase]
    left_out: LeftOut
    records: dict[str, StoredRecord] = field(repr=False)


def read_reviews(store: Store, name: str, version: str, known: Reviews | None = None) -> Reviews:
    """Cases and marks of a version.

    Args:
        store: of the adapter.
        name, version: of the adapter.
        known: what was read before; only what is new is read then.

    Raises:
        UserError: the store cannot be read.
    """
    records = read_records(store, name, version, known.records if known else None)
    cases = parse_cases(records, name, version)
    marks = parse_marks(records, cases, name, version)
    judged = [JudgedCase(case, marks[case.case], cases.reviewers) for case in cases.cases]
    return Reviews(cases.queue, judged, cases.left_out, records)


def settled_cases(store: Store, name: str, version: str | None = None) -> list[Settled]:
    """The settled cases of a version, or of all versions of an adapter, also of those that are published no more.

    Raises:
        UserError: the store cannot be read.
    """
    versions = [version] if version else reviewed_versions(store, name)
    judged = [each for one in versions for each in read_reviews(store, name, one).cases]
    return [each.settled for each in judged if each.settled]
