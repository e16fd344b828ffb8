"""Which note stands on which side of the split: whole clusters of near duplicates, across all sources."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clinadapt.config.instruct import Examples
from clinadapt.data.duplicates import Shingles, clusters, normal_form
from clinadapt.data.tables import read_rows

LONG_ANSWER = 16  # words; a shorter one says too little to tell where it comes from
STANDS_IN = 0.5  # share of an answer's 8-grams: from there it stands in a note


def document(row: dict[str, Any]) -> str:
    """What an instruction is about: its note, or where there is none the instruction, which may hold one."""
    return row["note"] or row["instruction"]


@dataclass
class Sides:
    """Where every note stands.

    Attributes:
        notes: number -> hash of a different note, 16 hex digits.
        cluster: number of a note -> its cluster; clusters count from 0 in the order of their first note.
        side: number of a note -> one of SPLITS.
        rows: table (notes, triples, preferences) -> the number of the note of each of its rows, in order.
    """

    notes: list[str]
    cluster: np.ndarray
    side: list[str]
    rows: dict[str, list[int]]


def assign(folder: Path, settings: Examples) -> Sides:
    """Read the three tables that synthesize wrote, once, and assign a side to every note.

    Two notes are in one cluster when their 8-gram Jaccard similarity is at least `near_duplicate_threshold`, or when a
    long answer about one is a near duplicate of an answer about the other, or stands in the other: the section texts of
    MTS-Dialog come from notes of MTSamples. Answers that are copied from their own note tell nothing more than it.
    The side of a cluster follows from the seed and the smallest hash of its notes, so that other notes do not move it.
    """
    reading = _Reading()
    for row in read_rows(folder / "notes.parquet", ["text"]):
        reading.note("notes", row["text"])
    for row in read_rows(folder / "triples.parquet", ["note", "instruction", "answer", "answerable"]):
        number = reading.note("triples", document(row))
        if row["answerable"]:
            reading.answer(row["answer"], number)
    for row in read_rows(folder / "preferences.parquet", ["note", "instruction"]):
        reading.note("preferences", document(row))
    found = reading.clusters(settings.near_duplicate_threshold)
    names: dict[int, str] = {}
    for note, cluster in zip(reading.notes, found, strict=True):
        names[cluster] = min(note, names.get(cluster, note))
    side = {cluster: _side(name, settings) for cluster, name in names.items()}
    return Sides(list(reading.notes), found, [side[cluster] for cluster in found], reading.rows)


def _side(note: str, settings: Examples) -> str:
    draw = int(hashlib.sha256(f"{settings.seed} {note}".encode()).hexdigest()[:16], 16) / 2**64
    if draw < settings.test_share:
        return "test"
    return "validation" if draw < settings.test_share + settings.validation_share else "train"


class _Reading:
    """Notes and long answers as they are read, each different one once."""

    def __init__(self) -> None:
        self.notes: dict[str, int] = {}
        self.rows: dict[str, list[int]] = {"notes": [], "triples": [], "preferences": []}
        self._answers: dict[str, int] = {}
        self._shingles = Shingles()
        self._last: tuple[str | None, int] = (None, 0)  # text and number of a note
        self._place: list[int] = []  # of each note among the shingles
        self._about: list[tuple[int, int]] = []  # answer and note, among the shingles

    def note(self, table: str, text: str) -> int:
        """Take up the note of a row; its number."""
        if text != self._last[0]:  # the rows about a note stand together
            self._last = (text, self._number(normal_form(text)))
        number = self._last[1]
        self.rows[table].append(number)
        return number

    def _number(self, normal: str) -> int:
        name = hashlib.sha256(normal.encode()).hexdigest()[:16]
        number = self.notes.setdefault(name, len(self.notes))
        if number == len(self._place):
            self._place.append(self._shingles.add(self._shingles.of(normal)))
        return number

    def answer(self, text: str, note: int) -> None:
        """Take up the answer about a note, where it is long and no copy of it."""
        normal = normal_form(text)
        if normal.count(" ") < LONG_ANSWER - 1:
            return
        place, grams = self._place[note], self._shingles.of(normal)
        if self._shingles.shared(grams, place) >= STANDS_IN * len(grams):
            return
        name = hashlib.sha256(normal.encode()).hexdigest()[:16]
        if name not in self._answers:
            self._answers[name] = self._shingles.add(grams)
        self._about.append((self._answers[name], place))

    def clusters(self, threshold: float) -> np.ndarray:
        """The cluster of each note."""
        pairs = self._shingles.near(threshold) + self._about
        pairs += self._shingles.contained(list(self._answers.values()), self._place, STANDS_IN)
        found = clusters(len(self._shingles.grams), pairs)[self._place]
        _, first, number = np.unique(found, return_index=True, return_inverse=True)
        return np.argsort(np.argsort(first))[number]


def shared_clusters(sides: Sides) -> int:
    """Clusters that stand on more than one side."""
    both = {(cluster, side) for cluster, side in zip(sides.cluster.tolist(), sides.side, strict=True)}
    return len(both) - len({cluster for cluster, _ in both})
