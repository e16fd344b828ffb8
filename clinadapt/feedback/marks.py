"""Marks: what a reviewer says of a case. A reviewer marks a case once, without seeing the marks of others; where they
disagree, one more person settles the case. Nothing is overwritten.

The key of a mark is a hash of its reviewer, and it is written only where there is none, so that of two at once one is
stored and no clock decides anything.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from typing import Any, Literal

from pydantic import TypeAdapter

from clinadapt.artifacts.hashing import sha256_json
from clinadapt.artifacts.step_record import utc_now
from clinadapt.config.gate import plain_name
from clinadapt.data.text import clean
from clinadapt.errors import UserError
from clinadapt.feedback.cases import Case, Cases, prefix
from clinadapt.feedback.flags import FAULTS, LONGEST_TEXT, Flag
from clinadapt.feedback.records import STRICT, StoredRecord, Unusable, decode, encode, usable, validated
from clinadapt.privacy.written_texts import redacted
from clinadapt.storage.object_store import Conflict, Store

Verdict = Literal["right", "wrong", "unsafe"]
SETTLED = "settled"  # name of the mark that settles a case, in place of the reviewer's hash
LONGEST_NAME = 200  # characters of a reviewer's name


class NoLongerOpen(UserError):
    """There is nothing left to judge about a case for this reviewer."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a reviewer says of an answer.

    Attributes:
        verdict: `unsafe` is wrong in a way that could harm a patient.
        spans: (start, end) of the wrong words in the answer, in characters.
        correction: what the answer or the label should be.
        fault: one of FAULTS.
        comment: of the reviewer.
    """

    verdict: Verdict
    spans: tuple[tuple[int, int], ...] = ()
    correction: str | None = None
    fault: str | None = None
    comment: str | None = None


@dataclass(frozen=True, kw_only=True)
class Mark(Judgement):
    """A judgement as it is stored.

    Attributes:
        name, version, case, content, note_id: of the case (`Case`), by which it is found and purged.
        reviewer: name as the page knows it.
        time: UTC, by the clock of the page; nothing is decided by it.
        settles: `Mark.digest` of the marks that disagreed, in a mark that settles a case.
    """

    __pydantic_config__ = STRICT
    name: str
    version: str
    case: str
    content: str
    note_id: str
    reviewer: str
    time: str
    settles: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """16 hex digits that identify the mark."""
        return sha256_json(asdict(self))[7:23]


@dataclass(frozen=True)
class CaseMarks:
    """The marks of a case.

    Attributes:
        blind: of reviewers who did not see another's mark, one each.
        flags: of reviewers who flagged the answer and have not marked it, one each.
        settling: of the person who settled a disagreement.
    """

    blind: tuple[Mark, ...] = ()
    flags: tuple[Mark, ...] = ()
    settling: Mark | None = None


_MARK = TypeAdapter(Mark)


@lru_cache(maxsize=10_000)
def person(reviewer: str) -> str:
    """16 hex digits of a reviewer: the same for one name in other letters, `Rita` and `rita `."""
    return sha256_json(plain_name(reviewer))[7:23]


def add_mark(store: Store, case: Case, reviewer: str, judgement: Judgement, labels: Sequence[str] = ()) -> Mark:
    """Store the mark of a reviewer; the same one again changes nothing.

    Args:
        store: of the adapter.
        case: that was judged.
        reviewer: who did.
        judgement: what they said.
        labels: of a classifier.

    Raises:
        NoLongerOpen: the reviewer has judged the case before, or it is settled.
        UserError: the judgement is not valid, or the store refuses the write. Nothing is stored then.
    """
    folder = _folder(case)
    if store.exists(f"{folder}{SETTLED}.json"):
        raise NoLongerOpen("this case was settled meanwhile: go on to the next one")
    return _store(store, f"{folder}{person(reviewer)}.json", _mark(case, reviewer, judgement, labels))


def settle(
    store: Store, case: Case, marks: Sequence[Mark], reviewer: str, judgement: Judgement, labels: Sequence[str] = ()
) -> Mark:
    """Store the mark that settles a case about which its reviewers disagree. Arguments and errors as of `add_mark`.

    Args:
        marks: those that disagree.

    Raises:
        UserError: also where the reviewer is one of those who disagree, or somebody else was faster.
    """
    if person(reviewer) in {person(mark.reviewer) for mark in marks}:
        raise UserError("you have judged this case: somebody else settles it")
    mark = _mark(case, reviewer, judgement, labels, tuple(each.digest for each in marks))
    return _store(store, f"{_folder(case)}{SETTLED}.json", mark)


def parse_marks(records: Mapping[str, StoredRecord], cases: Cases, name: str, version: str) -> dict[str, CaseMarks]:
    """Case id -> marks of the cases of a version, from its records. What does not count is counted in
    `cases.left_out`: a mark that is broken, that is not signed although it has to be, whose signature is wrong, that
    lies in another's place, or that is about another answer."""
    by_id = {case.case: case for case in cases.cases}
    labels = cases.queue.labels if cases.queue else ()
    blind: dict[str, list[Mark]] = defaultdict(list)
    settling: dict[str, Mark] = {}
    stored = [records[key] for key in sorted(records) if key.startswith(f"{prefix(name, version)}marks/")]

    def parse(record: StoredRecord) -> tuple[bool, Mark]:
        key, mark = record.key, record.parsed(_parse)
        case, is_settling = by_id.get(mark.case), key.endswith(f"/{SETTLED}.json")
        own_key = f"{_folder(mark)}{SETTLED if is_settling else person(mark.reviewer)}.json"
        if key != own_key or is_settling != bool(mark.settles):
            raise Unusable("in the place of another")
        if case is None or mark.content != case.content:
            raise Unusable("about a case that is gone")
        if _problem(case, mark, labels):
            raise Unusable("not valid")
        return is_settling, mark

    for is_settling, mark in usable(stored, parse, cases.left_out):
        if is_settling:
            settling[mark.case] = mark
        else:
            blind[mark.case].append(mark)
    marks = {}
    for case in cases.cases:
        flags: dict[str, Mark] = {}
        for flag in usable(cases.flags.get(case.case, ()), partial(_of_flag, case, labels), cases.left_out):
            flags.setdefault(person(flag.reviewer), flag)
        own = {person(mark.reviewer) for mark in blind[case.case]}
        unmarked = tuple(flag for who, flag in flags.items() if who not in own)
        marks[case.case] = CaseMarks(tuple(blind[case.case]), unmarked, settling.get(case.case))
    return marks


def _parse(_: str, data: bytes) -> Mark:
    return validated(_MARK, decode(data, "mark"))


def _folder(case: Case | Mark) -> str:
    return f"{prefix(case.name, case.version)}marks/{case.case}/"


def _mark(
    case: Case, reviewer: str, judgement: Judgement, labels: Sequence[str], settles: tuple[str, ...] = ()
) -> Mark:
    if not reviewer.strip() or len(reviewer) > LONGEST_NAME:
        raise UserError("nobody knows who you are: sign in to judge")
    judgement = _cleaned(case, judgement)
    if problem := _problem(case, judgement, labels):
        raise UserError(problem)
    return Mark(
        **{**vars(judgement), "spans": tuple(sorted(judgement.spans))},
        name=case.name,
        version=case.version,
        case=case.case,
        content=case.content,
        note_id=case.note_id,
        reviewer=reviewer,
        time=utc_now(),
        settles=settles,
    )


def _cleaned(case: Case, judgement: Judgement) -> Judgement:
    """A judgement whose texts are None where they are empty, and in which nobody is named whom the note does not
    name."""
    texts = {name: (getattr(judgement, name) or "").strip() or None for name in ("correction", "comment")}
    written = [
        name for name, text in texts.items() if text and not (name == "correction" and case.recipe == "classify")
    ]
    for name in written:
        if len(texts[name] or "") > LONGEST_TEXT:
            raise UserError(f"the {name} has more than {LONGEST_TEXT:,} characters: shorten it")
    screened = redacted([texts[name] or "" for name in written], source=case.note, direct_only=True)
    said: dict[str, Any] = {**texts, **dict(zip(written, screened, strict=True))}
    return replace(judgement, **said)


def _problem(case: Case, judgement: Judgement, labels: Sequence[str]) -> str:
    """What is wrong with a judgement; empty where nothing is."""
    correction, spans = judgement.correction, sorted(judgement.spans)
    if judgement.verdict == "right" and (correction or spans or judgement.fault):
        return "a right answer has no wrong words, no fault and no correction: clear them, or choose wrong or unsafe"
    if correction and case.recipe == "instruct" and len(correction) > len(case.note):
        return "the correction is longer than the note: shorten it"
    if correction and clean(correction) == clean(case.answer):
        return "the correction is the answer itself: change it, or leave it out"
    if correction and case.recipe == "classify" and labels and correction not in labels:
        return "the correction is no label of this adapter: choose one of its labels"
    ends = [0, *(end for _, end in spans)]
    if any(not before <= start < end <= len(case.answer) for before, (start, end) in zip(ends, spans, strict=False)):
        return "the words marked as wrong are not in the answer: mark them anew"
    return "" if judgement.fault is None or judgement.fault in FAULTS else "there is no such fault: choose one"


def _store(store: Store, key: str, mark: Mark) -> Mark:
    try:
        store.put(key, encode(asdict(mark), "mark"), if_absent=True)
    except Conflict as error:
        try:
            existing = _parse(key, store.get(key)[0])
        except (KeyError, Unusable) as reason:
            raise UserError(f"{key} in {store.uri} is no valid mark: find out who wrote it, then remove it") from reason
        if replace(existing, time=mark.time) != mark:
            who = "you have judged" if key.endswith(f"{person(mark.reviewer)}.json") else "somebody else has settled"
            raise NoLongerOpen(f"{who} this case already: go on to the next one") from error
        return existing
    return mark


def _of_flag(case: Case, labels: Sequence[str], flag: Flag) -> Mark:
    """What a flag says. Raises Unusable where nobody knows who flagged, or its correction is not valid."""
    mark = Mark(
        verdict="wrong",
        correction=flag.correction,
        fault=flag.fault,
        comment=flag.comment,
        name=case.name,
        version=case.version,
        case=case.case,
        content=case.content,
        note_id=flag.note_id,
        reviewer=flag.reviewer or "",
        time=flag.time,
    )
    if not mark.reviewer.strip():
        raise Unusable("a flag by nobody known")
    if _problem(case, mark, labels):
        raise Unusable("not valid")
    return mark
