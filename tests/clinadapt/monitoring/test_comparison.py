"""Use against the evaluation: what is an alarm and what is not, with simulated use."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import chain

import numpy as np
import pytest
from scipy.stats import fisher_exact
from simulated_use import CLASSIFY, FIRST, INSTRUCT, Shares, checks, drawn, evaluated, moved

from clinadapt.monitoring.aggregates import Aggregate, Baseline
from clinadapt.monitoring.comparison import FALSE_ALARMS_PER_YEAR, Share, _p_value, compare, psi
from clinadapt.monitoring.wording import sentence

SEEDS = 5


def test_a_year_of_daily_checks_has_at_most_one_false_alarm() -> None:
    """tests/benchmarks/test_monitoring.py simulates many years."""
    rng = np.random.default_rng(3)
    baseline = evaluated(rng, 600, INSTRUCT)
    alarmed = [day for day, alarms in checks(baseline, (drawn(rng, 40, INSTRUCT) for _ in range(365))) if alarms]
    episodes = sum(day - timedelta(1) not in alarmed for day in alarmed)
    print(f"{episodes} false alarms in a year of daily checks")
    assert episodes <= FALSE_ALARMS_PER_YEAR == 1


@pytest.mark.parametrize(
    ("shares", "figure", "cell"),
    [(INSTRUCT, "refusals", "yes"), (INSTRUCT, "unsupported", "yes"), (CLASSIFY, "label", "Neurology")],
)
def test_ten_points_are_found_within_500_notes(shares: Shares, figure: str, cell: str) -> None:
    found, missed = 0, []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        baseline = evaluated(rng, 600, shares)
        before = (drawn(rng, 100, shares) for _ in range(30))
        after = (drawn(rng, 100, moved(shares, figure, cell, 0.1)) for _ in range(5))
        looks = list(checks(baseline, chain(before, after), first_look=30))
        alarms = [test for _, tests in looks for test in tests if test.figure == figure]
        found += bool(alarms)
        missed += [seed] if not alarms else []
        if alarms:
            assert alarms[-1].cell == cell and alarms[-1].use.value > alarms[-1].reference.value
            assert abs((alarms[-1].since or FIRST) - (FIRST + timedelta(30))) <= timedelta(7)
    print(f"{figure}: {found} of {SEEDS} found, not with seeds {missed}")
    assert found == SEEDS


def test_a_shift_since_the_first_day_is_held_against_the_evaluation() -> None:
    rng = np.random.default_rng(1)
    baseline = evaluated(rng, 2_000, INSTRUCT)
    (day, alarms), *_ = checks(baseline, iter([drawn(rng, 500, moved(INSTRUCT, "refusals", "yes", 0.1))]))
    assert [test.figure for test in alarms] == ["refusals"] and alarms[0].against == "the evaluation"
    assert alarms[0].since == day == FIRST


def test_the_sentence_says_what_since_when_by_how_much_and_how_certain() -> None:
    counts = {"refusals": {"yes": 80, "no": 920}}
    use = {date(2026, 3, 1): {"yes": 40, "no": 460}, date(2026, 3, 2): {"yes": 120, "no": 380}}
    days = {day: Aggregate(500, 500, 0, {"refusals": cells}) for day, cells in use.items()}
    text = sentence(compare(Baseline(Aggregate(1000, 1000, 0, counts)), days))
    assert text == (
        "Refusals rose from 8.0\u202f% in the evaluation and earlier use to 24.0\u202f% (20.5 to 27.9\u202f%) of the "
        "last 500 answers, since about 2 March 2026; chance alone gives such a difference of one share less than once "
        "in 1,000,000 comparisons."
    )
    days[date(2026, 3, 2)] = Aggregate(500, 500, 0, {"refusals": {"yes": 80, "no": 420}})
    assert " of one share about once in 870,000 c" in sentence(
        compare(Baseline(Aggregate(1000, 1000, 0, counts)), days)
    )


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ({}, "No use: no answers were counted in these days."),
        ({FIRST: 124}, "Not enough use to compare: 124 answers (1 January 2026 to 1 January 2026), at least 125"),
        ({FIRST: 5, FIRST + timedelta(40): 1_000_000}, "Nothing has moved: the last 1,000,000 answers (10 February"),
    ],
)
def test_no_use_little_use_and_a_million_answers_after_days_without(days: dict[date, int], expected: str) -> None:
    rng = np.random.default_rng(0)
    use = {day: drawn(rng, answers, INSTRUCT) for day, answers in days.items()}
    assert sentence(compare(evaluated(rng, 800, INSTRUCT), use)).startswith(expected)


def test_a_certain_but_small_difference_is_no_alarm() -> None:
    rng = np.random.default_rng(0)
    baseline = evaluated(rng, 200_000, INSTRUCT)
    use = {FIRST: drawn(rng, 1_000_000, moved(INSTRUCT, "refusals", "yes", 0.02))}
    assert compare(baseline, use).alarms == []
    use = {FIRST: drawn(rng, 1_000_000, moved(INSTRUCT, "refusals", "yes", 0.04))}
    assert [test.figure for test in compare(baseline, use).alarms] == ["refusals"]


def test_a_version_without_counts_of_its_evaluation_is_compared_with_nothing() -> None:
    use = {FIRST: drawn(np.random.default_rng(0), 500, INSTRUCT)}
    comparison = compare(Baseline(Aggregate()), use)
    assert comparison.figures == [] and sentence(comparison).startswith("Nothing to compare with")


def test_variation_between_days_and_between_notes_of_the_evaluation_count() -> None:
    """The same shares, a shift that is certain for independent answers: not where days or notes differ that much."""
    rng = np.random.default_rng(5)
    steady, wild = ({FIRST + timedelta(i): Aggregate(100, 100, 0, {"refusals": {"yes": k, "no": 100 - k}})
                     for i, k in enumerate(ks)} for ks in ([10] * 40, [0, 20] * 20))  # fmt: skip
    last = {FIRST + timedelta(40 + i): Aggregate(100, 100, 0, {"refusals": {"yes": 20, "no": 80}}) for i in range(5)}
    baseline = evaluated(rng, 1_000, {"refusals": INSTRUCT["refusals"]})
    assert compare(baseline, steady | last).alarms and not compare(baseline, wild | last).alarms
    assert compare(baseline, last).alarms
    assert not compare(Baseline(baseline.aggregate, {"refusals": 10.0}), last).alarms


def test_several_answers_about_a_note_are_less_than_as_many_notes_in_use_too() -> None:
    known = evaluated(np.random.default_rng(5), 1_000, {"refusals": INSTRUCT["refusals"]}).aggregate
    eight = Baseline(Aggregate(known.answers, 125, 0, known.cells), {"refusals": 4.0})
    cells = {"refusals": {"yes": 400, "no": 1_600}}
    one_a_note, eight_a_note = (compare(eight, {FIRST: Aggregate(2_000, notes, 0, cells)}) for notes in (2_000, 250))
    assert one_a_note.alarms and not eight_a_note.alarms


@pytest.mark.parametrize(("notes", "effect"), [(600, 1.0), (150, 2.5)])
def test_asking_the_same_notes_again_makes_no_alarm(notes: int, effect: float) -> None:
    """125 notes asked sixteen times, in a classifier's use or where held-out notes were asked four times: a difference
    that is certain for 2,000 notes is not for these."""
    before = Aggregate(600, notes, 0, {"label": {"Urology": 120, "Cardiology": 480}})
    cells = {"label": {"Urology": 640, "Cardiology": 1_360}}
    once, again = (
        compare(Baseline(before, {"label": effect}), {FIRST: Aggregate(2_000, asked, 0, cells)})
        for asked in (2_000, 125)
    )
    assert once.alarms and not again.alarms


def test_p_values_are_those_of_fishers_exact_test() -> None:
    for (k0, n0), (k1, n1) in [((10, 100), (30, 100)), ((0, 50), (9, 60)), ((90, 900), (5, 500))]:
        table = [[k1, n1 - k1], [k0, n0 - k0]]
        less, greater = (fisher_exact(table, alternative=side)[1] for side in ("less", "greater"))
        assert _p_value(k0, n0, k1, n1) == pytest.approx(min(1, 2 * min(less, greater)), rel=1e-6)


def test_psi_and_intervals() -> None:
    assert psi(np.array([50, 50]), np.array([500, 500])) == pytest.approx(0)
    assert psi(np.array([8_000, 2_000]), np.array([7_000, 3_000])) == pytest.approx(0.0539, abs=1e-3)
    assert np.isnan(psi(np.array([0, 0]), np.array([1, 2])))
    low, high = Share(15, 100).interval()
    assert low == pytest.approx(0.0931, abs=1e-4) and high == pytest.approx(0.2328, abs=1e-4)
