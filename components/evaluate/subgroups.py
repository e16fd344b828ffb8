"""Groups of held-out rows in which a model may be worse: by source, specialty, length of the note, sex and age."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from clinadapt.clinical.claims.reading import read
from components.evaluate.metrics import HeldOutNotes, ratios

_WORDS = (0, 150, 400, 1_000_000)  # of a note: bounds of the bands of length
_YEARS = (0, 18, 40, 65, 80, 150)  # bounds of the bands of age
_MOST, _FEW = 12, 10  # specialties that are named, and clusters of notes below which none is
_BOUND = re.compile(r"(under )?(\d+) (?:to|and|years|words)\b", re.ASCII)
OTHERS = "other specialties"
_SEXES = {"F": "female", "M": "male"}


def subgroups(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, np.ndarray]]:
    """Split rows in several ways.

    Args:
        rows: with note_text and source; where the source tells it, with specialty and cluster.

    Returns:
        What they are split by -> name of a group -> which rows are in it, bool of shape (rows,). Sex and age are those
        that the note tells; rows whose note tells none are in no group. Specialties with few clusters, of which each
        patient is in one, are one group, as few patients may give away who they are. A way that makes one group only is
        left out.
    """
    readings = [read(row["note_text"]) for row in rows]
    ages = [reading.ages[0][2] if reading.ages else None for reading in readings]
    sexes = [reading.sex[0] if reading.sex else None for reading in readings]
    words = [len(row["note_text"].split()) for row in rows]
    names: dict[str, list[str | None]] = {
        "source": [f"source {row['source'] + 1}" for row in rows],
        "specialty": _common([row.get("specialty") for row in rows], [row.get("cluster") for row in rows]),
        "length of the note": [_band(number, _WORDS, "words") for number in words],
        "sex of the patient": [_SEXES.get(sex or "") for sex in sexes],
        "age of the patient": [_band(age, _YEARS, "years") for age in ages],
    }
    groups = {by: _masks(labels) for by, labels in names.items()}
    return {by: masks for by, masks in groups.items() if len(masks) > 1}


def label_subgroups(texts: list[str], predicted: np.ndarray, notes: HeldOutNotes, seed: int) -> list[dict[str, Any]]:
    """Share of predictions among a note's labels in each group of notes, by rows, as over all: `by`, `group`, rows,
    clusters and metrics."""
    right = notes.rows * (notes.counts[np.arange(len(texts)), predicted.argmax(axis=1)] > 0)
    groups = subgroups([{"note_text": text, "source": 0} for text in texts])
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


def _band(number: float | None, bounds: Sequence[int], unit: str) -> str | None:
    """The band that a number is in: `under 18 years`, `18 to 39 years`, `80 years and more`."""
    for position, (low, high) in enumerate(pairwise(bounds)):
        if number is not None and low <= number < high:
            if not position:
                return f"under {high} {unit}"
            return f"{low} {unit} and more" if high == bounds[-1] else f"{low} to {high - 1} {unit}"
    return None


def _masks(labels: Sequence[str | None]) -> dict[str, np.ndarray]:
    present = sorted({label for label in labels if label}, key=_order)
    return {name: np.array([label == name for label in labels]) for name in present}


def _order(name: str) -> tuple[int, str]:
    """Bands by their lower bound, other names by the alphabet."""
    bound = _BOUND.match(name)
    return (int(bound[2]) - bool(bound[1]) if bound else 0), name
