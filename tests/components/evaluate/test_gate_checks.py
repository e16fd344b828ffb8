"""Checks of the gate: intervals of paired differences."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy.stats import t

from components.evaluate.gate.checks import difference_above
from components.evaluate.metrics import paired


def ends(difference: np.ndarray) -> tuple[float, float, float]:
    """Difference and interval, in points, as the check states them."""
    notes = len(difference)
    comparison = paired(difference, np.ones(notes), np.arange(notes), 0)
    figures = re.findall(r"[+-]\d+\.\d", difference_above("x", "token F1", comparison, 0.0).detail)
    return float(figures[0]), float(figures[1]), float(figures[2])


@pytest.mark.parametrize(
    "gains",
    [
        [-1.0, -0.9, 0.8, -1.0, 0.9, -0.6, -0.9],
        [1.0, -1.0],
        [0.4],
        [1.0, 1.0, 1.0],
        [-1.0] * 6 + [1.0],
        [0.0, 0.0, 0.0],
    ],
)
def test_no_difference_leaves_what_is_possible(gains: list[float]) -> None:
    difference, low, high = ends(np.array(gains))
    assert -100 <= low <= difference <= high <= 100


def test_one_note_shows_nothing() -> None:
    assert ends(np.array([0.4])) == (40.0, -100.0, 100.0)


def test_the_interval_of_enough_notes_is_that_of_a_mean() -> None:
    gains = np.random.default_rng(0).normal(0.1, 0.3, 200).clip(-1, 1)
    difference, low, high = ends(gains)
    half = 100 * t.ppf(0.975, 199) * gains.std(ddof=1) / 200**0.5
    assert (low, high) == (pytest.approx(difference - half, abs=0.5), pytest.approx(difference + half, abs=0.5))
