"""Classes for cross-listed notes: each frequent set of labels is a class of its own.

A note that is listed under two labels is not half of each: it is a kind of note of its own, for which each label is
right in half of its rows. A head over label sets (label powerset, Tsoumakas & Katakis 2007) can say so with confidence,
and its probabilities of single labels follow as sums. With soft targets over single labels instead, small leanings to
one of the two labels read as confidence, and calibration suffers.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from scipy.special import log_softmax, logsumexp


def find_sets(counts: np.ndarray, smallest: int) -> list[list[int]]:
    """Every single label, then every larger set of labels that at least `smallest` notes are listed under.

    Args:
        counts: rows that list each note under each label, shape (notes, labels).
        smallest: notes.

    Returns:
        Sets as ascending label numbers.
    """
    found = Counter(tuple(np.flatnonzero(row).tolist()) for row in counts)
    larger = sorted(labels for labels, notes in found.items() if len(labels) > 1 and notes >= smallest)
    return [[label] for label in range(counts.shape[1])] + [list(labels) for labels in larger]


def set_targets(counts: np.ndarray, sets: list[list[int]]) -> np.ndarray:
    """Target distribution of each note over `sets`, shape (notes, sets): all on its own set; a note whose set is none
    of them is shared out among its single labels by their rows."""
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
    """Log probabilities of single labels, shape (notes, labels), from logits over sets, shape (notes, sets): within a
    set each label is as likely as the other."""
    share = np.zeros((len(sets), labels))
    for row, members in zip(share, sets, strict=True):
        row[members] = 1 / len(members)
    return logsumexp(log_softmax(logits, axis=1)[:, :, None], axis=1, b=share)
