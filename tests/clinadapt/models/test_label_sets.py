"""A head over label sets: sets found, targets made, and single labels read back from it."""

import numpy as np
import pytest
from scipy.special import softmax

from clinadapt.models.label_sets import find_label_sets, label_logits, label_set_targets

# two notes of each single label, five of {0, 2}, one of {0, 1, 2}; one of them listed twice under 0
COUNTS = np.array([[1, 0, 0]] * 2 + [[0, 1, 0]] * 2 + [[0, 0, 1]] * 2 + [[1, 0, 1]] * 4 + [[2, 0, 1]] + [[2, 1, 1]])


def test_single_labels_come_first_and_rare_sets_stay_out() -> None:
    assert find_label_sets(COUNTS, smallest=5) == [[0], [1], [2], [0, 2]]
    assert find_label_sets(COUNTS, smallest=6) == [[0], [1], [2]]
    assert find_label_sets(COUNTS, smallest=1) == [[0], [1], [2], [0, 1, 2], [0, 2]]


def test_targets_are_distributions() -> None:
    targets = label_set_targets(COUNTS, [[0], [1], [2], [0, 2]])
    assert targets.sum(axis=1) == pytest.approx(1)
    assert targets[0].tolist() == [1, 0, 0, 0]
    assert targets[10].tolist() == [0, 0, 0, 1]
    assert targets[11].tolist() == [0.5, 0.25, 0.25, 0]


def test_without_sets_the_targets_are_the_shares_of_the_rows() -> None:
    assert label_set_targets(COUNTS, [[0], [1], [2]]) == pytest.approx(COUNTS / COUNTS.sum(axis=1, keepdims=True))


def test_single_labels_are_sums_over_their_sets() -> None:
    sets = [[0], [1], [2], [0, 2]]
    over_sets = np.random.default_rng(0).normal(size=(50, 4))
    p = softmax(over_sets, axis=1)
    expected = np.column_stack([p[:, 0] + p[:, 3] / 2, p[:, 1], p[:, 2] + p[:, 3] / 2])
    assert np.exp(label_logits(over_sets, sets, 3)) == pytest.approx(expected)


def test_a_sure_set_gives_exact_halves() -> None:
    sure = np.array([[-50.0, -50.0, -50.0, 50.0]])
    assert np.exp(label_logits(sure, [[0], [1], [2], [0, 2]], 3))[0] == pytest.approx([0.5, 0, 0.5])
