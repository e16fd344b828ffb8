"""Marks: what is refused, what is stored, and what counts when it is read."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from review_cases import NAME, VERSION, a_flag, a_queue, an_answer, keys

from clinadapt.errors import UserError
from clinadapt.feedback import marks
from clinadapt.feedback.cases import Case, prefix
from clinadapt.feedback.marks import Judgement, add_mark, person, settle
from clinadapt.feedback.settled import read_reviews
from clinadapt.storage.folder_store import FolderStore
from clinadapt.storage.object_store import Store

RIGHT, WRONG = Judgement(verdict="right"), Judgement(verdict="wrong", correction="lisinopril 20 mg")


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path.as_uri())


@pytest.fixture
def case(store: FolderStore) -> Case:
    return a_queue(store)[0]


def stored(store: Store) -> list[str]:
    return store.list(f"{prefix(NAME, VERSION)}marks/")


def test_a_mark_says_who_when_and_of_which_answer(store: FolderStore, case: Case, tmp_path: Path) -> None:
    judgement = Judgement(
        verdict="unsafe", spans=((11, 16),), correction=" lisinopril 20 mg ", fault="wrong", comment=" twice the dose "
    )
    mark = add_mark(store, case, "rita", judgement)
    (key,) = stored(store)
    assert key == f"reviews/{NAME}/{VERSION}/marks/{case.case}/{person('rita')}.json"
    record = json.loads(store.get(key)[0])
    assert record.pop("time").endswith("Z")
    assert record == {
        "verdict": "unsafe", "spans": [[11, 16]], "correction": "lisinopril 20 mg", "fault": "wrong",
        "comment": "twice the dose", "name": NAME, "version": VERSION, "case": case.case, "content": case.content,
        "note_id": case.note_id, "reviewer": "rita", "settles": [],
    }  # fmt: skip
    assert stat.S_IMODE((tmp_path / key).stat().st_mode) == 0o600
    (first, *_) = read_reviews(store, NAME, VERSION).cases
    assert first.marks == (mark,) and first.state == "waiting"


def test_a_reviewer_marks_a_case_once(store: FolderStore, case: Case) -> None:
    first = add_mark(store, case, "Rita", WRONG)
    assert add_mark(store, case, "Rita", WRONG) == first, "a second click on the same button"
    for name in ("Rita", "rita ", "\uff32ita"):  # one person, however the proxy writes the name
        with pytest.raises(UserError, match="^you have judged this case already"):
            add_mark(store, case, name, RIGHT)
    assert len(stored(store)) == 1
    assert read_reviews(store, NAME, VERSION).cases[0].marks == (first,)


@pytest.mark.parametrize(
    "judgement, problem",
    [
        (Judgement(verdict="right", correction="lisinopril 20 mg"), "a right answer has no wrong words"),
        (Judgement(verdict="right", spans=((0, 3),)), "a right answer has no wrong words"),
        (Judgement(verdict="right", fault="wrong"), "a right answer has no wrong words"),
        (Judgement(verdict="wrong", correction="x" * 200), "the correction is longer than the note"),
        (Judgement(verdict="wrong", correction="x" * 4001), "more than 4,000 characters"),
        (Judgement(verdict="wrong", comment="x" * 4001), "the comment has more than 4,000"),
        (Judgement(verdict="wrong", correction="lisinopril  40 mg"), "the correction is the answer itself"),
        (Judgement(verdict="wrong", spans=((0, 17),)), "are not in the answer"),
        (Judgement(verdict="wrong", spans=((-1, 3),)), "are not in the answer"),
        (Judgement(verdict="wrong", spans=((3, 3),)), "are not in the answer"),
        (Judgement(verdict="wrong", spans=((0, 5), (4, 8))), "are not in the answer"),
        (Judgement(verdict="wrong", fault="rude"), "there is no such fault"),
    ],
)
def test_what_makes_no_sense_is_refused(store: FolderStore, case: Case, judgement: Judgement, problem: str) -> None:
    with pytest.raises(UserError, match=problem) as caught:
        add_mark(store, case, "rita", judgement)
    assert "\n" not in str(caught.value) and stored(store) == []


@pytest.mark.parametrize("name", ["", "  ", "x" * 201])
def test_nobody_marks_without_a_name(store: FolderStore, case: Case, name: str) -> None:
    with pytest.raises(UserError, match="sign in"):
        add_mark(store, case, name, RIGHT)
    assert stored(store) == []


def test_the_correction_of_a_label_is_a_label(store: FolderStore) -> None:
    labelled = an_answer(1, recipe="classify", instruction="", answer="Urology")
    with pytest.raises(UserError, match="no label of this adapter"):
        add_mark(store, labelled, "rita", Judgement(verdict="wrong", correction="Astrology"), ["Urology", "Cardiology"])
    with pytest.raises(UserError, match="the answer itself"):
        add_mark(store, labelled, "rita", Judgement(verdict="wrong", correction="Urology"), ["Urology", "Cardiology"])
    add_mark(store, labelled, "rita", Judgement(verdict="wrong", correction="Cardiology"), ["Urology", "Cardiology"])


def test_a_name_in_a_correction_is_not_stored(store: FolderStore, case: Case) -> None:
    judgement = Judgement(verdict="wrong", correction="Mr. Velnadal takes 20 mg.", comment="Ask Dr. Okonjo.")
    mark = add_mark(store, case, "rita", judgement)
    assert (mark.correction, mark.comment) == ("Mr. [NAME] takes 20 mg.", "Ask Dr. [NAME].")
    assert not any("elnadal" in store.get(key)[0].decode() for key in stored(store))


class Failing(FolderStore):
    """A store that refuses every write after the first ones."""

    writes = 1

    def put(self, key: str, data: bytes, **conditions: Any) -> str:
        self.writes -= 1
        if self.writes < 0:
            raise UserError("cannot write: no space left")
        return super().put(key, data, **conditions)


def test_a_store_that_refuses_a_write_loses_nothing(store: FolderStore, tmp_path: Path) -> None:
    cases = a_queue(store)
    failing = Failing(tmp_path.as_uri())
    add_mark(failing, cases[0], "rita", WRONG)
    with pytest.raises(UserError, match="no space left"):
        add_mark(failing, cases[1], "rita", WRONG)
    assert [len(case.marks) for case in read_reviews(store, NAME, VERSION).cases] == [1, 0, 0]
    add_mark(store, cases[1], "rita", WRONG)
    assert [len(case.marks) for case in read_reviews(store, NAME, VERSION).cases] == [1, 1, 0]


class Repeating(FolderStore):
    """A store whose client repeats a write that had arrived, and is told that the object exists."""

    def put(self, key: str, data: bytes, **conditions: Any) -> str:
        super().put(key, data, **conditions)
        return super().put(key, data, **conditions)


def test_a_repeated_write_meets_itself(store: FolderStore, case: Case, tmp_path: Path) -> None:
    mark = add_mark(Repeating(tmp_path.as_uri()), case, "rita", WRONG)
    assert read_reviews(store, NAME, VERSION).cases[0].marks == (mark,)


def test_a_queue_that_was_cut_off_is_completed(store: FolderStore, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no space left"):
        a_queue(Failing(tmp_path.as_uri()))
    assert read_reviews(store, NAME, VERSION).cases == []
    cases = a_queue(store)
    assert [each.case.case for each in read_reviews(store, NAME, VERSION).cases] == [case.case for case in cases]


def test_many_at_once_lose_nothing_and_store_nothing_twice(store: FolderStore) -> None:
    cases = a_queue(store, risky=5)

    def work(number: int) -> int:
        done = 0
        for case in cases:
            judgement = WRONG if number % 2 else RIGHT
            try:
                add_mark(FolderStore(store.uri), case, f"reviewer {number % 10}", judgement)
                done += 1
            except UserError as error:
                assert "judged this case already" in str(error)
        return done

    with ThreadPoolExecutor(20) as pool:
        done = list(pool.map(work, range(20)))  # each reviewer in two windows, which say the same
    assert done == [5] * 20
    reviews = read_reviews(store, NAME, VERSION)
    assert [len(case.marks) for case in reviews.cases] == [10] * 5 and not reviews.left_out


def disagree(store: Store, case: Case) -> list[marks.Mark]:
    return [add_mark(store, case, "rita", RIGHT), add_mark(store, case, "omar", WRONG)]


def test_one_person_settles_and_none_of_those_who_disagree(store: FolderStore, case: Case) -> None:
    given = disagree(store, case)
    with pytest.raises(UserError, match="somebody else settles it"):
        settle(store, case, given, "RITA", WRONG)

    def third(name: str) -> str:
        try:
            settle(store, case, given, name, WRONG if name < "c" else RIGHT)
        except UserError as error:
            assert str(error).startswith("somebody else has settled this case already")
            return ""
        return name

    with ThreadPoolExecutor(4) as pool:
        winners = [name for name in pool.map(third, ["ann", "bob", "cai", "dee"]) if name]
    assert len(winners) == 1
    (judged, *_) = read_reviews(store, NAME, VERSION).cases
    assert judged.settled and (judged.settled.how, judged.settled.reviewers) == ("third", (winners[0],))
    with pytest.raises(UserError, match="settled meanwhile"):
        add_mark(store, case, "zoe", RIGHT)


def test_no_clock_decides(store: FolderStore, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of the third runs a year late, another one a year early."""
    given = disagree(store, case)
    monkeypatch.setattr(marks, "utc_now", lambda: "2025-01-01T00:00:00Z")
    settle(store, case, given, "ann", WRONG)
    monkeypatch.setattr(marks, "utc_now", lambda: "2027-12-31T00:00:00Z")
    with pytest.raises(UserError, match="somebody else has settled"):
        settle(store, case, given, "bob", RIGHT)
    (judged, *_) = read_reviews(store, NAME, VERSION).cases
    assert judged.settled and judged.settled.verdict == "wrong"
    assert {mark.digest for mark in judged.marks} == set(judged.given.settling.settles)


@pytest.fixture
def signed(monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    private, public = keys()
    monkeypatch.setenv("CLINADAPT_SIGNING_KEY", private)
    monkeypatch.setenv("CLINADAPT_VERIFY_KEY", public)
    return private, public


def test_only_marks_that_the_key_signed_count(
    store: FolderStore, signed: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = a_queue(store, risky=5)
    good = add_mark(store, cases[0], "rita", WRONG)
    (key,) = stored(store)
    record = json.loads(store.get(key)[0])

    def put(case: Case, name: str, content: dict[str, Any]) -> None:
        store.put(f"{prefix(NAME, VERSION)}marks/{case.case}/{name}.json", json.dumps(content).encode())

    put(cases[1], person("rita"), {name: value for name, value in record.items() if name != "attestation"})
    put(cases[2], person("rita"), record)  # the mark of another case, copied
    put(cases[3], person("rita"), record | {"verdict": "right"})
    put(cases[0], person("omar"), record)  # counted twice
    put(cases[0], "settled", record)
    other, other_public = keys()
    monkeypatch.setenv("CLINADAPT_SIGNING_KEY", other)
    with pytest.raises(UserError, match="would not count, as CLINADAPT_VERIFY_KEY is another key's"):
        add_mark(store, cases[4], "omar", WRONG)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("CLINADAPT_VERIFY_KEY", other_public)
        add_mark(store, cases[4], "rita", WRONG)  # by another key
    reviews = read_reviews(store, NAME, VERSION)
    assert [case.marks for case in reviews.cases] == [(good,), (), (), (), ()]
    assert reviews.left_out == {"not signed": 1, "wrong signature": 2, "in the place of another": 3}
    monkeypatch.delenv("CLINADAPT_SIGNING_KEY")
    with pytest.raises(UserError, match="a mark has to be signed, as CLINADAPT_VERIFY_KEY is set"):
        add_mark(store, cases[1], "omar", WRONG)


def test_a_planted_case_or_queue_does_not_count(store: FolderStore, signed: tuple[str, str]) -> None:
    cases = a_queue(store)
    key = f"{prefix(NAME, VERSION)}cases/{cases[0].case}.json"
    store.put(key, store.get(key)[0].replace(b"40 mg", b"20 mg"))
    read = read_reviews(store, NAME, VERSION)
    assert len(read.cases) == 2 and read.left_out == {"wrong signature": 1}
    a_flag(store, "rita")
    (flag,) = store.list("flagged/")
    record = json.loads(store.get(flag)[0])
    record.pop("attestation")
    store.put(flag, json.dumps(record).encode())
    assert read_reviews(store, NAME, VERSION).left_out == {"wrong signature": 1, "not signed": 1}
    queue = f"{prefix(NAME, VERSION)}queue.json"
    store.put(queue, store.get(queue)[0].replace(b'"reviewers": 2', b'"reviewers": 1'))
    read = read_reviews(store, NAME, VERSION)
    assert (read.queue, read.cases) == (None, []) and read.left_out == {"wrong signature": 1, "not signed": 1}


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b"null", b"{}", b'{"case": 1}', b"[" * 100_000], ids=range(7))
def test_a_broken_record_is_counted_and_left_out(store: FolderStore, case: Case, data: bytes) -> None:
    store.put(f"{prefix(NAME, VERSION)}marks/{case.case}/{person('omar')}.json", data)
    store.put(f"flagged/{NAME}/{VERSION}/1.json", data)
    mark = add_mark(store, case, "rita", WRONG)
    reviews = read_reviews(store, NAME, VERSION)
    assert reviews.cases[0].marks == (mark,)
    assert reviews.left_out == {"broken" if data else "empty, damaged or too large": 2}
    with pytest.raises(UserError, match="is no valid mark: find out who wrote it"):
        add_mark(store, case, "omar", RIGHT)


def test_a_mark_of_another_answer_is_none_of_this_one(store: FolderStore, case: Case) -> None:
    add_mark(store, replace(case, answer="lisinopril 20 mg"), "rita", RIGHT)
    reviews = read_reviews(store, NAME, VERSION)
    assert reviews.cases[0].marks == () and reviews.left_out == {"about a case that is gone": 1}
