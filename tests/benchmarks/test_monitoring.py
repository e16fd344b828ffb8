"""How often the monitor gives a false alarm in years of daily checks, and how soon it finds a shift; beside it what the
best test could find that knows the share and the size of the shift.

python -m pytest tests/benchmarks/test_monitoring.py --benchmarks -s
CLINADAPT_BENCH_YEARS (20) is the number of simulated years of each kind, CLINADAPT_BENCH_SHIFTS (40) that of shifts.
"""

from __future__ import annotations

import os
from datetime import timedelta
from itertools import chain

import numpy as np
import pytest
from scipy.stats import chi2
from simulated_use import CLASSIFY, INSTRUCT, Shares, checks, drawn, evaluated, moved, share

from clinadapt.monitoring.comparison import FALSE_ALARMS_PER_YEAR, Share

YEARS = int(os.environ.get("CLINADAPT_BENCH_YEARS", "20"))
SHIFTS = int(os.environ.get("CLINADAPT_BENCH_SHIFTS", "40"))
BEFORE, AFTER = 60, 10  # days of 50 answers before a shift, and after it
CUSUM_YEARS, CUSUM_SHIFTS = 1_000, 4_000


@pytest.mark.parametrize(
    ("recipe", "shares", "answers"),
    [("instruct", INSTRUCT, 30), ("instruct", INSTRUCT, 2_000), ("classify", CLASSIFY, 100)],
)
def test_false_alarms(recipe: str, shares: Shares, answers: int) -> None:
    """Each year has an evaluation of its own, of 800 answers."""
    alarms = 0
    for year in range(YEARS):
        rng = np.random.default_rng(year)
        baseline = evaluated(rng, 800, shares)
        use = (drawn(rng, answers, shares) for _ in range(365))
        days = [day for day, tests in checks(baseline, use) if tests]
        alarms += sum(day - timedelta(1) not in days for day in days)
    low, high = chi2.ppf(0.025, 2 * alarms) / 2 if alarms else 0.0, chi2.ppf(0.975, 2 * alarms + 2) / 2
    print(
        f"\n{recipe}, {answers} answers a day: {alarms} false alarms in {YEARS} years, "
        f"{alarms / YEARS:.2f} a year ({low / YEARS:.2f}-{high / YEARS:.2f})"
    )
    assert alarms / YEARS <= FALSE_ALARMS_PER_YEAR


@pytest.mark.parametrize(
    ("figure", "cell", "shares", "evaluation", "before", "by"),
    [
        ("refusals", "yes", INSTRUCT, 800, 0.05, 0.1),
        ("refusals", "yes", INSTRUCT, 800, 0.1, 0.1),
        ("refusals", "yes", INSTRUCT, 800, 0.2, 0.1),
        ("refusals", "yes", INSTRUCT, 800, 0.3, 0.1),
        ("refusals", "yes", INSTRUCT, 800, 0.45, 0.1),
        ("unsupported", "yes", INSTRUCT, 300, 0.08, 0.1),
        ("unsupported", "yes", INSTRUCT, 800, 0.3, -0.1),
        ("label", "Neurology", CLASSIFY, 500, 0.12, 0.1),
        ("label", "Orthopedics", CLASSIFY, 500, 0.25, 0.1),
        ("label", "Cardiology", CLASSIFY, 500, 0.35, 0.1),
    ],
)
def test_ten_points(figure: str, cell: str, shares: Shares, evaluation: int, before: float, by: float) -> None:
    if cell == "yes":
        shares = shares | {figure: share(before)}
    assert shares[figure][cell] == pytest.approx(before)
    delays = []
    for seed in range(SHIFTS):
        rng = np.random.default_rng(seed)
        baseline = evaluated(rng, evaluation, shares)
        use = chain(
            (drawn(rng, 50, shares) for _ in range(BEFORE)),
            (drawn(rng, 50, moved(shares, figure, cell, by)) for _ in range(AFTER)),
        )
        looks = checks(baseline, use, first_look=BEFORE, read_days=90)
        found = (50 * (i + 1) for i, (_, tests) in enumerate(looks) if any(test.figure == figure for test in tests))
        delays.append(next(found, 0))
    detected = Share(sum(delay > 0 for delay in delays), SHIFTS)
    low, high = detected.interval()
    median = np.median([delay or np.inf for delay in delays])
    print(
        f"\n{figure} {cell}, {before:.0%} {by:+.0%}, evaluation of {evaluation}, {50 * BEFORE} answers in use before: "
        f"{detected.value:.0%} ({low:.0%}-{high:.0%}) found within 500 notes, half of them within {median:.0f}"
    )
    cells = len(shares[figure]) if cell != "yes" else 1
    for rate in (FALSE_ALARMS_PER_YEAR, FALSE_ALARMS_PER_YEAR / 3):
        best = found_by_cusum(before, by, rate / len(shares) / cells)
        print(f"    a CUSUM that knows both, with {rate:.2f} false alarms a year over all figures: {best:.0%}")
    assert detected.value >= (0.8 if max(before, before + by) <= 0.3 else 0.5)


def found_by_cusum(before: float, by: float, false_alarms: float) -> float:
    """Share of shifts that a CUSUM finds within AFTER days of 50 answers, with so many false alarms a year. It knows
    the share before, and that a shift is `by` up or down."""
    rng = np.random.default_rng(0)
    quiet = cusum(rng.binomial(50, before, (CUSUM_YEARS, BEFORE + 365)), before, by)[:, BEFORE:]
    low, high = 0.0, 30.0
    for _ in range(30):
        middle = (low + high) / 2
        above = quiet > middle
        episodes = above[:, 0].sum() + (above[:, 1:] & ~above[:, :-1]).sum()
        low, high = (middle, high) if episodes > false_alarms * CUSUM_YEARS else (low, middle)
    first = rng.binomial(50, before, (CUSUM_SHIFTS, BEFORE))
    then = rng.binomial(50, before + by, (CUSUM_SHIFTS, AFTER))
    return float((cusum(np.hstack([first, then]), before, by)[:, BEFORE:] > high).any(axis=1).mean())


def cusum(counts: np.ndarray, before: float, by: float) -> np.ndarray:
    """The larger of the two sums of log likelihood ratios at each day, of `counts` of 50, shape (repetitions, days)."""
    result = np.zeros(counts.shape)
    for after in (each for each in (before + by, before - by) if 0 < each < 1):
        gain = counts * np.log(after / before) + (50 - counts) * np.log((1 - after) / (1 - before))
        total = np.zeros(len(counts))
        for day in range(counts.shape[1]):
            total = np.maximum(0, total + gain[:, day])
            result[:, day] = np.maximum(result[:, day], total)
    return result
