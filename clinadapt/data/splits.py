"""Split the notes of the instruct recipe by clusters of near duplicates across all sources."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from clinadapt.config.instruct import Examples
from clinadapt.config.origin import ORIGIN, newest_share
from clinadapt.data.copies import Copies
from clinadapt.data.duplicates import normal_form, note_id_of_form
from clinadapt.data.note_links import LEFT_OUT, NoteOrigins, Pairs, join, split_by_time
from clinadapt.data.tables import iter_rows


@dataclass
class NoteSplit:
    """The split of all different notes; notes are numbered from 0 in the order of their first row.

    Attributes:
        note_ids: hash of each note, 16 hex digits.
        clusters: cluster of each note, shape (notes,); clusters are numbered in the order of their first note.
        splits: one of SPLITS for each note; LEFT_OUT for a note without a date in a split by time.
        rows: table (notes, triples, preferences) -> the number of the note of each of its rows, in order.
        joined: what joined notes, `Joins.reasons` of clinadapt.data.note_links.
        patients: number of different patients.
        by_time: `TimeSplit.summary` of clinadapt.data.note_links; None for a random split.
    """

    note_ids: list[str]
    clusters: np.ndarray
    splits: list[str]
    rows: dict[str, list[int]]
    joined: list[dict[str, Any]] = field(default_factory=list)
    patients: int = 0
    by_time: dict[str, Any] | None = None

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
    no link.

    The split of a cluster follows from the seed and the smallest hash of its notes, so that other notes do not change
    it, or, with `test` as `newest 10%`, from the date of its newest note.

    Raises:
        UserError: a split by time is asked for and cannot be made.
    """
    index = _NoteIndex()
    for row in iter_rows(folder / "notes.parquet", ["text", *ORIGIN]):
        index.add_note("notes", row["text"], row)
    for row in iter_rows(folder / "triples.parquet", ["note_text", "instruction", "answer", "answerable", *ORIGIN]):
        number = index.add_note("triples", _document(row), row)
        if row["answerable"]:
            index.add_answer(row["answer"], number)
    for row in iter_rows(folder / "preferences.parquet", ["note_text", "instruction", *ORIGIN]):
        index.add_note("preferences", _document(row), row)
    joined = join(len(index.numbers), index.links(settings.near_duplicate_threshold))
    by_time = None
    if (newest := newest_share(settings.test)) is None:
        splits = _random_splits(list(index.numbers), joined.cluster, settings)
    else:
        splits, by_time = split_by_time(joined.cluster, index.origins.newest, newest, settings.validation_share)
    return NoteSplit(
        list(index.numbers), joined.cluster, splits, index.rows, joined.reasons, index.origins.patients, by_time
    )


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

    def add_note(self, table: str, text: str, row: dict[str, Any]) -> int:
        """Add the note of the next row of a table, with its origin. Returns the number of the note."""
        if text != self._previous[0]:  # the rows of a note follow one another
            self._previous = (text, self._number(normal_form(text)))
        number = self._previous[1]
        self.rows[table].append(number)
        self.origins.add(number, row)
        return number

    def _number(self, normal: str) -> int:
        number = self.numbers.setdefault(note_id_of_form(normal), len(self.numbers))
        if number == len(self._copies):
            self._copies.add_note(normal)
        return number

    def add_answer(self, text: str, note: int) -> None:
        """Add an answer about a note."""
        self._copies.add_answer(normal_form(text), note)

    def links(self, threshold: float) -> dict[str, Pairs]:
        """Reason -> pairs of notes."""
        return {**self.origins.links(), **self._copies.links(threshold)}
