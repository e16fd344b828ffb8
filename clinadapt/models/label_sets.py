"""Classes for cross-listed notes: each frequent set of labels becomes a class of its own.

A note that is listed under two labels is not half of each. It is a kind of note of its own, for which each of the two
labels is right in half of its rows. A head over label sets (label powerset, Tsoumakas & Katakis 2007) can predict that
with confidence, and the probabilities of single labels follow as sums. With soft targets over single labels instead,
a slight preference for one of the two labels reads as confidence, and calibration suffers.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from scipy.special import log_softmax, logsumexp


def find_label_sets(counts: np.ndarray, smallest: int) -> list[list[int]]:
    """List every single label, then every larger set of labels that at least `smallest` notes are listed under.

    Args:
        counts: (notes, labels), the rows that list each note under each label.
        smallest: number of notes.

    Returns:
        Label sets, each as ascending label indices.
    """
    notes_by_set = Counter(tuple(np.flatnonzero(row).tolist()) for row in counts)
    larger = sorted(labels for labels, notes in notes_by_set.items() if len(labels) > 1 and notes >= smallest)
    return [[label] for label in range(counts.shape[1])] + [list(labels) for labels in larger]


def label_set_targets(counts: np.ndarray, sets: list[list[int]]) -> np.ndarray:
    """The target distribution of each note over label sets.

    All mass is on the note's own set; where that set is not in `sets`, it is spread over the note's single labels in
    proportion to their rows.

    Args:
        counts: (notes, labels), the rows that list each note under each label.
        sets: as `find_label_sets` returns them.

    Returns:
        (notes, sets), rows that add up to 1.
    """
    column = {tuple(labels): i for i, labels in enumerate(sets)}
    targets = np.zeros((len(counts), len(sets)))
    for target, row in zip(targets, counts, strict=True):
        own = column.get(tuple(np.flatnonzero(row).tolist()))
        if own is None:
            target[: counts.shape[1]] = row / row.sum()
        else:
            target[own] = 1
    return targets


def label_logits(logits: np.ndarray, sets: list[list[int]], labels: int) -> np.ndarray:
    """Log probabilities of single labels; the probability of a set is divided evenly among its labels.

    Args:
        logits: (notes, sets).
        sets: label indices of each set.
        labels: number of labels.

    Returns:
        (notes, labels).
    """
    share = np.zeros((len(sets), labels))
    for row, members in zip(share, sets, strict=True):
        row[members] = 1 / len(members)
    return logsumexp(log_softmax(logits, axis=1)[:, :, None], axis=1, b=share)
