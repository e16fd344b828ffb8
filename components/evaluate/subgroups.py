"""Groups of held-out rows in which a model may be worse: by source, specialty, length of the note, sex and age."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from clinadapt.clinical.claims.reading import read
from clinadapt.data.patient_groups import AGES, band
from clinadapt.data.schemas.origin import PATIENT_GROUP
from components.evaluate.metrics import HeldOutNotes, ratios

_WORDS = (0, 150, 400, 1_000_000)  # of a note: bounds of the bands of length
_MOST, _FEW = 12, 10  # specialties that are named, and clusters of notes below which none is
_BOUND = re.compile(r"(under )?(\d+) (?:to|and|years|words)\b", re.ASCII)
OTHERS = "other specialties"
_SEXES = {"F": "female", "M": "male"}


def subgroups(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, np.ndarray]]:
    """Split rows in several ways.

    Args:
        rows: with note_text and source; where the source tells it, with sex, age_band, specialty and cluster.

    Returns:
        What they are split by -> name of a group -> which rows are in it, bool of shape (rows,). Sex and age are those
        that the source tells, else the note; rows where neither does are in no group. Specialties with few clusters, of
        which each patient is in one, are one group, as few patients may give away who they are. A way that makes one
        group only is left out.
    """
    sexes, ages = zip(*map(_patient_group, rows), strict=True)
    words = [len(row["note_text"].split()) for row in rows]
    names: dict[str, Sequence[str | None]] = {
        "source": [f"source {row['source'] + 1}" for row in rows],
        "specialty": _common([row.get("specialty") for row in rows], [row.get("cluster") for row in rows]),
        "length of the note": [band(number, _WORDS, "words") for number in words],
        "sex of the patient": sexes,
        "age of the patient": ages,
    }
    groups = {by: _masks(labels) for by, labels in names.items()}
    return {by: masks for by, masks in groups.items() if len(masks) > 1}


def _patient_group(row: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Sex and band of the age of a patient."""
    reading = read(row["note_text"])
    sex = _SEXES[reading.sex[0]] if reading.sex else None
    age = band(reading.ages[0][2], AGES, "years") if reading.ages else None
    return row.get("sex") or sex, row.get("age_band") or age


def label_subgroups(table: pa.Table, predicted: np.ndarray, notes: HeldOutNotes, seed: int) -> list[dict[str, Any]]:
    """Share of predictions among a note's labels in each group of notes, by rows, as over all: `by`, `group`, rows,
    clusters and metrics."""
    held_out = table.select(["text", *(name for name, _ in PATIENT_GROUP)]).to_pylist()
    right = notes.rows * (notes.counts[np.arange(len(table)), predicted.argmax(axis=1)] > 0)
    groups = subgroups([{**row, "note_text": row["text"], "source": 0} for row in held_out])
    entries = []
    for by, masks in groups.items():
        for group, chosen in masks.items():
            above, below = (each[chosen, None].astype(float) for each in (right, notes.rows))
            (share,) = ratios(above, below, notes.cluster[chosen], seed)
            sizes = {"rows": share["of"], "clusters": share["clusters"]}
            entries.append({"by": by, "group": group, **sizes, "metrics": {"any_label_accuracy": share}})
    return entries


def _common(names: Sequence[str | None], clusters: Sequence[int | None]) -> list[str | None]:
    """Names that at least _FEW different clusters have, at most _MOST of them; the others are OTHERS."""
    counts = Counter(name for name, _ in set(zip(names, clusters, strict=True)) if name)
    listed = sorted(counts, key=lambda name: (-counts[name], name))[:_MOST]
    shown = {name for name in listed if counts[name] >= _FEW}
    return [name if name in shown else OTHERS if name else None for name in names]


def _masks(labels: Sequence[str | None]) -> dict[str, np.ndarray]:
    present = sorted({label for label in labels if label}, key=_order)
    return {name: np.array([label == name for label in labels]) for name in present}


def _order(name: str) -> tuple[int, str]:
    """Bands by their lower bound, other names by the alphabet."""
    bound = _BOUND.match(name)
    return (int(bound[2]) - bool(bound[1]) if bound else 0), name
