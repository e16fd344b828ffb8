"""Labelled rows -> different notes with soft labels, split by cluster into train, validation and test."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.config.classify import Split
from clinadapt.data.duplicates import clusters, near_duplicates, normal_form
from clinadapt.data.schemas.classify import NOTES, SPLIT
from clinadapt.data.tables import SPLITS, write_table
from clinadapt.errors import UserError

HELD_OUT = {"test": 0.2, "validation": 0.1}  # shares of the notes of a label; the rest is train
LEAST = 10  # notes of a label: two are test and one is validation


def run(dataset: Path, output: Path, settings: Split) -> dict[str, Any]:
    """Write train, validation and test.parquet (schema SPLIT) and the manifest; return the manifest.

    Raises:
        UserError: the text column names the label, or a label has fewer notes than the split needs.
    """
    source = read_json(dataset / MANIFEST)
    rows = pq.read_table(dataset / "notes.parquet", schema=NOTES).to_pylist()
    refuse_leak(rows, source["text_column"])
    notes = merge(rows)
    pairs = near_duplicates([note["normal"] for note in notes], settings.near_duplicate_threshold)
    for note, cluster in zip(notes, clusters(len(notes), pairs), strict=True):
        note["cluster"] = int(cluster)
    parts = split(notes, settings.seed)

    output.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        columns = {field.name: [note[field.name] for note in part] for field in SPLIT}
        write_table(pa.table(columns, schema=SPLIT), output / f"{name}.parquet")
    words = [len(note["text"].split()) for note in notes]
    facts = {
        **{key: source[key] for key in ("source", "rows_read", "rows_kept", "quarantined", "labels")},
        "dataset_digest": source["digest"],
        "notes": len(notes),
        "exact_duplicate_rows": len(rows) - len(notes),
        "near_duplicate_pairs": len(pairs),
        "clusters": len({note["cluster"] for note in notes}),
        "cross_listed_notes": sum(len(note["labels"]) > 1 for note in notes),
        "ceiling": ceiling(notes),
        "shared_clusters": shared_clusters(parts),
        "splits": {name: _count(part) for name, part in parts.items()},
        "words": {
            "median": float(np.median(words)),
            "p90": float(np.percentile(words, 90)),
            "max": max(words),
        },
        "settings": settings.model_dump(),
    }
    return write_manifest(output, facts, "format", {"dataset": source["digest"]}, [source])


def refuse_leak(rows: list[dict[str, Any]], column: str) -> None:
    """Refuse a text column that names the label, as `keywords` does in every row of MTSamples.

    A column leaks when most rows hold their own label's name, and rows of other labels hold it far less often (a
    word such as "surgery" is common in any note).

    Raises:
        UserError: with the share of rows that name their label.
    """
    texts = [f" {normal_form(row['text'])} " for row in rows]
    labels = np.array([row["label"] for row in rows])
    own = other = 0.0
    for label in np.unique(labels):
        name = f" {normal_form(label)} "
        named, of_label = np.array([name in text for text in texts]), labels == label
        own += float((named & of_label).mean())
        other += float(of_label.mean() * named[~of_label].mean())
    if own > 0.8 and own > 2 * other:
        raise UserError(
            f"column '{column}' names the label in {own:.0%} of the rows, so a model would only copy it: "
            "use the text of the note instead"
        )


def merge(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each different text once, with all its labels and how many rows listed it under each."""
    notes: dict[str, dict[str, Any]] = {}
    for row in rows:
        normal = normal_form(row["text"])
        note = notes.setdefault(normal, {"normal": normal, "text": row["text"], "found": Counter()})
        note["found"][row["label"]] += 1
    for normal, note in notes.items():
        note["note_id"] = hashlib.sha256(normal.encode()).hexdigest()[:16]
        note["labels"], note["counts"] = map(list, zip(*sorted(note["found"].items()), strict=True))
    return list(notes.values())


def split(notes: list[dict[str, Any]], seed: int) -> dict[str, list[dict[str, Any]]]:
    """70 % train, 10 % validation, 20 % test; whole clusters, stratified by the label that most of their notes have.

    The place of a cluster in the order of its label follows from the seed and the smallest hash of its notes. Where
    notes come in, only those near a border change their side, to the next one; validation stands between train and
    test, so that a champion is not asked about notes that it was trained on.

    Raises:
        UserError: a label is the main one of fewer than ten notes, so that a part of the split would lack it,
            or the notes are near duplicates of too few.
    """
    main = [note["labels"][int(np.argmax(note["counts"]))] for note in notes]
    everywhere = Counter(label for note in notes for label in note["labels"])
    counts = Counter(main)
    for label in everywhere:
        if counts[label] < LEAST:
            raise UserError(
                f"label '{label}' has {counts[label]} different notes of its own, the split needs {LEAST}: "
                "add notes or leave the label out with --label"
            )
    members: dict[int, list[int]] = defaultdict(list)
    for number, note in enumerate(notes):
        members[note["cluster"]].append(number)
    if len(members) < LEAST:
        raise UserError(
            f"the notes are near duplicates of only {len(members)} different ones, the split needs {LEAST}: "
            "add other notes"
        )
    strata: dict[str, list[tuple[str, int, int]]] = defaultdict(list)  # draw, number of the cluster, its notes
    for cluster, numbers in members.items():
        label = Counter(main[i] for i in numbers).most_common(1)[0][0]
        name = min(notes[i]["note_id"] for i in numbers)
        draw = hashlib.sha256(f"{seed} {name}".encode()).hexdigest()
        strata[label].append((draw, cluster, len(numbers)))
    side = {cluster: name for stratum in strata.values() for cluster, name in _sides(stratum)}
    parts = {name: [note for note in notes if side[note["cluster"]] == name] for name in SPLITS}
    for name, part in parts.items():
        if missing := set(everywhere) - {label for note in part for label in note["labels"]}:
            raise UserError(f"label '{min(missing)}' has no note in {name}: its notes are near duplicates, add others")
    return parts


def _sides(stratum: list[tuple[str, int, int]]) -> Iterator[tuple[int, str]]:
    """The side of each cluster of a label, given as draw, number and size: in the order of their draws, those too large
    to be held out last; of three or more each side gets one."""
    total = sum(size for *_, size in stratum)
    order = sorted(stratum, key=lambda cluster: (cluster[2] > HELD_OUT["validation"] * total, cluster))
    sizes = np.array([size for *_, size in order])
    middle = (np.cumsum(sizes) - sizes / 2) / total
    test, held = (int((middle < share).sum()) for share in (HELD_OUT["test"], sum(HELD_OUT.values())))
    if len(order) > 2:
        held = min(max(held, 2), len(order) - 1)
        test = min(max(test, 1), held - 1)
    for place, (_, cluster, _) in enumerate(order):
        yield cluster, "test" if place < test else "validation" if place < held else "train"


def ceiling(notes: list[dict[str, Any]]) -> float:
    """The best accuracy over rows that any function of the text can reach: each text has one answer, its most
    frequent label, and is wrong in all rows that list it under another."""
    return sum(max(note["counts"]) for note in notes) / sum(sum(note["counts"]) for note in notes)


def shared_clusters(parts: dict[str, list[dict[str, Any]]]) -> int:
    """Clusters that stand in more than one part."""
    seen = Counter(cluster for part in parts.values() for cluster in {note["cluster"] for note in part})
    return sum(count > 1 for count in seen.values())


def _count(part: list[dict[str, Any]]) -> dict[str, Any]:
    per_label: Counter[str] = Counter()
    for note in part:
        per_label.update(dict(zip(note["labels"], note["counts"], strict=True)))
    return {
        "notes": len(part),
        "rows": per_label.total(),
        "clusters": len({note["cluster"] for note in part}),
        "per_label": dict(sorted(per_label.items())),
    }
