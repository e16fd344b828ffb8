"""Checks of the gate: intervals of paired differences, and which word stands for what they do not show."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom, t

from clinadapt.documents.verdict import MOST, asked_for, result
from components.evaluate.gate.checks import Check, difference_above, share_at_least, share_at_most
from components.evaluate.metrics import exact_upper, paired, ratios


def ends(difference: np.ndarray) -> tuple[float, float, float]:
    """Difference and interval, in points, as the check states them."""
    notes = len(difference)
    comparison = paired(difference, np.ones(notes), np.arange(notes), 0)
    figures = re.findall(r"[+-]\d+\.\d", difference_above("x", "token F1", comparison, 0.0, notes).detail)
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
    assert not difference_above("not worse by 2 points", "token F1", comparison, -0.02, notes).passed
    many = paired(np.zeros(500), np.ones(500), np.arange(500), 0)
    assert difference_above("not worse by 2 points", "token F1", many, -0.02, 500).passed


@pytest.mark.parametrize("notes", [10, 20, 50])
def test_a_rare_loss_that_few_notes_can_miss_does_not_pass(notes: int) -> None:
    """One answer in 15 is lost as a whole, a loss of 6.7 points: shown to be within 5 points in at most 2.5 % of
    runs, where a bootstrap of the notes, none of which may have it, would show so in up to half of them."""
    draw, passed = np.random.default_rng(3), 0
    for seed in range(200):
        lost = -(draw.random(notes) < 1 / 15).astype(float)
        comparison = paired(lost, np.ones(notes), np.arange(notes), seed)
        passed += difference_above("not worse", "token F1", comparison, -0.05, notes).passed
    assert passed <= 5


def level(notes: int, told: float = 1.0) -> Check:
    """Of non-inferiority by 2 points, where a share of the notes tells no difference and the others tell nothing."""
    clusters = round(told * notes)
    comparison = paired(np.zeros(clusters), np.ones(clusters), np.arange(clusters), 0)
    return difference_above("not worse by 2 points", "token F1", comparison, -0.02, notes)


@pytest.mark.parametrize("notes", [3, 9, 10, 13, 20, 34, 36, 100])
def test_level_with_the_champion_asks_for_notes_however_few_there_are(notes: int) -> None:
    check = level(notes)
    assert (check.passed, result(check._asdict())) == (False, "not enough evidence")
    assert 260 <= notes + check.more_notes <= 320 and level(notes + check.more_notes).passed
    assert not level((notes + check.more_notes) // 2).passed  # it asks for no more than is needed for the power


def test_notes_that_tell_nothing_of_a_check_are_asked_for_along() -> None:
    every, fifth = level(20), level(100, told=0.2)
    assert fifth.more_notes == pytest.approx(5 * every.more_notes, abs=5)


@pytest.mark.parametrize("clusters", [3, 12, 40, 400])
def test_only_an_estimate_that_violates_its_bound_fails(clusters: int) -> None:
    for wrong in range(0, clusters + 1, max(1, clusters // 40)):
        values = (np.arange(clusters) < wrong).astype(float)
        one, cluster = np.ones((clusters, 1)), np.arange(clusters)
        (share,), (right,) = (ratios(each[:, None], one, cluster, 0) for each in (values, 1 - values))
        compared = paired(-values, one[:, 0], cluster, 0)
        checks = (
            (share_at_most("x", "x", share, 0.25, clusters), wrong > 0.25 * clusters),
            (share_at_least("x", "x", right, 0.75, clusters), wrong > 0.25 * clusters),
            (difference_above("x", "x", compared, -0.25, clusters), wrong >= 0.25 * clusters),
        )
        for check, violated in checks:
            words = result(check._asdict())
            assert words == "not enough evidence" if clusters < 10 else (words == "failed") == violated, check
            assert (words == "not enough evidence") == (0 < check.more_notes <= MOST)


def test_what_no_number_of_notes_can_show_is_no_failure() -> None:
    """That no answer at all is wrong."""
    none: dict[str, Any] = {"value": 0.0, "low": 0.0, "high": 0.1, "clusters": 100}
    check = share_at_most("few", "claims", none, 0.0, 100)
    assert (check.passed, check.more_notes, asked_for(MOST, "notes")) == (False, MOST, "no number of notes can show it")


@pytest.mark.parametrize(("wrong", "notes"), [(1, 20), (1, 21), (1, 30), (2, 40)])
def test_an_estimate_at_its_bound_asks_for_what_shows_a_better_true_value(wrong: int, notes: int) -> None:
    """One wrong answer of 20 is at the bound of 5 %, and may be 1 %: as many notes are asked for as show 2.5 %."""
    values = (np.arange(notes) < wrong).astype(float)
    (share,) = ratios(values[:, None], np.ones((notes, 1)), np.arange(notes), 0)
    check = share_at_most("few", "claims", share, 0.05, notes)
    assert "too near to tell" in check.detail and "true value 2.5 points better than required" in check.detail
    asked = notes + check.more_notes
    most = max(count for count in range(asked) if exact_upper(count / asked, asked) <= 0.05)
    assert 500 < asked < 800 and binom.cdf(most, asked, 0.025) > 0.8 > binom.cdf(most, asked, 0.045)


def test_a_plan_is_for_ten_points_at_most() -> None:
    half: dict[str, Any] = {"value": 0.54, "low": 0.23, "high": 0.73, "clusters": 13}
    check = share_at_least("exact", "answers", half, 0.5, 13)
    assert "true value 10.0 points better than required" in check.detail and check.more_notes < 250


def test_one_cluster_of_notes_is_too_few() -> None:
    one: dict[str, Any] = {"value": 1.0, "low": 0.02, "high": 1.0, "clusters": 1}
    check = share_at_least("exact", "answers", one, 0.5, 1)
    assert not check.passed and check.more_notes > 0 and check.detail.endswith("; 1 cluster of notes is too few")


@pytest.mark.parametrize("notes", [20, 200, 2000])
def test_a_difference_near_its_bound_asks_for_what_shows_two_points_or_what_the_notes_leave_open(notes: int) -> None:
    compared = paired(np.tile([0.301, -0.299], notes // 2), np.ones(notes), np.arange(notes), 0)
    check = difference_above("x", "x", compared, 0.0, notes)
    assert "too near to tell" in check.detail and check.more_notes < 12 * max(notes, 200)


@pytest.mark.parametrize(("share", "bound"), [(0.02, 0.05), (0.06, 0.1), (0.3, 0.5)])
def test_as_many_notes_as_it_asks_for_have_the_power(share: float, bound: float) -> None:
    """In 80 % of samples of so many notes, if their share is the estimate, the check passes; not in nearly all."""
    draw = np.random.default_rng(0)

    def check(values: np.ndarray) -> Check:
        number = len(values)
        (estimate,) = ratios(values[:, None], np.ones((number, 1)), np.arange(number), 0)
        return share_at_most("few", "claims", estimate, bound, number)

    few = check((np.arange(50) < 50 * share).astype(float))
    passed = [check((draw.random(50 + few.more_notes) < share).astype(float)).passed for _ in range(100)]
    assert 0.7 < np.mean(passed) < 0.99


@pytest.mark.parametrize("notes", [20, 50])
def test_no_wrong_answer_of_a_few_notes_does_not_mean_that_there_will_be_none(notes: int) -> None:
    """Planned with no spread at all they would ask for 106 notes in all, with which a true 1 % passes in a third of the
    samples."""
    none = ratios(np.zeros((notes, 1)), np.ones((notes, 1)), np.arange(notes), 0)[0]
    asked = notes + share_at_most("few", "claims", none, 0.05, notes).more_notes
    most = max(count for count in range(asked) if exact_upper(count / asked, asked) <= 0.05)
    assert asked < 300 and binom.cdf(most, asked, 0.01) > 0.75


@pytest.mark.parametrize("notes", [20, 50])
def test_a_difference_of_few_notes_is_planned_with_more_spread_than_they_show(notes: int) -> None:
    """Five points with a standard deviation of 30: 282 notes have the power (2.8 standard errors)."""
    compared = paired(np.tile([0.35, -0.25], notes // 2), np.ones(notes), np.arange(notes), 0)
    assert 282 <= notes + difference_above("x", "x", compared, 0.0, notes).more_notes <= 1.4 * 282


def test_a_share_that_no_row_tells_asks_for_as_many_as_may_show_it() -> None:
    """None of 72 may still be 5 %, and all of 17 may still be 80 %."""
    assert share_at_most("few", "refusals", None, 0.05, 40).more_notes == 72
    assert share_at_least("few missed", "refusals", None, 0.8, 40).more_notes == 17
    assert share_at_least("exact", "answers", None, 0.5, 40).more_notes == 10
