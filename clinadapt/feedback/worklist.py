"""Hand out the cases of a version to reviewers, many at once: none gets a case twice, and none gets one that enough
others judge at this moment."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass

from clinadapt.feedback.marks import Judgement, Mark, NoLongerOpen, add_mark, person, settle
from clinadapt.feedback.settled import JudgedCase, Reviews, read_reviews
from clinadapt.storage.object_store import Store

REFRESH_SECONDS = 5.0  # after which marks of other servers are looked for
LEASE_SECONDS = 600.0  # for which a case waits for the reviewer who was shown it


@dataclass(frozen=True)
class Turn:
    """What a reviewer is to do next.

    Attributes:
        case: to judge; None where nothing is left for them.
        marked: cases that they have judged.
        left: cases that they may still judge, `case` and what others judge at this moment among them.
    """

    case: JudgedCase | None
    marked: int
    left: int


class Worklist:
    """The cases of one version. Every method may be called by several threads."""

    def __init__(self, store: Store, name: str, version: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._name, self._version, self._clock = store, name, version, clock
        self._lock, self._reading = threading.Lock(), threading.Lock()
        self._reviews: Reviews | None = None
        self._read_at = 0.0
        self._leases: dict[str, dict[str, float]] = defaultdict(dict)  # case -> person -> until when
        self._marked: dict[str, set[str]] = defaultdict(set)  # case -> people who marked it here

    def reviews(self, fresh: bool = False) -> Reviews:
        """All cases with their marks, at most REFRESH_SECONDS old; `fresh` reads what others stored since.

        Raises:
            UserError: the store cannot be read.
        """
        since = self._clock() - (0 if fresh else REFRESH_SECONDS)
        reviews = self._reviews
        if reviews and not fresh and (self._read_at > since or self._reading.locked()):
            return reviews
        with self._reading:
            if self._reviews is None or self._read_at <= since:  # else somebody has read while this one waited
                began = self._clock()
                self._reviews = read_reviews(self._store, self._name, self._version, self._reviews)
                self._read_at = began
            return self._reviews

    def labels(self) -> list[str]:
        """Labels of a classifier; empty of another adapter, or where publish queued nothing."""
        queue = self.reviews().queue
        return queue.labels if queue else []

    def turn(self, reviewer: str, skipped: Collection[str] = ()) -> Turn:
        """The next case of a reviewer, which is theirs for LEASE_SECONDS.

        Args:
            reviewer: who asks.
            skipped: ids of cases that come last.
        """
        reviews, who, now = self.reviews(), person(reviewer), self._clock()
        with self._lock:
            people = {each.case.case: self._people(each) for each in reviews.cases}
            mine = [each for each in reviews.cases if who not in people[each.case.case] and not each.settling]
            left = [each for each in mine if len(people[each.case.case]) < each.reviewers]
            free = [each for each in left if self._is_free(each, who, people[each.case.case], now)]
            free.sort(key=lambda each: each.case.case in skipped)
            for leases in self._leases.values():
                leases.pop(who, None)
            if free:
                self._leases[free[0].case.case][who] = now + LEASE_SECONDS
        marked = sum(who in each for each in people.values())
        return Turn(free[0] if free else None, marked, len(left))

    def mark(self, reviewer: str, case: str, content: str, judgement: Judgement) -> Mark:
        """Store a reviewer's mark of a case.

        Args:
            reviewer: who judged.
            case: its id.
            content: `Case.content` of what they saw.
            judgement: what they said.

        Raises:
            NoLongerOpen: also where there is no such case any more.
            UserError: as of `add_mark`.
        """
        mark = add_mark(self._store, self._case(case, content).case, reviewer, judgement, self.labels())
        with self._lock:
            self._marked[case].add(person(reviewer))
        return mark

    def settle(self, reviewer: str, case: str, content: str, judgement: Judgement) -> Mark:
        """Store the mark that settles a disagreement. Arguments and errors as of `mark`."""
        self.reviews(fresh=True)
        judged = self._case(case, content)
        if judged not in self.disagreements(reviewer):
            raise NoLongerOpen("there is no disagreement about this case any more: go on to the next one")
        mark = settle(self._store, judged.case, judged.marks, reviewer, judgement, self.labels())
        self.reviews(fresh=True)
        return mark

    def disagreements(self, reviewer: str) -> list[JudgedCase]:
        """The cases that reviewers disagree about, as far as this one may see the marks: who has marked none sees none
        while there is one left for them, and of a case that they may still judge themselves they see nothing."""
        cases, who = self.reviews().cases, person(reviewer)
        people = [self._people(each) for each in cases]
        left = any(
            len(marked) < each.reviewers and not each.settling for each, marked in zip(cases, people, strict=True)
        )
        if left and not any(who in marked for marked in people):
            return []
        return [
            each
            for each in cases
            if each.state == "disagreement" and (who in self._people(each) or len(each.marks) >= each.reviewers)
        ]

    def _case(self, case: str, content: str) -> JudgedCase:
        for each in self.reviews().cases:
            if (each.case.case, each.case.content) == (case, content):
                return each
        raise NoLongerOpen("this case is no longer there: go on to the next one")

    def _people(self, judged: JudgedCase) -> set[str]:
        """Who has marked a case, as far as is known here."""
        return {person(mark.reviewer) for mark in judged.marks} | self._marked.get(judged.case.case, set())

    def _is_free(self, judged: JudgedCase, who: str, people: set[str], now: float) -> bool:
        leases = self._leases.get(judged.case.case, {})
        others = {each for each, until in leases.items() if until > now and each != who} - people
        return len(people) + len(others) < judged.reviewers
