"""Split the notes of the instruct recipe by clusters of near duplicates across all sources."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clinadapt.config.instruct import Examples
from clinadapt.data.duplicates import (
    CONTAINED,
    MIN_PART,
    Shingles,
    clusters,
    comparable_form,
    normal_form,
    note_form,
)
from clinadapt.data.tables import iter_rows

LONG_ANSWER = 16  # words; a shorter answer is too unspecific to link it to a note


@dataclass
class NoteSplit:
    """The split of all different notes; notes are numbered from 0 in the order of their first row.

    Attributes:
        note_ids: hash of each note, 16 hex digits.
        clusters: cluster of each note, shape (notes,); clusters are numbered in the order of their first note.
        splits: one of SPLITS for each note.
        rows: table (notes, triples, preferences) -> the number of the note of each of its rows, in order.
    """

    note_ids: list[str]
    clusters: np.ndarray
    splits: list[str]
    rows: dict[str, list[int]]

    def shared_clusters(self) -> int:
        """Count clusters with notes in more than one split: 0 unless there is a leak."""
        pairs = set(zip(self.clusters.tolist(), self.splits, strict=True))
        return len(pairs) - len({cluster for cluster, _ in pairs})


def split_notes(folder: Path, settings: Examples) -> NoteSplit:
    """Assign every note of the tables that synthesize wrote to a split.

    Two notes are in one cluster if their 8-gram Jaccard similarity is at least `near_duplicate_threshold`, if one
    contains half of the 8-grams of the other (a note copied forward into a longer one), or if a long answer about one
    is a near duplicate of an answer about the other or is contained in the other note: the section texts of MTS-Dialog
    come from notes of MTSamples. Numbers, sex, names after a title and common abbreviations make no difference. Answers
    copied from their own note add no link. The split of a cluster follows from the seed and the smallest hash of its
    notes, so that other notes do not change it.
    """
    index = _NoteIndex()
    for row in iter_rows(folder / "notes.parquet", ["text"]):
        index.add_note("notes", row["text"])
    for row in iter_rows(folder / "triples.parquet", ["note_text", "instruction", "answer", "answerable"]):
        number = index.add_note("triples", _document(row))
        if row["answerable"]:
            index.add_answer(row["answer"], number)
    for row in iter_rows(folder / "preferences.parquet", ["note_text", "instruction"]):
        index.add_note("preferences", _document(row))
    cluster_of = index.clusters(settings.near_duplicate_threshold)
    smallest: dict[int, str] = {}
    for note_id, cluster in zip(index.numbers, cluster_of, strict=True):
        smallest[cluster] = min(note_id, smallest.get(cluster, note_id))
    split = {cluster: _draw_split(note_id, settings) for cluster, note_id in smallest.items()}
    return NoteSplit(list(index.numbers), cluster_of, [split[cluster] for cluster in cluster_of], index.rows)


def _document(row: dict[str, Any]) -> str:
    """The text that an instruction is about: its note, or the instruction itself, which may contain one."""
    return row["note_text"] or row["instruction"]


def _draw_split(note_id: str, settings: Examples) -> str:
    draw = int(_hash(f"{settings.seed} {note_id}"), 16) / 2**64
    if draw < settings.test_share:
        return "test"
    return "validation" if draw < settings.test_share + settings.validation_share else "train"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class _NoteIndex:
    """The different notes and long answers of all tables. `numbers`: hash of a note -> its number."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.rows: dict[str, list[int]] = {"notes": [], "triples": [], "preferences": []}
        self._shingles = Shingles()
        self._note_shingles: list[int] = []  # number of a note -> its number among the shingles
        self._answer_shingles: dict[str, int] = {}  # hash of an answer -> its number among the shingles
        self._answered: list[tuple[int, int]] = []  # answer and its note, as numbers among the shingles
        self._previous: tuple[str | None, int] = (None, 0)  # text and number of the note of the previous row

    def add_note(self, table: str, text: str) -> int:
        """Add the note of the next row of a table. Returns the number of the note."""
        if text != self._previous[0]:  # the rows of a note follow one another
            self._previous = (text, self._number(normal_form(text)))
        number = self._previous[1]
        self.rows[table].append(number)
        return number

    def _number(self, normal: str) -> int:
        number = self.numbers.setdefault(_hash(normal), len(self.numbers))
        if number == len(self._note_shingles):
            self._note_shingles.append(self._shingles.add(self._shingles.hashes(note_form(normal))))
        return number

    def add_answer(self, text: str, note: int) -> None:
        """Add an answer about a note, if it is long and not copied from the note."""
        normal = normal_form(text)
        if normal.count(" ") < LONG_ANSWER - 1:
            return
        about, grams = self._note_shingles[note], self._shingles.hashes(comparable_form(normal))
        if self._shingles.count_shared(grams, about) >= CONTAINED * len(grams):
            return
        key = _hash(normal)
        if key not in self._answer_shingles:
            self._answer_shingles[key] = self._shingles.add(grams)
        self._answered.append((self._answer_shingles[key], about))

    def clusters(self, threshold: float) -> np.ndarray:
        """Cluster number of each note, shape (notes,), in the order of their first note."""
        pairs = self._shingles.near_duplicates(threshold) + self._answered
        notes = [number for number in self._note_shingles if len(self._shingles.grams[number]) >= MIN_PART]
        parts = [*self._answer_shingles.values(), *notes]
        pairs += self._shingles.contained(parts, self._note_shingles, CONTAINED)
        of_note = clusters(len(self._shingles.grams), pairs)[self._note_shingles]
        _, first, number = np.unique(of_note, return_index=True, return_inverse=True)
        return np.argsort(np.argsort(first))[number]
