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


def test_one_note_shows_next_to_nothing() -> None:
    difference, low, high = ends(np.array([0.4]))
    assert difference == 40 and low < -95 and high > 95


def test_the_interval_of_enough_notes_is_that_of_a_mean() -> None:
    """It is wider by what one more note could change, and the noise of that."""
    gains = np.random.default_rng(0).normal(0.1, 0.3, 2000).clip(-1, 1)
    difference, low, high = ends(gains)
    half = 100 * t.ppf(0.975, 1999) * gains.std(ddof=1) / 2000**0.5
    assert (low, high) == (pytest.approx(difference - half, abs=0.2), pytest.approx(difference + half, abs=0.2))


@pytest.mark.parametrize("notes", [10, 20, 40])
def test_notes_without_any_difference_do_not_show_that_there_is_none(notes: int) -> None:
    comparison = paired(np.zeros(notes), np.ones(notes), np.arange(notes), 0)
    assert not difference_above("not worse by 2 points", "token F1", comparison, -0.02).passed
    many = paired(np.zeros(500), np.ones(500), np.arange(500), 0)
    assert difference_above("not worse by 2 points", "token F1", many, -0.02).passed


@pytest.mark.parametrize("notes", [10, 20, 50])
def test_a_rare_loss_that_few_notes_can_miss_does_not_pass(notes: int) -> None:
    """One answer in 15 is lost as a whole, a loss of 6.7 points: shown to be within 5 points in at most 2.5 % of
    runs, where a bootstrap of the notes, none of which may have it, would show so in up to half of them."""
    draw, passed = np.random.default_rng(3), 0
    for seed in range(200):
        lost = -(draw.random(notes) < 1 / 15).astype(float)
        comparison = paired(lost, np.ones(notes), np.arange(notes), seed)
        passed += difference_above("not worse", "token F1", comparison, -0.05).passed
    assert passed <= 5
