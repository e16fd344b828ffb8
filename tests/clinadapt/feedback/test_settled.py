"""What marks settle, in whatever order they come."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from review_cases import NAME, VERSION, a_flag, a_queue, an_answer

from clinadapt.errors import UserError
from clinadapt.feedback.cases import reviewed_versions
from clinadapt.feedback.marks import CaseMarks, Judgement, Mark, add_mark, settle
from clinadapt.feedback.settled import JudgedCase, read_reviews, settled_cases
from clinadapt.storage.folder_store import FolderStore

RIGHT, WRONG = Judgement(verdict="right"), Judgement(verdict="wrong", correction="lisinopril 20 mg")


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path.as_uri())


def test_what_two_say_alike_is_settled_and_what_they_say_otherwise_is_not(store: FolderStore) -> None:
    agreed, alone, verdicts, corrections, one_correction = a_queue(store, risky=5)
    for name, case, judgement in [
        ("rita", agreed, WRONG),
        ("omar", agreed, Judgement(verdict="wrong", correction="Lisinopril  20 mg", comment="the dose")),
        ("rita", alone, WRONG),
        ("rita", verdicts, WRONG),
        ("omar", verdicts, Judgement(verdict="unsafe", correction="lisinopril 20 mg")),
        ("rita", corrections, WRONG),
        ("omar", corrections, Judgement(verdict="wrong", correction="The note gives no drug.")),
        ("rita", one_correction, Judgement(verdict="wrong")),
        ("omar", one_correction, WRONG),
    ]:
        add_mark(store, case, name, judgement)
    states = [case.state for case in read_reviews(store, NAME, VERSION).cases]
    assert states == ["settled", "waiting", "disagreement", "disagreement", "settled"]
    first, last = settled_cases(store, NAME)
    assert (first.verdict, first.correction, first.reviewers, first.how) == (
        "wrong", "lisinopril 20 mg", ("omar", "rita"), "agreed"
    )  # fmt: skip
    assert first.case.note == agreed.note and last.correction == "lisinopril 20 mg"
    third = Judgement(verdict="unsafe", correction="lisinopril 20 mg")
    settle(store, verdicts, read_reviews(store, NAME, VERSION).cases[2].marks, "ann", third)
    (decided,) = [each for each in settled_cases(store, NAME, VERSION) if each.how == "third"]
    assert (decided.verdict, decided.reviewers) == ("unsafe", ("ann",))


def test_a_flag_is_a_mark_of_who_flagged(store: FolderStore) -> None:
    a_flag(store, "rita")
    a_flag(store, "Rita", correction="ibuprofen")  # the same person once more
    a_flag(store, None, note="Takes nothing.", correction="No drug.")
    reviews = read_reviews(store, NAME, VERSION)
    flagged, anonymous = sorted(reviews.cases, key=lambda case: -len(case.marks))
    assert flagged.state == "waiting" and [mark.reviewer.lower() for mark in flagged.marks] == ["rita"]
    assert (flagged.case.origin, flagged.case.reasons[0].kind, flagged.case.reasons[0].value) == ("flag", "flagged", 2)
    assert anonymous.state == "unmarked" and reviews.left_out == {"a flag by nobody known": 1}
    assert settled_cases(store, NAME) == []
    add_mark(store, flagged.case, "omar", Judgement(verdict="wrong"))
    (settled,) = settled_cases(store, NAME)
    assert (settled.how, {name.lower() for name in settled.reviewers}) == ("agreed", {"omar", "rita"})
    assert settled.correction in ("aspirin", "ibuprofen")


def test_a_single_flag_settles_where_the_profile_demands_one_reviewer(store: FolderStore) -> None:
    a_queue(store, risky=0, reviewers=1)
    a_flag(store, "rita")
    (settled,) = settled_cases(store, NAME)
    assert (settled.how, settled.correction, settled.case.origin) == ("single", "aspirin", "flag")


def test_a_flag_of_a_queued_answer_is_about_that_case(store: FolderStore) -> None:
    (case,) = a_queue(store, risky=1)
    a_flag(store, "rita", note=case.note, answer=case.answer, correction="lisinopril 20 mg")
    a_flag(store, "omar", note=case.note, answer="something else", correction="lisinopril 20 mg")
    reviews = read_reviews(store, NAME, VERSION)
    (judged,) = reviews.cases
    assert judged.case.origin == "held-out" and [mark.reviewer for mark in judged.marks] == ["rita"]
    assert reviews.left_out == {"another answer to the same question": 1}


def test_who_flagged_and_marks_counts_once(store: FolderStore) -> None:
    a_flag(store, "rita")
    (judged,) = read_reviews(store, NAME, VERSION).cases
    add_mark(store, judged.case, "rita", Judgement(verdict="wrong", correction="aspirin"))
    (judged,) = read_reviews(store, NAME, VERSION).cases
    assert len(judged.marks) == 1 and judged.state == "waiting"


def test_a_correction_longer_than_the_note_is_refused_in_a_flag_too(store: FolderStore) -> None:
    with pytest.raises(UserError, match="longer than the note"):
        a_flag(store, "rita", note="Well.", correction="The patient is well.")
    assert store.list("flagged/") == []


def test_what_is_settled_outlives_its_version(store: FolderStore) -> None:
    for case in a_queue(store, risky=1):
        add_mark(store, case, "rita", WRONG)
        add_mark(store, case, "omar", WRONG)
    assert store.list("adapters/") == [] and reviewed_versions(store, NAME) == [VERSION]
    assert len(settled_cases(store, NAME)) == 1
    assert settled_cases(store, "another") == [] and settled_cases(store, NAME, "fedcba9876543210") == []


def a_mark(reviewer: str, verdict: str, correction: str | None, settles: bool = False) -> Mark:
    case = an_answer(0)
    return Mark(
        name=NAME, version=VERSION, case=case.case, content=case.content, note_id=case.note_id, reviewer=reviewer,
        time="", verdict=verdict, correction=None if verdict == "right" else correction,
        settles=("0",) if settles else (),
    )  # fmt: skip


SAID = st.tuples(st.sampled_from(["right", "wrong", "unsafe"]), st.sampled_from([None, "a", "b"]))


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from("abcdef"), SAID), st.none() | SAID, st.randoms(), st.integers(1, 3))
def test_the_order_of_marks_decides_nothing(said: dict, third: tuple | None, random: object, reviewers: int) -> None:
    marks = [a_mark(name, *what) for name, what in said.items()]
    settling = a_mark("z", *third, settles=True) if third else None
    judged = JudgedCase(an_answer(0), CaseMarks(tuple(marks), settling=settling), reviewers)
    random.shuffle(marks)
    again = JudgedCase(an_answer(0), CaseMarks((), tuple(marks), settling), reviewers)
    assert judged.settled == again.settled and judged.state == again.state
    if settled := judged.settled:
        deciding = [settling] if settling else marks
        assert {mark.verdict for mark in deciding} == {settled.verdict}
        assert {mark.correction for mark in deciding} - {None} == ({settled.correction} - {None})
        assert settling or len(marks) >= reviewers
    elif not judged.disagreement:
        assert len(marks) < reviewers
