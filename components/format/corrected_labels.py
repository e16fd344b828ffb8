"""Labels that people corrected, brought into a split that is made without them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from clinadapt.data.added_notes import SAME_NOTE, AddedNotes, SameNotes
from clinadapt.data.copies import linked_texts
from clinadapt.data.duplicates import normal_form, note_id_of_form
from clinadapt.data.note_links import LEFT_OUT, NoteOrigins, join
from clinadapt.data.schemas.feedback import CORRECTED_LABELS, FEEDBACK_FILE
from clinadapt.data.tables import iter_rows

Note = dict[str, Any]
RARE, REPEATED = "the label has too few notes", "another correction is about the same text"


class CorrectedLabels(NamedTuple):
    """What became of corrected labels.

    Attributes:
        notes: training notes with a corrected label, of schema SPLIT.
        counts: used, pairs and left_out, as `ExampleWriter.feedback` has them.
    """

    notes: list[Note]
    counts: dict[str, Any]


def add_corrected_labels(
    folder: Path,
    notes: list[Note],
    splits: Mapping[str, list[Note]],
    origins: NoteOrigins,
    labels: Collection[str],
    threshold: float,
) -> CorrectedLabels:
    """Add the notes of feedback.parquet to the training notes. A note that is in training already takes the corrected
    label instead of those of its rows; one that is held out, or joined with one that is, is left out.

    Args:
        folder: the output of screen.
        notes: all notes, numbered by `number`, with `normal`, their normal form; new ones are appended.
        splits: notes of each side; those of training are appended to.
        origins: of the notes.
        labels: of the dataset.
        threshold: of near duplicates.
    """
    path = folder / FEEDBACK_FILE
    rows = list(iter_rows(path, CORRECTED_LABELS.names)) if path.exists() else []
    if not rows:
        return CorrectedLabels([], {"used": {}, "pairs": 0, "left_out": {}})
    used, left_out, corrected = Counter[str](), Counter[str](), dict[int, Note]()
    same_notes = SameNotes(folder, {note["note_id"]: number for number, note in enumerate(notes)})
    placed = _Placed(notes, splits, same_notes)
    numbers = [placed.number(row) for row in rows]
    added = placed.added(rows, numbers, origins, threshold)
    for row, number in zip(rows, numbers, strict=True):
        reason = added.left_out(number)
        if not reason and row["label"] not in labels:
            reason = RARE
        if not reason and number in corrected:
            reason = REPEATED
        if reason:
            left_out[reason] += 1
            continue
        used[row["kind"]] += 1
        corrected[number] = note = placed.training_note(number, added)
        note |= {"labels": [row["label"]], "counts": [1]}
    return CorrectedLabels(
        list(corrected.values()), {"used": dict(sorted(used.items())), "pairs": 0, "left_out": dict(left_out)}
    )


class _Placed:
    """Notes of a split and those that are added to it, by number."""

    def __init__(self, notes: list[Note], splits: Mapping[str, list[Note]], same_notes: SameNotes) -> None:
        self._notes, self._train, self._same_notes = notes, splits["train"], same_notes
        self._sides = [LEFT_OUT] * len(notes)
        for side, members in splits.items():
            for note in members:
                self._sides[note["number"]] = side
        self._by_form = {note["normal"]: number for number, note in enumerate(notes)}
        self._new: list[Note] = []
        self._pairs: list[tuple[int, int]] = []

    def number(self, row: Mapping[str, Any]) -> int:
        """The number of the note of a correction: that of the dataset's own note where it is the same."""
        normal = normal_form(row["text"])
        number = self._by_form.get(normal)
        if number is None:
            number = self._by_form[normal] = len(self._notes) + len(self._new)
            text = {"text": row["text"], "normal": normal, "note_id": note_id_of_form(normal)}
            self._new.append({"number": number, **text, "sex": None, "age_band": None})
        same = self._same_notes.number(row["note_id"])
        if same is None or same == number:
            return number
        self._pairs.append((max(same, number), min(same, number)))
        return same

    def added(
        self, rows: Sequence[Mapping[str, Any]], numbers: Sequence[int], origins: NoteOrigins, threshold: float
    ) -> AddedNotes:
        """Where the notes of corrections belong."""
        cluster = np.array([note["cluster"] for note in self._notes])
        every = [note["normal"] for note in (*self._notes, *self._new)]
        copies = linked_texts(every, threshold, origins.notes_of_patients())
        joined = join(len(every), {**origins.links(), **copies, SAME_NOTE: self._pairs}).cluster
        never = [number for row, number in zip(rows, numbers, strict=True) if row["held_out"]]
        return AddedNotes(cluster, self._sides, joined, never)

    def training_note(self, number: int, added: AddedNotes) -> Note:
        """The note of a correction, in training."""
        before = len(self._sides)
        note = self._notes[number] if number < before else self._new[number - before]
        if number >= before or self._sides[number] != "train":
            note["cluster"] = added.cluster(number)
            self._train.append(note)
            if number >= before:
                self._notes.append(note)
        return note
