"""Cases: answers of a published version that people judge. Publish queues held-out answers; each flag is one too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Literal

from pydantic import TypeAdapter

from clinadapt.artifacts.hashing import sha256_json
from clinadapt.feedback.flags import Flag, parse_flags
from clinadapt.feedback.records import STRICT, LeftOut, StoredRecord, Unusable, decode, encode, usable, validated
from clinadapt.storage.object_store import Store

Recipe = Literal["classify", "instruct"]
Drawn = Literal["flag", "risk", "random"]
# Why an answer is risky, the gravest first -> what the number beside it counts
RISKS = {
    "flagged": "flags of reviewers",
    "contradicted": "claims that the note contradicts",
    "not found": "claims that are not in the note",
    "refused": "refusals of a question that the note answers",
    "not refused": "answers to a question that the note does not answer",
    "champion": "share of the words, or the label, in which it differs from the champion's answer, 0 to 1",
    "margin": "probability of the label less that of the next one, 0 to 1",
}
DEFAULT_REVIEWERS = 2  # of a version without a queue


@dataclass(frozen=True)
class Reason:
    """Why an answer is risky: one of RISKS, and its number."""

    __pydantic_config__ = STRICT
    kind: str
    value: float


@dataclass(frozen=True)
class Case:
    """An answer to be judged, with its note.

    Attributes:
        name, version: of the adapter that answered.
        case: `case_id` of the question, 16 hex digits.
        recipe: `classify` or `instruct`.
        note_id: hash of the note, as in the splits or, of a flag, before identifiers were redacted.
        note: its text without what identifies patients.
        instruction: empty in classify.
        answer: the text, or the predicted label.
        origin: `held-out`, or `flag` where only a reviewer's flag made it a case.
        drawn: `risk`, `random` (from all held-out answers that are not among the riskiest) or `flag`.
        reasons: why it is risky, the gravest first.
        cluster: of near duplicates and notes of one patient, in the version's splits; None of a flag.
        place: in the queue, from 1.
        as_written: whether nothing was redacted in the answer, so that it is what the model wrote.
    """

    __pydantic_config__ = STRICT
    name: str
    version: str
    case: str
    recipe: Recipe
    note_id: str
    note: str
    instruction: str
    answer: str
    origin: Literal["held-out", "flag"]
    drawn: Drawn
    reasons: tuple[Reason, ...] = ()
    cluster: int | None = None
    place: int = 0
    as_written: bool = True

    @cached_property
    def content(self) -> str:
        """16 hex digits that identify what is judged: a mark of one answer is none of another."""
        return sha256_json([self.recipe, self.note_id, self.note, self.instruction, self.answer])[7:23]


@dataclass(frozen=True)
class Queue:
    """Which held-out answers of a version were queued, and how they were drawn.

    Attributes:
        name, version, recipe: of the adapter.
        reviewers: people who have to agree about an answer.
        population: held-out answers that the queue was drawn from.
        riskiest: how many of the queue were chosen by their risk; the others were drawn at random from the rest.
        withheld: held-out answers that could not be queued: private ones, or such as take too long to screen.
        cases: id -> `Case.content`, in the order of the queue.
        clusters: cluster of each of `cases`.
        labels: of a classifier.
        hosts: of LLM endpoints that the sources allow these notes to be sent to.
    """

    __pydantic_config__ = STRICT
    name: str
    version: str
    recipe: Recipe
    reviewers: int
    population: int
    riskiest: int
    withheld: int
    cases: dict[str, str]
    clusters: list[int]
    labels: list[str] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Cases:
    """What there is to judge of a version.

    Attributes:
        queue: None where publish queued nothing.
        cases: in the order of the queue: flags, then the riskiest, then the random ones.
        flags: of each case that was flagged, by its id.
        left_out: records that do not count, by reason.
    """

    queue: Queue | None
    cases: list[Case]
    flags: dict[str, list[Flag]]
    left_out: LeftOut

    @property
    def reviewers(self) -> int:
        """People who have to agree about an answer."""
        return self.queue.reviewers if self.queue else DEFAULT_REVIEWERS


_QUEUE, _CASE = TypeAdapter(Queue), TypeAdapter(Case)


def case_id(recipe: str, note_id: str, instruction: str) -> str:
    """16 hex digits of a question: the same one about the same note has the same id in every version."""
    return sha256_json([recipe, note_id, instruction])[7:23]


def prefix(name: str, version: str = "") -> str:
    """Key of the folder of an adapter's reviews, or of those of one version, with a slash at its end."""
    return f"reviews/{name}/{version}/" if version else f"reviews/{name}/"


def reviewed_versions(store: Store, name: str) -> list[str]:
    """Versions of an adapter with a queue or a flag, sorted; also those that are published no more."""
    keys = [*store.list(prefix(name)), *store.list(f"flagged/{name}/")]
    return sorted({key.split("/")[2] for key in keys if key.count("/") > 2})


def has_queue(store: Store, name: str, version: str) -> bool:
    """Whether the queue of a version is complete."""
    return store.exists(f"{prefix(name, version)}queue.json")


def write_queue(store: Store, queue: Queue, cases: Sequence[Case]) -> None:
    """Store the cases of a version, its queue last. A queue that is there already stays as it is.

    Raises:
        UserError: the store refuses a write; the same call again completes the queue.
    """
    folder = prefix(queue.name, queue.version)
    if not has_queue(store, queue.name, queue.version):
        for case in cases:
            store.put(f"{folder}cases/{case.case}.json", encode(asdict(case), "case"))
        store.put(f"{folder}queue.json", encode(asdict(queue), "queue"))


def parse_cases(records: Mapping[str, StoredRecord], name: str, version: str) -> Cases:
    """All cases of a version, from its records. What cannot be trusted is left out and counted; what purge removed is
    gone."""
    left_out, folder = LeftOut(), prefix(name, version)
    stored = [record for key, record in records.items() if key == f"{folder}queue.json"]
    queue = next(iter(usable(stored, partial(_parse_queue, name, version), left_out)), None)
    keys = [f"{folder}cases/{case}.json" for case in queue.cases] if queue else []
    contents = [records[key] for key in keys if key in records]
    held_out = usable(contents, partial(_parse, queue), left_out) if queue else []
    by_id = {case.case: case for case in held_out}
    flags: dict[str, list[Flag]] = {}
    flagged: list[Case] = []
    for flag in parse_flags(records, name, version, left_out):
        case = _flagged(flag, name, version)
        if by_id.setdefault(case.case, case).answer != case.answer:
            left_out["another answer to the same question"] += 1
            continue
        flags.setdefault(case.case, []).append(flag)
        if by_id[case.case] is case:
            flagged.append(case)
    ordered = [_with_flags(case, flags.get(case.case, []), place) for place, case in enumerate(flagged + held_out, 1)]
    return Cases(queue, ordered, flags, left_out)


def _parse_queue(name: str, version: str, record: StoredRecord) -> Queue:
    queue = record.parsed(lambda _, data: validated(_QUEUE, decode(data, "queue")))
    if (queue.name, queue.version) != (name, version) or len(queue.clusters) != len(queue.cases):
        raise Unusable("about something else")
    return queue


def _parse(queue: Queue, record: StoredRecord) -> Case:
    case = record.parsed(lambda _, data: validated(_CASE, decode(data, "case")))
    if (case.name, case.version) != (queue.name, queue.version) or queue.cases.get(case.case) != case.content:
        raise Unusable("about something else")
    return case


def _flagged(flag: Flag, name: str, version: str) -> Case:
    case = case_id(flag.recipe, flag.note_id, flag.instruction)
    texts: dict[str, Any] = {"note": flag.note, "instruction": flag.instruction, "answer": flag.answer}
    about: dict[str, Any] = {"origin": "flag", "drawn": "flag", "as_written": flag.as_written}
    return Case(name, version, case, flag.recipe, note_id=flag.note_id, **texts, **about)


def _with_flags(case: Case, flags: Sequence[Flag], place: int) -> Case:
    reasons = (Reason("flagged", len(flags)), *case.reasons) if flags else case.reasons
    return replace(case, reasons=reasons, place=place)
