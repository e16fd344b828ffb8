"""What people's judgements teach: one right answer, or label, for each question whose answer was wrong.

A case teaches where reviewers settled it with a correction. Where it is open, it teaches once as many people as the
profile says have made the same correction and nobody says otherwise. What was settled counts more than what is open;
corrections of one question that contradict each other teach nothing, in whatever versions they were made. An answer
that was judged right teaches nothing either: the model gives it already.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from clinadapt.artifacts.hashing import sha256_json
from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.config.feedback import feedback_place
from clinadapt.data.duplicates import normal_form
from clinadapt.data.text import clean
from clinadapt.feedback.cases import Recipe, reviewed_versions
from clinadapt.feedback.marks import Mark, person
from clinadapt.feedback.settled import JudgedCase, read_reviews
from clinadapt.storage import open_store
from clinadapt.storage.object_store import Store

RIGHT, CONTRADICTED = "judged right", "corrections contradict each other"
DISAGREE, WITHOUT = "people disagree, and nobody has settled it", "judged wrong, without a correction"
FEW = "fewer people than have to agree made the correction"
GONE = "about a version that is gone"
REDACTED = "answer that was redacted, so not what the model wrote: no pair for DPO"
_ORDER = (DISAGREE, FEW, WITHOUT, RIGHT)  # which reason counts, of a question that several versions answered
LABEL = "label"  # kind of the correction of a label


@dataclass(frozen=True)
class Correction:
    """What the answer to a question should have been.

    Attributes:
        note_id: hash of the note, of a flag before identifiers were redacted; 16 hex digits.
        note: its text without what identifies patients.
        instruction: empty in classify.
        answer: the right answer, or label.
        rejected: different answers, or labels, that were judged wrong, sorted.
        kind: `unsafe`, the fault (clinadapt.feedback.flags), `wrong` where none is named; LABEL in classify.
        held_out: whether an answer was about a held-out note of its version.
        unpaired: number of different answers that were judged wrong and are not in `rejected`, as something was
            redacted in them.
    """

    note_id: str
    note: str
    instruction: str
    answer: str
    rejected: tuple[str, ...]
    kind: str
    held_out: bool
    unpaired: int = 0

    @property
    def row(self) -> int:
        """Its row number in a dataset: 48 bits of a hash of the question, so that other feedback does not move it."""
        return int(sha256_json([self.note_id, normal_form(self.instruction)])[7:19], 16)


@dataclass(frozen=True)
class Corrections:
    """What feedback teaches.

    Attributes:
        corrections: sorted by row.
        judged: questions that somebody judged or flagged.
        left_out: why questions teach nothing -> how many.
        quarantined: why records cannot be used -> how many.
    """

    corrections: list[Correction]
    judged: int
    left_out: dict[str, int]
    quarantined: dict[str, int]

    @property
    def digest(self) -> str:
        """Identifies the feedback: equal for equal corrections and counts."""
        return sha256_json(asdict(self))


def read_corrections(uri: str, recipe: Recipe, agree: int) -> Corrections:
    """Read what people say of the answers of published versions.

    Args:
        uri: as `feedback_place` takes it. A folder without feedback is none yet, and no error.
        recipe: whose answers count; others are ignored.
        agree: people who have to make the same correction of a case that is not settled.

    Raises:
        UserError: the store cannot be read.
    """
    place = feedback_place(uri)
    store = open_store(place.store)
    quarantined: Counter[str] = Counter()
    questions: dict[tuple[str, str], list[JudgedCase]] = defaultdict(list)
    for name in [place.name] if place.name else _names(store):
        for judged in _judged(store, name, recipe, quarantined):
            questions[judged.case.note_id, normal_form(judged.case.instruction)].append(judged)
    corrections, left_out = [], Counter[str]()
    for cases in questions.values():
        taught = _correction(cases, agree)
        if isinstance(taught, str):
            left_out[taught] += 1
        else:
            corrections.append(taught)
            quarantined.update({REDACTED: taught.unpaired} if taught.unpaired else {})
    corrections.sort(key=lambda correction: correction.row)
    return Corrections(corrections, len(questions), dict(sorted(left_out.items())), dict(sorted(quarantined.items())))


def _names(store: Store) -> list[str]:
    keys = [*store.list("flagged/"), *store.list("reviews/")]
    return sorted({key.split("/")[1] for key in keys if key.count("/") > 2})


def _judged(store: Store, name: str, recipe: Recipe, quarantined: Counter[str]) -> Iterator[JudgedCase]:
    """The cases of an adapter that somebody judged or flagged; records that cannot be used are counted."""
    for version in reviewed_versions(store, name):
        reviews = read_reviews(store, name, version)
        judged = [each for each in reviews.cases if each.case.recipe == recipe and (each.marks or each.settling)]
        quarantined.update(reviews.left_out)
        if store.exists(f"adapters/{name}/{version}/{MANIFEST}"):
            yield from judged
        elif judged:
            quarantined[GONE] += len(judged)


def _correction(cases: list[JudgedCase], agree: int) -> Correction | str:
    """What the judgements of one question teach, or why they teach nothing."""
    settled = [case for case in cases if case.settled]
    still_open = [case for case in cases if not case.settled]
    said: set[str] = set()
    for level in (settled, still_open):
        said |= {_compared(text) for case in level for text in _statements(case)}
        if level is still_open and any(case.disagreement for case in level):
            return DISAGREE
        if len(said) > 1:
            return CONTRADICTED
        marks = [mark for case in level for mark in _deciding(case) if mark.correction]
        if marks and (level is settled or len({person(mark.reviewer) for mark in marks}) >= agree):
            return _taught(cases, level, marks)
    return min((_reason(case) for case in cases), key=_ORDER.index)


def _statements(case: JudgedCase) -> Iterator[str]:
    """What people say that the right answer is. An answer that was judged right is not the only right one, a label
    is."""
    for mark in _deciding(case):
        if mark.correction:
            yield mark.correction
        elif mark.verdict == "right" and case.case.recipe == "classify":
            yield case.case.answer


def _deciding(case: JudgedCase) -> tuple[Mark, ...]:
    return (case.settling,) if case.settling else case.marks


def _reason(case: JudgedCase) -> str:
    if case.settled is None and case.disagreement:
        return DISAGREE
    marks = _deciding(case)
    if any(mark.correction for mark in marks):
        return FEW
    return RIGHT if all(mark.verdict == "right" for mark in marks) else WITHOUT


def _taught(cases: list[JudgedCase], deciding: list[JudgedCase], marks: list[Mark]) -> Correction:
    """The correction that `marks`, of the cases that decide, make of a question."""
    answer = min(str(mark.correction) for mark in marks)
    judged_wrong = [case.case for case in deciding if any(mark.verdict != "right" for mark in _deciding(case))]
    wrong = {case.answer: case.as_written for case in judged_wrong if _compared(case.answer) != _compared(answer)}
    first = min((case.case for case in cases), key=lambda case: (case.note, case.instruction))
    return Correction(
        note_id=first.note_id,
        note=first.note,
        instruction=first.instruction,
        answer=answer,
        rejected=tuple(sorted(text for text, as_written in wrong.items() if as_written)),
        kind=LABEL if first.recipe == "classify" else _kind(marks),
        held_out=any(case.case.origin == "held-out" for case in cases),
        unpaired=sum(not as_written for as_written in wrong.values()),
    )


def _kind(marks: Iterable[Mark]) -> str:
    kinds = ["unsafe" if mark.verdict == "unsafe" else mark.fault or "wrong" for mark in marks]
    return "unsafe" if "unsafe" in kinds else min(kinds, key=lambda kind: (kind == "wrong", kind))


def _compared(text: str) -> str:
    return clean(text).casefold()


def describe(corrections: Corrections) -> str:
    """What was read, as a line of a log."""
    reasons = "".join(f"; {count} {reason}" for reason, count in corrections.left_out.items())
    bad = "".join(f"; {count} quarantined: {reason}" for reason, count in corrections.quarantined.items())
    return f"{corrections.judged} questions judged, {len(corrections.corrections)} corrected{reasons}{bad}"
