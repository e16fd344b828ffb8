"""Notes that people gave feedback about, added to a split that is made without them: they join training or are left
out, and no other note changes its side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from clinadapt.data.schemas.known import NOTE_IDS, NOTE_IDS_FILE
from clinadapt.data.tables import iter_rows

SAME_NOTE = "the same note, by its hash"  # a reason for which notes are linked
HELD_OUT = "the note is held out"
JOINED = "a near duplicate, a note of the same patient or one that holds the answer is held out"
WAS_HELD_OUT = "the answer was about a held-out note of the version that gave it"


class AddedNotes:
    """Where notes belong that are added to a split."""

    def __init__(
        self, cluster: np.ndarray, splits: Sequence[str], joined: np.ndarray, held_out: Iterable[int] = ()
    ) -> None:
        """
        Args:
            cluster, splits: of each note of the split, shape (notes,).
            joined: clusters of these notes and, after them, of those that are added, shape (all notes,).
            held_out: numbers of added notes that may not be trained on, wherever else they would belong.
        """
        self._splits, self._joined = splits, joined
        self._never = {int(joined[number]) for number in held_out}
        self._held_out = {int(joined[n]) for n, side in enumerate(splits) if side in ("test", "validation")}
        self._cluster: dict[int, int] = {}
        for number, side in enumerate(splits):
            if side == "train":
                self._cluster.setdefault(int(joined[number]), int(cluster[number]))
        self._next = int(cluster.max()) + 1 if len(cluster) else 0

    def left_out(self, number: int) -> str:
        """Why a note is not trained on; empty where it is."""
        if number < len(self._splits) and self._splits[number] in ("test", "validation"):
            return HELD_OUT
        if int(self._joined[number]) in self._held_out:
            return JOINED
        return WAS_HELD_OUT if int(self._joined[number]) in self._never else ""

    def cluster(self, number: int) -> int:
        """Its cluster: that of a training note which it is joined with, else a new one."""
        key = int(self._joined[number])
        if key not in self._cluster:
            self._cluster[key], self._next = self._next, self._next + 1
        return self._cluster[key]


class SameNotes:
    """Which note of a dataset somebody gave feedback about, by its hash before or after screening."""

    def __init__(self, folder: Path, numbers: Mapping[str, int]) -> None:
        """
        Args:
            folder: with note_ids.parquet, of the notes that screening changed, where there are such.
            numbers: hash -> number of each note of the dataset.
        """
        self._numbers, path = numbers, folder / NOTE_IDS_FILE
        self._screened: dict[str, list[str]] = defaultdict(list)
        for row in iter_rows(path, NOTE_IDS.names) if path.exists() else ():
            self._screened[row["original"]].append(row["note_id"])

    def number(self, note_id: str) -> int | None:
        """The number of the note with this hash; None where the dataset does not have it."""
        hashes = [note_id, *self._screened.get(note_id, ())]
        return next((self._numbers[each] for each in hashes if each in self._numbers), None)
