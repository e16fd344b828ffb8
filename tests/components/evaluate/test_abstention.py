"""When a classifier is unsure: the threshold that validation notes give, and what held-out notes say of it."""

from __future__ import annotations

import numpy as np
import pytest

from components.evaluate.abstention import measure_abstention, threshold_for
from components.evaluate.metrics import HeldOutNotes


def drawn(notes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated probabilities of two labels, and labels drawn by them."""
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.5, 1, notes)
    right = rng.random(notes) < p
    return np.column_stack([p, 1 - p]), np.eye(2)[np.where(right, 0, 1)]


def test_the_lowest_threshold_with_enough_right_answers() -> None:
    p = np.array([[x, 1 - x] for x in np.linspace(0.99, 0.51, 20)])
    counts = np.eye(2)[[0] * 14 + [1] * 6]
    assert threshold_for(p, counts, 0.9) == (pytest.approx(p[14, 0]), True)  # 14 of 15 right, 14 of 16 too few
    assert threshold_for(p, counts, 0.7) == (0.0, True)  # 14 of 20: all may be answered
    assert threshold_for(p, counts, 0.0) == (0.0, True)
    assert threshold_for(p, 1 - counts, 0.9) == (pytest.approx(p[-1, 0]), False)  # never reached: the largest share
    three = slice(0, 3)
    assert threshold_for(p[three], counts[three], 0.9) == (0.0, True)


def test_equal_probabilities_are_all_answered_or_none() -> None:
    p = np.array([[0.9, 0.1]] * 12 + [[0.6, 0.4]] * 12)
    counts = np.eye(2)[[0] * 12 + [0, 1] * 6]
    threshold, reached = threshold_for(p, counts, 0.95)
    assert (threshold, reached) == (0.9, True)


def test_held_out_notes_keep_what_was_asked_for() -> None:
    validation, (p, counts) = drawn(2000, 1), drawn(4000, 2)
    result = measure_abstention(validation, p, HeldOutNotes(counts, np.arange(4000)), 0.9, 0)
    assert result["reached"] and 0.75 < result["threshold"] < 0.85  # the mean of [t, 1] is 0.9 at t = 0.8
    assert result["right"]["low"] < 0.9 < result["right"]["high"] + 0.01
    assert result["answered"]["value"] == pytest.approx(2 * (1 - result["threshold"]), abs=0.03)
    assert result["right_if_unsure"]["value"] < 0.7
    assert [point["answered"] for point in result["curve"]] == pytest.approx(np.arange(1, 21) / 20)
    assert result["curve"][0]["value"] > result["curve"][-1]["value"] == pytest.approx((counts[:, 0] > 0).mean())


def test_a_note_with_two_labels_is_right_with_either_and_no_answer_gives_no_share() -> None:
    p, counts = np.array([[0.6, 0.4]] * 3), np.array([[1, 1], [1, 1], [2, 0]])
    notes = HeldOutNotes(counts, np.arange(3))
    sure = measure_abstention((np.array([[0.95, 0.05]] * 12), np.eye(2)[[0] * 11 + [1]]), p, notes, 0.95, 0)
    assert sure["threshold"] == 0.95 and not sure["reached"] and sure["answered"]["value"] == 0
    assert "right" not in sure and sure["right_if_unsure"]["value"] == 1
