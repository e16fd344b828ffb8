"""Notes that belong together because they share a patient or an encounter, and the split of clusters by time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from clinadapt.data.duplicates import clusters
from clinadapt.errors import UserError

MIN_ENCOUNTERS = 20  # with a patient, to tell that a source numbers the visits of each patient
MAX_TEST = 0.5  # of the notes, in a split by time
Pairs = Sequence[tuple[int, int]]
LEFT_OUT = "left out"  # instead of a split, in a split by time: a note without a date


class NoteOrigins:
    """Patients, encounters and the newest date of every note. A note of several rows may have several patients.

    Attributes:
        newest: note -> date of its newest row; notes without a date are missing.
    """

    def __init__(self) -> None:
        self.newest: dict[int, datetime] = {}
        self._notes: dict[str, dict[str, set[int]]] = {"patient": defaultdict(set), "encounter": defaultdict(set)}
        self._patients_of: dict[str, set[str]] = defaultdict(set)  # encounter -> its patients

    def add(self, note: int, row: Mapping[str, Any]) -> None:
        """Add the origin of a row of a note: `patient`, `encounter` and `date`."""
        for field, notes in self._notes.items():
            if row[field] is not None:
                notes[row[field]].add(note)
        if row["encounter"] is not None and row["patient"] is not None:
            self._patients_of[row["encounter"]].add(row["patient"])
        if row["date"] is not None:
            self.newest[note] = max(row["date"], self.newest.get(note, row["date"]))

    @property
    def patients(self) -> int:
        """How many different patients there are."""
        return len(self._notes["patient"])

    def notes_of_patients(self) -> list[set[int]]:
        """The notes of each patient."""
        return list(self._notes["patient"].values())

    def numbers_visits(self) -> bool:
        """Whether encounters are the visits of each patient, numbered from 1, so that they join nothing: most of those
        with a patient have several."""
        several = sum(len(patients) > 1 for patients in self._patients_of.values())
        return len(self._patients_of) >= MIN_ENCOUNTERS and 2 * several > len(self._patients_of)

    def links(self) -> dict[str, Pairs]:
        """Reason -> pairs of notes, as few as connect all notes of a patient or an encounter."""
        reasons = {"same patient": "patient"} | ({} if self.numbers_visits() else {"same encounter": "encounter"})
        return {reason: _chained(self._notes[field].values()) for reason, field in reasons.items()}


def _chained(groups: Any) -> Pairs:
    chains = (sorted(group) for group in groups)
    return [pair for chain in chains for pair in zip(chain[1:], chain, strict=False)]


class Joins(NamedTuple):
    """Clusters of notes, and what joined them.

    Attributes:
        cluster: of each note, shape (notes,), numbered in the order of their first note.
        reasons: rows of reason, `pairs` of notes that link all those it joins, as few as are needed, `notes` in these
            pairs, and `alone`: by how many clusters fewer there are because of it.
    """

    cluster: np.ndarray
    reasons: list[dict[str, Any]]


def join(count: int, links: Mapping[str, Pairs]) -> Joins:
    """Cluster notes that are connected through pairs.

    Args:
        count: number of notes.
        links: reason -> pairs of notes.
    """
    of_note = _numbered(clusters(count, [pair for pairs in links.values() for pair in pairs]))
    total, reasons = _count(of_note), []
    for reason, pairs in links.items():
        if pairs:
            others = [pair for other, listed in links.items() if other != reason for pair in listed]
            notes = len({note for pair in pairs for note in pair})
            alone = _count(clusters(count, others)) - total
            reasons.append({"reason": reason, "pairs": len(set(pairs)), "notes": notes, "alone": alone})
    return Joins(of_note, reasons)


def _numbered(of_note: np.ndarray) -> np.ndarray:
    _, first, number = np.unique(of_note, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number]


def _count(of_note: np.ndarray) -> int:
    return int(of_note.max()) + 1 if len(of_note) else 0


class TimeSplit(NamedTuple):
    """A split by time.

    Attributes:
        splits: of each note, one of SPLITS or LEFT_OUT.
        summary: `test_from` and `validation_from` (dates as text: each note of training is older than the second),
            shares of notes in `test` and `validation`, `without_date` (notes), and `older_in_test`: notes of the test
            that are older than test_from, as their patient has a newer one.
    """

    splits: list[str]
    summary: dict[str, Any]


def split_by_time(cluster: np.ndarray, newest: Mapping[int, datetime], test: float, validation: float) -> TimeSplit:
    """Hold out the clusters with the newest notes: first for the test, then for validation.

    A cluster is as new as its newest note, and all clusters that are as new as the last one taken are taken too. So no
    note of training is as new as the date from which the test is. Notes without a date are in no split.

    Args:
        cluster: of each note, shape (notes,).
        newest: note -> its date.
        test, validation: shares of the notes with a date.

    Raises:
        UserError: no note has a date, or more than MAX_TEST of them would have to be in the test.
    """
    if not newest:
        raise UserError(
            "a split by time needs the date of the notes, and no source has a column that is read as one: name it with "
            "--date, as in --date visit_date or --date 'visit_date %d/%m/%Y', or leave out --test"
        )
    date_of: dict[int, datetime] = {}
    sizes: dict[int, int] = defaultdict(int)
    for note, when in newest.items():
        key = int(cluster[note])
        date_of[key] = max(when, date_of.get(key, when))
        sizes[key] += 1
    order = sorted(date_of, key=lambda key: (date_of[key], -key), reverse=True)
    in_test = _newest(order, date_of, sizes, test * len(newest))
    in_validation = _newest(order[len(in_test) :], date_of, sizes, validation * len(newest))
    counts = [sum(sizes[key] for key in keys) for keys in (in_test, in_validation)]
    if counts[0] > MAX_TEST * len(newest):
        raise UserError(
            f"the newest {test:.0%} of the notes cannot be split off by time: {counts[0] / len(newest):.0%} of them "
            "are of one date, or joined with it by patients and near duplicates; use --test random"
        )
    split_of = dict.fromkeys(in_test, "test") | dict.fromkeys(in_validation, "validation")
    splits = [split_of.get(int(key), "train") if note in newest else LEFT_OUT for note, key in enumerate(cluster)]
    start = [date_of[keys[-1]] if keys else None for keys in (in_test, in_validation)]
    older = sum(split == "test" and newest[note] < start[0] for note, split in enumerate(splits))  # type: ignore[operator]
    summary = {
        "test_from": f"{start[0]:%Y-%m-%d}",
        "validation_from": f"{start[1]:%Y-%m-%d}" if start[1] else None,
        "test": counts[0] / len(newest),
        "validation": counts[1] / len(newest),
        "without_date": len(cluster) - len(newest),
        "older_in_test": older,
    }
    return TimeSplit(splits, summary)


def _newest(
    order: Sequence[int], date_of: Mapping[int, datetime], sizes: Mapping[int, int], wanted: float
) -> list[int]:
    """The first clusters, newest first, with at least `wanted` notes, and those as new as the last of them."""
    taken: list[int] = []
    notes = 0
    for key in order:
        if notes >= wanted and date_of[key] != date_of[taken[-1]]:
            break
        taken.append(key)
        notes += sizes[key]
    return taken
