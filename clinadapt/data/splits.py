"""Split the notes of the instruct recipe by clusters of near duplicates across all sources."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from clinadapt.config.instruct import Examples
from clinadapt.config.origin import newest_share
from clinadapt.data.added_notes import SAME_NOTE, AddedNotes, SameNotes
from clinadapt.data.copies import Copies
from clinadapt.data.duplicates import normal_form, note_id_of_form
from clinadapt.data.note_links import LEFT_OUT, NoteOrigins, Pairs, join, split_by_time
from clinadapt.data.schemas.feedback import CORRECTIONS, FEEDBACK_FILE
from clinadapt.data.tables import iter_rows

_JOINING = ("patient", "encounter", "date")
_COLUMNS = {
    "notes": ["source", "row", "text", *_JOINING],
    "triples": ["source", "row", "note_text", "instruction", "answer", "answerable", *_JOINING],
    "preferences": ["source", "row", "note_text", "instruction", *_JOINING],
}
Place = tuple[int, int]  # number of a source, and row


@dataclass
class FeedbackRows:
    """What people corrected, among the rows of a split.

    Attributes:
        corrections: place of a row -> its record, of schema CORRECTIONS.
        left_out: number of a note that is not trained on -> why.
        corrected: number of a note -> instructions about it, in normal form, whose answer people corrected.
    """

    corrections: dict[Place, dict[str, Any]] = field(default_factory=dict)
    left_out: dict[int, str] = field(default_factory=dict)
    corrected: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))


@dataclass
class NoteSplit:
    """The split of all different notes; notes are numbered from 0 in the order of their first row.

    Attributes:
        note_ids: hash of each note, 16 hex digits.
        clusters: cluster of each note, shape (notes,); clusters are numbered in the order of their first note.
        splits: one of SPLITS for each note; LEFT_OUT for a note without a date in a split by time, and for one that
            people gave feedback about and that may not be trained on.
        rows: table (notes, triples, preferences) -> the number of the note of each of its rows, in order.
        joined: what joined notes, `Joins.reasons` of clinadapt.data.note_links.
        patients: number of different patients.
        by_time: `TimeSplit.summary` of clinadapt.data.note_links; None for a random split.
        feedback: rows with corrections. A note that these rows put on another side than the others has two numbers.
    """

    note_ids: list[str]
    clusters: np.ndarray
    splits: list[str]
    rows: dict[str, list[int]]
    joined: list[dict[str, Any]] = field(default_factory=list)
    patients: int = 0
    by_time: dict[str, Any] | None = None
    feedback: FeedbackRows = field(default_factory=FeedbackRows)

    def shared_clusters(self) -> int:
        """Count clusters with notes in more than one split: 0 unless there is a leak."""
        pairs = {pair for pair in zip(self.clusters.tolist(), self.splits, strict=True) if pair[1] != LEFT_OUT}
        return len(pairs) - len({cluster for cluster, _ in pairs})


def split_by_cluster(folder: Path, settings: Examples) -> NoteSplit:
    """Assign every note of the tables that synthesize wrote to a split.

    Two notes are in one cluster if they share a patient or an encounter, if their 4-gram Jaccard similarity is at
    least `near_duplicate_threshold`, if one contains half of the 4-grams of the other, or three quarters where it has
    fewer than 64 (a note copied forward into a longer one), or if a long answer about one is a near duplicate of an
    answer about the other or is contained in the other note: the section texts of MTS-Dialog come from notes of
    MTSamples. Numbers, sex, names after a title and common abbreviations make no difference. A note or an answer of 5
    to 15 words links to the notes in which it stands whole, if these are few. Answers copied from their own note add
    no link, and what stands in the notes of more than a twentieth of the patients is no sign of a copy: it is of a
    template. Without patients a template is not told from a note that was copied forward.

    The split of a cluster follows from the seed and the smallest hash of its notes, so that other notes do not change
    it, or, with `test` as `newest 10%`, from the date of its newest note. Notes with feedback change it neither: they
    are in training, or left out where they are joined with a note that is held out.

    Raises:
        UserError: a split by time is asked for and cannot be made.
    """
    index, later = _NoteIndex(), list[_Later]()
    feedback = FeedbackRows(_corrections(folder))
    for table, columns in _COLUMNS.items():
        for row in iter_rows(folder / f"{table}.parquet", columns):
            if (row["source"], row["row"]) in feedback.corrections:
                later.append(_Later(table, len(index.rows[table]), row))
                index.rows[table].append(0)  # until its note has a number
            else:
                index.rows[table].append(index.add_row(row))
    index.leave_out_template()
    joined = join(len(index.numbers), index.links(settings.near_duplicate_threshold))
    by_time = None
    if (newest := newest_share(settings.test)) is None:
        splits = _random_splits(list(index.numbers), joined.cluster, settings)
    else:
        splits, by_time = split_by_time(joined.cluster, index.origins.newest, newest, settings.validation_share)
    split = NoteSplit(
        list(index.numbers), joined.cluster, splits, index.rows, joined.reasons, index.origins.patients, by_time,
        feedback,
    )  # fmt: skip
    if later:
        same_notes = SameNotes(folder, dict(index.numbers))
        _add_feedback(split, index, later, same_notes, settings.near_duplicate_threshold)
    return split


class _Later(NamedTuple):
    """A row with feedback, whose note is added after all others: its table, position in it, and the row."""

    table: str
    position: int
    row: dict[str, Any]


def _corrections(folder: Path) -> dict[Place, dict[str, Any]]:
    path = folder / FEEDBACK_FILE
    rows = iter_rows(path, CORRECTIONS.names) if path.exists() else ()
    return {(row["source"], row["row"]): row for row in rows}


def _add_feedback(
    split: NoteSplit, index: _NoteIndex, later: list[_Later], same_notes: SameNotes, threshold: float
) -> None:
    """Add the notes of rows with feedback."""
    feedback, before = split.feedback, len(split.note_ids)
    records = [feedback.corrections[each.row["source"], each.row["row"]] for each in later]
    own = [index.add_row(each.row) for each in later]
    known = [same_notes.number(record["note_id"]) for record in records]
    numbers = [number if same is None else same for number, same in zip(own, known, strict=True)]
    pairs = [(max(pair), min(pair)) for pair in zip(own, numbers, strict=True) if pair[0] != pair[1]]
    joined = join(len(index.numbers), {**index.links(threshold), SAME_NOTE: pairs}).cluster
    never = [number for number, record in zip(own, records, strict=True) if record["held_out"]]
    added = AddedNotes(split.clusters, split.splits, joined, never)
    places = {(number, side): number for number, side in enumerate(split.splits)}
    note_ids, clusters = list(index.numbers), list(split.clusters)
    for each, number, same in zip(later, own, numbers, strict=True):
        reason = added.left_out(same)
        side = LEFT_OUT if reason else "train"
        if (number, side) not in places:
            places[number, side] = len(split.note_ids)
            split.note_ids.append(note_ids[number])
            split.splits.append(side)
            clusters.append(0 if reason else added.cluster(number))
        place = split.rows[each.table][each.position] = places[number, side]
        if reason:
            feedback.left_out[place] = reason
        for note in {place, *(note for note in (number, same) if note < before)} if not reason else ():
            feedback.corrected[note].add(normal_form(each.row["instruction"]))
    split.clusters = np.array(clusters, dtype=split.clusters.dtype)


def _random_splits(note_ids: list[str], cluster_of: np.ndarray, settings: Examples) -> list[str]:
    smallest: dict[int, str] = {}
    for note_id, cluster in zip(note_ids, cluster_of, strict=True):
        smallest[cluster] = min(note_id, smallest.get(cluster, note_id))
    split = {cluster: _draw_split(note_id, settings) for cluster, note_id in smallest.items()}
    return [split[cluster] for cluster in cluster_of]


def _document(row: dict[str, Any]) -> str:
    """The text that an instruction is about: its note, or the instruction itself, which may contain one."""
    return row["note_text"] or row["instruction"]


def _draw_split(note_id: str, settings: Examples) -> str:
    draw = int(hashlib.sha256(f"{settings.seed} {note_id}".encode()).hexdigest()[:16], 16) / 2**64
    if draw < settings.test_share:
        return "test"
    return "validation" if draw < settings.test_share + settings.validation_share else "train"


class _NoteIndex:
    """The different notes of all tables, and the answers about them.

    Attributes:
        numbers: hash of a note -> its number.
        rows: as in NoteSplit.
        origins: of the notes.
    """

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.origins = NoteOrigins()
        self.rows: dict[str, list[int]] = {"notes": [], "triples": [], "preferences": []}
        self._copies = Copies()
        self._previous: tuple[str | None, int] = (None, 0)  # text and number of the note of the previous row

    def add_row(self, row: dict[str, Any]) -> int:
        """Add the note of a row of a table, with its origin and any answer about it. Returns the number of the note."""
        text = row["text"] if "text" in row else _document(row)
        if text != self._previous[0]:  # the rows of a note follow one another
            self._previous = (text, self._number(normal_form(text)))
        number = self._previous[1]
        self.origins.add(number, row)
        if row.get("answerable"):
            self._copies.add_answer(normal_form(row["answer"]), number)
        return number

    def _number(self, normal: str) -> int:
        number = self.numbers.setdefault(note_id_of_form(normal), len(self.numbers))
        if number == len(self._copies):
            self._copies.add_note(normal)
        return number

    def leave_out_template(self) -> None:
        """Leave out what stands in the notes of many patients, when notes are compared."""
        self._copies.leave_out_template(self.origins.notes_of_patients())

    def links(self, threshold: float) -> dict[str, Pairs]:
        """Reason -> pairs of notes."""
        return {**self.origins.links(), **self._copies.links(threshold)}
