"""When a classifier is unsure: the probability below which it does not answer, chosen on the validation notes, and how
many of the held-out notes it then answers, and how many of those rightly (selective classification, Geifman and
El-Yaniv 2017, arXiv:1705.08500)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from components.evaluate.metrics import HeldOutNotes, ratios

_FEWEST = 10  # validation notes that a threshold is chosen by
_POINTS = 20  # of the curve


def threshold_for(probabilities: np.ndarray, counts: np.ndarray, target: float) -> tuple[float, bool]:
    """The lowest probability from which enough of the answered validation notes are right.

    Args:
        probabilities: calibrated, of the validation notes, shape (notes, labels).
        counts: rows of each validation note under each label, shape (notes, labels).
        target: share of the answered notes whose label must be among the note's own.

    Returns:
        The threshold, and whether the target is reached. Where none of at least _FEWEST answered notes reaches it, the
        threshold is that of the largest share.
    """
    if not target:
        return 0.0, True
    confidence, right = _predictions(probabilities, counts)
    order = np.argsort(-confidence, kind="stable")
    answered = np.arange(1, len(order) + 1)
    share = np.cumsum(right[order]) / answered
    last = np.append(np.diff(confidence[order]) < 0, True)  # of equal probabilities all are answered or none
    allowed = last & (answered >= min(_FEWEST, len(order)))
    reached = allowed & (share >= target)
    if reached.any():
        return (0.0 if reached[-1] else float(confidence[order][np.flatnonzero(reached)[-1]])), True
    best = np.flatnonzero(allowed & (share == share[allowed].max()))[-1]
    return float(confidence[order][best]), False


def measure_abstention(
    validation: tuple[np.ndarray, np.ndarray], probabilities: np.ndarray, notes: HeldOutNotes, target: float, seed: int
) -> dict[str, Any]:
    """Choose the threshold on the validation notes and measure it on the held-out ones.

    Args:
        validation: calibrated probabilities and counts of the validation notes, each of shape (notes, labels).
        probabilities: calibrated, of the held-out notes, shape (notes, labels).
        notes: the held-out notes.
        target: share right among the answered validation notes.
        seed: of the bootstrap.

    Returns:
        threshold, target, `reached` (on the validation notes), `answered` (share of the notes) and, where there are
        such notes, `right` and `right_if_unsure` (shares of the notes at or above, and below the threshold, whose
        predicted label is among their own) with intervals; `curve`: for growing shares of the notes, the surest first,
        `answered` (a number) with value, low and high of the share right.
    """
    threshold, reached = threshold_for(*validation, target)
    confidence, right = _predictions(probabilities, notes.counts)
    sure = confidence >= threshold
    numerators = np.column_stack([sure, sure & right, ~sure & right]).astype(float)
    denominators = np.column_stack([np.ones(len(sure)), sure, ~sure]).astype(float)
    names = ("answered", "right", "right_if_unsure")
    estimates = dict(zip(names, ratios(numerators, denominators, notes.cluster, seed), strict=True))
    return {
        "threshold": threshold,
        "target": target,
        "reached": reached,
        **{name: entry for name, entry in estimates.items() if not math.isnan(entry["value"])},
        "curve": _curve(confidence, right, notes.cluster, seed),
    }


def _curve(confidence: np.ndarray, right: np.ndarray, cluster: np.ndarray, seed: int) -> list[dict[str, float]]:
    rank = np.empty(len(confidence), dtype=int)
    rank[np.argsort(-confidence, kind="stable")] = np.arange(len(confidence))
    sizes = np.unique(np.round(np.linspace(0, 1, _POINTS + 1)[1:] * len(rank)).astype(int).clip(min=1))
    chosen = rank[:, None] < sizes[None, :]
    estimates = ratios((chosen & right[:, None]).astype(float), chosen.astype(float), cluster, seed)
    return [{**entry, "answered": float(size / len(rank))} for size, entry in zip(sizes, estimates, strict=True)]


def _predictions(probabilities: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Highest probability of each note, and whether its label is one of the note's own; both of shape (notes,)."""
    predicted = probabilities.argmax(axis=1)
    return probabilities.max(axis=1), counts[np.arange(len(counts)), predicted] > 0
