"""Who gets which case."""

from __future__ import annotations

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from review_cases import NAME, VERSION, a_flag, a_queue

from clinadapt.errors import UserError
from clinadapt.feedback import cases, flags, marks, worklist
from clinadapt.feedback.marks import Judgement, add_mark
from clinadapt.feedback.records import decode
from clinadapt.feedback.settled import Reviews, read_reviews
from clinadapt.feedback.worklist import LEASE_SECONDS, REFRESH_SECONDS, Turn, Worklist
from clinadapt.storage.folder_store import FolderStore

RIGHT, WRONG = Judgement(verdict="right"), Judgement(verdict="wrong", correction="lisinopril 20 mg")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path.as_uri())


def shown(work: Worklist, reviewer: str, skipped: tuple[str, ...] = ()) -> str | None:
    turn = work.turn(reviewer, skipped)
    return turn.case.case.case if turn.case else None


def mark(work: Worklist, reviewer: str, judgement: Judgement = RIGHT) -> None:
    turn = work.turn(reviewer)
    assert turn.case
    work.mark(reviewer, turn.case.case.case, turn.case.case.content, judgement)


def test_each_gets_the_riskiest_that_is_free_and_none_twice(store: FolderStore) -> None:
    first, second, third = (case.case for case in a_queue(store))
    work = Worklist(store, NAME, VERSION)
    assert [shown(work, name) for name in ("rita", "omar", "ann")] == [first, first, second]
    assert shown(work, "rita") == first, "a page that is loaded again shows the same case"
    mark(work, "rita")
    assert [work.turn("rita").marked, work.turn("rita").left] == [1, 2]
    assert shown(work, "ann") == second, "the first one waits for Omar"
    for expected in (second, third):
        assert shown(work, "rita") == expected
        mark(work, "rita")
    assert work.turn("rita") == worklist.Turn(None, 3, 0)


def test_what_is_skipped_comes_last_and_is_free_for_others(store: FolderStore) -> None:
    first, second, third = (case.case for case in a_queue(store))
    work = Worklist(store, NAME, VERSION)
    assert [shown(work, name) for name in ("rita", "omar")] == [first, first]
    assert shown(work, "rita", (first,)) == second
    assert shown(work, "ann") == first
    assert shown(work, "rita", (second, third)) == second, "the first one is taken by two"


def test_a_case_that_was_left_is_free_again(store: FolderStore) -> None:
    a_queue(store, risky=1)
    clock = Clock()
    work = Worklist(store, NAME, VERSION, clock)
    assert shown(work, "rita") and shown(work, "omar")
    turn = work.turn("ann")
    assert (turn.case, turn.left) == (None, 1), "two judge it at this moment"
    clock.now += LEASE_SECONDS + 1
    assert shown(work, "ann")


def test_a_record_is_parsed_and_verified_once(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    a_queue(store)
    a_flag(store, "zoe")
    work, decoded = Worklist(store, NAME, VERSION), list[str]()

    def counted(data: bytes, kind: str) -> dict[str, Any]:
        decoded.append(kind)
        return decode(data, kind)

    for module in (cases, flags, marks):
        monkeypatch.setattr(module, "decode", counted)
    work.reviews()
    assert Counter(decoded) == {"queue": 1, "case": 3, "flag": 1}
    mark(work, "rita")
    store.put(f"reviews/{NAME}/{VERSION}/marks/x.json", b"{")
    decoded.clear()
    for _ in range(3):
        assert work.reviews(fresh=True).left_out == {"broken": 1}
    assert decoded == ["mark", "mark"]


def test_who_waits_for_a_reading_does_not_read_again(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """All reviewers come in one instant, and one reading is for all of them; but what has begun before somebody asked
    for something fresh is none for them."""
    a_queue(store, risky=20)
    asked, readings, go_on = list[float](), list[int](), Event()

    def clock() -> float:
        asked.append(time.monotonic())
        return asked[-1]

    def slowly(*about: Any) -> Reviews:
        readings.append(1)
        assert go_on.wait(10)
        return read_reviews(*about)

    def until(number: int) -> None:
        while len(asked) < number:
            time.sleep(0.001)

    monkeypatch.setattr(worklist, "read_reviews", slowly)
    work = Worklist(store, NAME, VERSION, clock)
    with ThreadPoolExecutor(20) as pool:
        turns = [pool.submit(work.turn, f"reviewer {number}") for number in range(20)]
        until(21)  # one more where the reading begins
        go_on.set()
        assert all(turn.result().case for turn in turns) and len(readings) == 1
        go_on.clear()
        before = len(asked)
        first = pool.submit(work.reviews, fresh=True)
        until(before + 2)
        others = [pool.submit(work.reviews, fresh=True) for _ in range(10)]
        until(before + 12)
        assert work.turn("rita").case, "who needs nothing fresh does not wait"
        go_on.set()
        assert all(each.result() for each in (first, *others)) and len(readings) == 3


def test_marks_of_another_server_and_flags_count(store: FolderStore) -> None:
    (case,) = a_queue(store, risky=1)
    clock = Clock()
    work = Worklist(store, NAME, VERSION, clock)
    assert work.turn("ann").left == 1
    add_mark(store, case, "rita", RIGHT)
    add_mark(store, case, "omar", RIGHT)
    a_flag(store, "zoe")
    clock.now += REFRESH_SECONDS + 1
    assert [work.turn(name).left for name in ("ann", "zoe")] == [1, 0]
    assert work.turn("zoe").marked == 1


def test_disagreements_are_seen_by_those_who_have_judged(store: FolderStore) -> None:
    case, other, _ = a_queue(store)
    add_mark(store, case, "rita", RIGHT)
    add_mark(store, case, "omar", WRONG)
    work = Worklist(store, NAME, VERSION)
    assert work.disagreements("ann") == []
    with pytest.raises(UserError, match="no disagreement about this case"):
        work.settle("ann", case.case, case.content, WRONG)
    add_mark(store, other, "ann", RIGHT)
    work.reviews(fresh=True)
    assert [each.case.case for each in work.disagreements("ann")] == [case.case]
    assert work.disagreements("rita") == work.disagreements("ann")
    with pytest.raises(UserError, match="somebody else settles it"):
        work.settle("rita", case.case, case.content, WRONG)
    work.settle("ann", case.case, case.content, WRONG)
    assert work.disagreements("ann") == [] and work.reviews().cases[0].state == "settled"
    with pytest.raises(UserError, match="no longer there"):
        work.mark("ann", case.case, "of another answer", RIGHT)


def test_who_comes_when_all_is_judged_settles(store: FolderStore) -> None:
    """Else nobody could where the same two have judged every case."""
    cases = a_queue(store)
    for case in cases:
        add_mark(store, case, "rita", RIGHT)
        add_mark(store, case, "omar", WRONG)
    work = Worklist(store, NAME, VERSION)
    assert work.turn("ann") == Turn(None, 0, 0) and len(work.disagreements("ann")) == 3
    for case in cases:
        work.settle("ann", case.case, case.content, WRONG)
    assert {each.state for each in work.reviews().cases} == {"settled"}


def test_three_reviewers_see_no_marks_of_a_case_they_may_still_judge(store: FolderStore) -> None:
    case, other, _ = a_queue(store, reviewers=3)
    add_mark(store, case, "rita", RIGHT)
    add_mark(store, case, "omar", WRONG)
    add_mark(store, other, "ann", RIGHT)
    work = Worklist(store, NAME, VERSION)
    assert work.disagreements("ann") == [] and len(work.disagreements("rita")) == 1
    assert shown(work, "ann") == case.case


def test_what_purge_removes_is_shown_no_more(store: FolderStore) -> None:
    case, other, _ = a_queue(store)
    clock = Clock()
    work = Worklist(store, NAME, VERSION, clock)
    assert shown(work, "rita") == case.case
    store.delete(f"reviews/{NAME}/{VERSION}/cases/{case.case}.json")
    clock.now += REFRESH_SECONDS + 1
    assert shown(work, "rita") == other.case
    assert not any(case.case in key for key in work.reviews().records)


def test_twenty_reviewers_at_once_lose_nothing_and_mark_nothing_twice(store: FolderStore) -> None:
    """On two servers of one store, each of which knows its own reviewers at once and the others' a little later."""
    cases = a_queue(store, risky=30, drawn=10)
    servers = [Worklist(store, NAME, VERSION) for _ in range(2)]

    def work(number: int) -> int:
        server, reviewer, rng = servers[number % 2], f"reviewer {number}", random.Random(number)
        done = 0
        while (turn := server.turn(reviewer)).case:
            case = turn.case.case
            server.mark(reviewer, case.case, case.content, RIGHT if rng.random() < 0.7 else WRONG)
            done += 1
        return done

    with ThreadPoolExecutor(20) as pool:
        done = sum(pool.map(work, range(20)))
    reviews = read_reviews(store, NAME, VERSION)
    marks = Counter((mark.case, mark.reviewer) for each in reviews.cases for mark in each.marks)
    assert sum(marks.values()) == done and max(marks.values()) == 1 and not reviews.left_out
    assert len(reviews.cases) == len(cases)
    assert all(2 <= len(each.marks) <= 4 for each in reviews.cases)
