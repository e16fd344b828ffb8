"""Merge rows into different notes with soft labels, and split them by cluster into train, validation and test."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.config.classify import Split
from clinadapt.config.origin import newest_share
from clinadapt.data.copies import linked_texts
from clinadapt.data.duplicates import normal_form, note_id_of_form
from clinadapt.data.note_links import LEFT_OUT, NoteOrigins, join, split_by_time
from clinadapt.data.schemas.classify import NOTES, SPLIT
from clinadapt.data.schemas.origin import PATIENT_GROUP
from clinadapt.data.tables import SPLITS, write_table
from clinadapt.errors import UserError
from components.format.corrected_labels import add_corrected_labels
from components.format.feedback import feedback_summary

HELD_OUT = {"test": 0.2, "validation": 0.1}  # shares of the notes of a label; train gets the rest
MIN_NOTES = 10  # per label: two are in test and one in validation


def run(dataset: Path, output: Path, settings: Split) -> dict[str, Any]:
    """Split a dataset.

    Args:
        dataset: the output of download.
        output: gets train, validation and test.parquet (schema SPLIT) and the manifest; where corrected labels are
            trained on, also these notes as feedback.parquet (SPLIT).
        settings: threshold of near duplicates, and seed.

    Returns:
        The manifest.

    Raises:
        UserError: the text column contains the label, or a label has too few notes to split.
    """
    source = read_json(dataset / MANIFEST)
    rows = pq.read_table(dataset / "notes.parquet", schema=NOTES).to_pylist()
    refuse_label_leak(rows, source["text_column"])
    rows, rare = without_rare_labels(rows, settings.min_notes_per_label)
    notes, origins = merge_rows(rows)
    patients = origins.notes_of_patients()
    copies = linked_texts([note["normal"] for note in notes], settings.near_duplicate_threshold, patients)
    joined = join(len(notes), {**origins.links(), **copies})
    for note, cluster in zip(notes, joined.cluster, strict=True):
        note["cluster"] = int(cluster)
    splits, by_time = _split(notes, joined.cluster, origins, settings)
    labels, repeated_rows = sorted({row["label"] for row in rows}), len(rows) - len(notes)
    corrected = add_corrected_labels(dataset, notes, splits, origins, labels, settings.near_duplicate_threshold)
    _write_splits(splits | ({"feedback": corrected.notes} if corrected.notes else {}), output)
    words = [len(note["text"].split()) for note in notes]
    summary = {
        **{key: source[key] for key in ("source", "rows_read", "rows_of_other_labels", "quarantined", "unused")},
        "rows_kept": len(rows),
        "label_column": source["label_column"],
        "labels": labels,
        "rare_labels": rare,
        "dataset_digest": source["digest"],
        "notes": len(notes),
        "exact_duplicate_rows": repeated_rows,
        "near_duplicate_notes": len({note for pairs in copies.values() for pair in pairs for note in pair}),
        "clusters": len({note["cluster"] for note in notes}),
        "cross_listed_notes": sum(len(note["labels"]) > 1 for note in notes),
        "ceiling": accuracy_ceiling(notes),
        "shared_clusters": shared_clusters(splits),
        "origin": source["origin"],
        "phi": source.get("phi", {}),
        "feedback": feedback_summary(source.get("feedback", []), corrected.counts),
        "patients": origins.patients,
        "joined": joined.reasons,
        "by_time": by_time,
        "splits": {name: _count(members) for name, members in splits.items()},
        "words": {
            "median": float(np.median(words)),
            "p90": float(np.percentile(words, 90)),
            "max": max(words),
        },
        "settings": settings.model_dump(),
    }
    return write_manifest(output, summary, "format", {"dataset": source["digest"]}, [source])


def _write_splits(splits: dict[str, list[dict[str, Any]]], output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    for name, members in splits.items():
        columns = {field.name: [note[field.name] for note in members] for field in SPLIT}
        write_table(pa.table(columns, schema=SPLIT), output / f"{name}.parquet")


def refuse_label_leak(rows: list[dict[str, Any]], column: str) -> None:
    """Refuse a text column that contains the label, as `keywords` does in every row of MTSamples.

    A column leaks if most rows contain the name of their own label, and rows of other labels contain it far less often:
    a word like "surgery" is common in any note.

    Args:
        rows: of schema NOTES.
        column: name of the text column, for the error message.

    Raises:
        UserError: with the share of rows that contain their label.
    """
    texts = [f" {normal_form(row['text'])} " for row in rows]
    labels = np.array([row["label"] for row in rows])
    own = other = 0.0
    for label in np.unique(labels):
        name = f" {normal_form(label)} "
        contains, of_label = np.array([name in text for text in texts]), labels == label
        own += float((contains & of_label).mean())
        other += float(of_label.mean() * contains[~of_label].mean())
    if own > 0.8 and own > 2 * other:
        raise UserError(
            f"column '{column}' contains the label in {own:.0%} of the rows, so a model would only copy it: "
            "use the text of the note instead"
        )


def merge_rows(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], NoteOrigins]:
    """Merge rows with the same normalized text.

    Args:
        rows: of schema NOTES.

    Returns:
        Rows of schema SPLIT without `cluster`, with their normalized text as `normal`; and their origins, by their
        positions in this list.
    """
    notes: dict[str, dict[str, Any]] = {}
    origins = NoteOrigins()
    for row in rows:
        normal = normal_form(row["text"])
        note = notes.setdefault(
            normal, {"number": len(notes), "normal": normal, "text": row["text"], "rows": Counter(), "origins": []}
        )
        note["rows"][row["label"]] += 1
        note["origins"].append(row)
        origins.add(note["number"], row)
    for normal, note in notes.items():
        note["note_id"] = note_id_of_form(normal)
        note["labels"], note["counts"] = map(list, zip(*sorted(note.pop("rows").items()), strict=True))
        note |= _patient_group(note.pop("origins"))
    return list(notes.values()), origins


def _patient_group(rows: list[dict[str, Any]]) -> dict[str, str | None]:
    """Sex and band of the age that all rows of a note agree on, as far as they tell them."""
    told = {name: {row[name] for row in rows} - {None} for name, _ in PATIENT_GROUP}
    return {name: values.pop() if len(values) == 1 else None for name, values in told.items()}


def without_rare_labels(rows: list[dict[str, Any]], minimum: int) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Leave out the labels that are the main one of fewer than `minimum` different notes.

    Returns:
        The other rows, and the labels left out with the number of these notes.

    Raises:
        UserError: fewer than two labels remain.
    """
    rare: dict[str, int] = {}
    while minimum:
        counts = Counter(map(_main_label, merge_rows(rows)[0]))
        labels = {row["label"] for row in rows}
        few = {label: counts[label] for label in sorted(labels) if counts[label] < minimum}
        if not few:
            break
        rare |= few
        if len(labels - few.keys()) < 2:
            raise UserError(
                f"with --min-notes-per-label {minimum} fewer than two labels remain: lower it, or add notes of "
                f"{', '.join(f'{label!r} ({count})' for label, count in rare.items())}"
            )
        rows = [row for row in rows if row["label"] not in few]
    return rows, rare


def _split(
    notes: list[dict[str, Any]], cluster: np.ndarray, origins: NoteOrigins, settings: Split
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, Any] | None]:
    """The notes of each of SPLITS, and the summary of a split by time."""
    newest = newest_share(settings.test)
    if newest is None:
        return stratified_split(notes, settings.seed), None
    by_time = split_by_time(cluster, origins.newest, newest, HELD_OUT["validation"])
    dated = [note for note, split in zip(notes, by_time.splits, strict=True) if split != LEFT_OUT]
    _main_labels(dated)
    splits = {name: [note for note in notes if by_time.splits[note["number"]] == name] for name in SPLITS}
    _refuse_missing(splits, "older than those that are held out, or newer than those of training")
    return splits, by_time.summary


def stratified_split(notes: list[dict[str, Any]], seed: int) -> dict[str, list[dict[str, Any]]]:
    """Split notes into 70 % train, 10 % validation and 20 % test, by whole clusters.

    Clusters are stratified by the main label of most of their notes, and ordered within a label by a hash of the seed
    and the smallest hash of their notes. When notes are added, only those near a boundary move, to the neighboring
    split; validation is between train and test, so that a champion is not tested on notes it was trained on.

    Args:
        notes: rows of schema SPLIT.
        seed: of the order.

    Returns:
        The notes of each of SPLITS.

    Raises:
        UserError: a label is the main one of fewer than MIN_NOTES notes, so that a split would lack it, or there are
            too few clusters.
    """
    main = _main_labels(notes)
    members: dict[int, list[int]] = defaultdict(list)
    for number, note in enumerate(notes):
        members[note["cluster"]].append(number)
    if len(members) < MIN_NOTES:
        raise UserError(
            f"the notes are near duplicates or of the same patients: they are only {len(members)} different ones, the "
            f"split needs {MIN_NOTES}: add other notes, name their patients with --patient, or cut out a "
            "template that they share"
        )
    strata: dict[str, list[_Cluster]] = defaultdict(list)
    for cluster, numbers in members.items():
        label = Counter(main[i] for i in numbers).most_common(1)[0][0]
        smallest = min(notes[i]["note_id"] for i in numbers)
        rank = hashlib.sha256(f"{seed} {smallest}".encode()).hexdigest()
        strata[label].append(_Cluster(rank, cluster, len(numbers)))
    split_of = {cluster: name for stratum in strata.values() for cluster, name in _split_stratum(stratum)}
    splits = {name: [note for note in notes if split_of[note["cluster"]] == name] for name in SPLITS}
    _refuse_missing(splits, "near duplicates or of the same patients")
    return splits


def _main_label(note: dict[str, Any]) -> str:
    """The label of most rows of a note."""
    return str(note["labels"][int(np.argmax(note["counts"]))])


def _main_labels(notes: list[dict[str, Any]]) -> list[str]:
    """The main label of each note. Raises UserError if a label is that of fewer than MIN_NOTES notes."""
    main = list(map(_main_label, notes))
    labels = Counter(label for note in notes for label in note["labels"])
    counts = Counter(main)
    if rare := sorted(label for label in labels if counts[label] < MIN_NOTES):
        listed = ", ".join(f"'{label}' ({counts[label]})" for label in rare)
        raise UserError(
            f"the split needs {MIN_NOTES} different notes of each label, and of these it has fewer: {listed}: add "
            f"notes, or leave these labels out with --min-notes-per-label {MIN_NOTES}"
        )
    return main


def _refuse_missing(splits: dict[str, list[dict[str, Any]]], why: str) -> None:
    """Raises UserError if a split lacks a label; `why` its notes are in others."""
    labels = {name: {label for note in notes for label in note["labels"]} for name, notes in splits.items()}
    for name, present in labels.items():
        if missing := set().union(*labels.values()) - present:
            raise UserError(f"label '{min(missing)}' has no note in {name}, as its notes are {why}: add others")


class _Cluster(NamedTuple):
    rank: str  # hexadecimal hash
    number: int
    size: int  # notes


def _split_stratum(stratum: list[_Cluster]) -> Iterator[tuple[int, str]]:
    """The split of each cluster of a label, by rank, with clusters too large to be held out last.

    Of three or more clusters, each split gets at least one.
    """
    total = sum(cluster.size for cluster in stratum)
    order = sorted(stratum, key=lambda cluster: (cluster.size > HELD_OUT["validation"] * total, cluster))
    sizes = np.array([cluster.size for cluster in order])
    middle = (np.cumsum(sizes) - sizes / 2) / total
    test, held_out = (int((middle < share).sum()) for share in (HELD_OUT["test"], sum(HELD_OUT.values())))
    if len(order) > 2:
        held_out = min(max(held_out, 2), len(order) - 1)
        test = min(max(test, 1), held_out - 1)
    for i, cluster in enumerate(order):
        yield cluster.number, "test" if i < test else "validation" if i < held_out else "train"


def accuracy_ceiling(notes: list[dict[str, Any]]) -> float:
    """The best accuracy over rows that any function of the text can reach.

    A function gives each text one label, at best its most frequent one, and is wrong in rows with another label.
    """
    return sum(max(note["counts"]) for note in notes) / sum(sum(note["counts"]) for note in notes)


def shared_clusters(splits: dict[str, list[dict[str, Any]]]) -> int:
    """Count clusters with notes in more than one split: 0 unless there is a leak."""
    seen = Counter(cluster for notes in splits.values() for cluster in {note["cluster"] for note in notes})
    return sum(count > 1 for count in seen.values())


def _count(notes: list[dict[str, Any]]) -> dict[str, Any]:
    rows_per_label: Counter[str] = Counter()
    for note in notes:
        rows_per_label.update(dict(zip(note["labels"], note["counts"], strict=True)))
    return {
        "notes": len(notes),
        "rows": rows_per_label.total(),
        "clusters": len({note["cluster"] for note in notes}),
        "per_label": dict(sorted(rows_per_label.items())),
    }
