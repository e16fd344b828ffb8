"""Use compared with the evaluation of a version: what has moved, since when, by how much, and how certain that is.

Each day every cell of every tested figure (the share of refusals, of a label, of notes of a length, ...) is compared by
Fisher's exact test, over the last 125, 500 and 2,000 answers (whole days): with its share in the evaluation, and with
that in the evaluation and in earlier use together, which is known more precisely. A figure has moved where one of
these tests is below its threshold and the shares differ by at least LEAST_POINTS.

**False alarms.** The thresholds of all tests of a year of daily checks add up to FALSE_ALARMS_PER_YEAR: it is divided
by 365 looks, the figures and the cells of each, and over windows and references in the parts that WINDOWS and _PARTS
say (weighted Bonferroni; the spending of error over repeated looks is that of Lan and DeMets 1983,
doi:10.1093/biomet/70.3.659, in equal parts). By the union bound the expected number of false alarms in a year is at
most that, whatever the dependence between looks, windows and figures, as long as answers are independent. They are not
quite, hence two corrections of their number: the evaluation's design effect (clinadapt.monitoring.aggregates), and the
variation between earlier days beyond the binomial one (the p' chart of Laney 2002, doi:10.1081/QEN-120003555).

**Power.** tests/benchmarks/test_monitoring.py measures rate and power, beside a CUSUM that knows the share before and
the size of the shift: with the same rate of false alarms, no test finds a shift sooner (Moustakides 1986,
doi:10.1214/aos/1176350164).

**PSI.** The population stability index, sum of (a - e) ln(a / e) over the cells, is shown as a measure of size. Its
usual bounds (0.1, 0.25) hold for large samples only (Yurdakul and Naranjo 2020, J. Risk Model Validation 14(4)), so
nothing is decided by it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

import numpy as np
from scipy.special import xlogy
from scipy.stats import chi2, hypergeom, norm

from clinadapt.data.intervals import wilson
from clinadapt.monitoring.aggregates import Aggregate, Baseline
from clinadapt.monitoring.observations import FIGURES

FALSE_ALARMS_PER_YEAR = 1.0
WINDOWS = {125: 0.2, 500: 0.6, 2000: 0.2}  # answers -> its part of the false alarms
LEAST_POINTS = 0.03  # a smaller difference is no alarm, however certain
_LOOKS = 365
_MOST_ANSWERS = 20_000  # what more of them would tell is beyond LEAST_POINTS
_REFERENCE_DAYS, _REFERENCE_ANSWERS = 14, 20  # days, each with so many answers, that tell the variation between days
_POWER = 0.8
_FAR = 2.5  # standard errors, below which the exact p is above every threshold


Against = Literal["the evaluation", "the evaluation and earlier use"]
_PARTS: dict[Against, float] = {"the evaluation": 0.25, "the evaluation and earlier use": 0.75}  # of the false alarms
_Effective = tuple[np.ndarray, np.ndarray]  # counts and totals, each of shape (cells,)


@dataclass(frozen=True)
class Share:
    """Part of some answers: `count` of `total`."""

    count: int
    total: int

    @property
    def value(self) -> float:
        return self.count / self.total if self.total else math.nan

    def interval(self) -> tuple[float, float]:
        """95 % interval; (0, 1) of no answers."""
        return wilson(self.value, self.total)


@dataclass(frozen=True)
class Test:
    """One cell over one window, held against a reference.

    Attributes:
        figure, cell: what is tested.
        against: the reference.
        reference, use: its shares.
        evaluation: its share in the evaluation alone.
        days: first and last day of the window.
        p: of the two-sided test.
        threshold: below which p is an alarm.
        since: day from which on the shares differ most, the likeliest change; None where nothing moved.
    """

    __test__ = False  # for pytest

    figure: str
    cell: str
    against: Against
    reference: Share
    use: Share
    evaluation: Share
    days: tuple[date, date]
    p: float
    threshold: float
    since: date | None = None

    @property
    def moved(self) -> bool:
        """Whether this is an alarm: not where use has come back to the evaluation after a time away from it."""
        beyond, away = self.use.value - self.reference.value, self.use.value - self.evaluation.value
        return self.p < self.threshold and min(abs(beyond), abs(away)) >= LEAST_POINTS and beyond * away > 0


@dataclass(frozen=True)
class FigureResult:
    """A figure over the last answers.

    Attributes:
        name: key of FIGURES.
        cells: those that it is counted by.
        evaluation, use: counts of the cells, shape (cells,); `use` over the longest window.
        effect: design effect of the evaluation.
        threshold: of p, over 500 answers against the evaluation.
        alarm: the clearest of its tests that is an alarm, if any.
    """

    name: str
    cells: tuple[str, ...]
    evaluation: np.ndarray
    use: np.ndarray
    effect: float
    threshold: float
    alarm: Test | None

    @property
    def psi(self) -> float:
        """Of evaluation and use; NaN where one is empty."""
        return psi(self.evaluation, self.use)

    def smallest_rise(self) -> float:
        """Smallest rise of a share over the evaluation which the window of 500 answers shows with 80 % power, by the
        normal approximation; for a distribution of its largest cell. NaN where it would be above 1."""
        total = int(self.evaluation.sum())
        share = (self.evaluation[0] if FIGURES[self.name].share else self.evaluation.max()) / total
        quantiles = norm.isf(self.threshold / 2) + norm.ppf(_POWER)
        for points in range(round(1000 * LEAST_POINTS), math.ceil(1000 * (1 - share))):
            rise = points / 1000
            middle = share + rise / 2
            error = math.sqrt(middle * (1 - middle) * (self.effect / total + 1 / 500))
            if rise >= quantiles * error:
                return rise
        return math.nan


@dataclass(frozen=True)
class Comparison:
    """A version in use compared with its evaluation.

    Attributes:
        figures: that the evaluation has counted.
        answers, days: of the longest window; no days where there is no use.
        enough: whether there are answers for the shortest window.
    """

    figures: list[FigureResult]
    answers: int
    days: tuple[date, date] | None
    enough: bool

    @property
    def alarms(self) -> list[Test]:
        """Of each figure that has moved its clearest test, the clearest first."""
        return sorted((each.alarm for each in self.figures if each.alarm), key=lambda test: test.p / test.threshold)


def compare(baseline: Baseline, days: Mapping[date, Aggregate]) -> Comparison:
    """Compare the last days with the evaluation.

    Args:
        baseline: of the version.
        days: its use, by day, the oldest first.
    """
    dates = list(days)
    windows = {size: window for size in WINDOWS if (window := _window(days, size))}
    longest = max(windows.values(), key=len) if windows else dates
    names = [name for name in FIGURES if FIGURES[name].tested and baseline.aggregate.cells.get(name)]
    figures = [_figure(name, baseline, days, windows, longest, len(names)) for name in names]
    answers = sum(days[day].answers for day in longest)
    return Comparison(figures, answers, (longest[0], longest[-1]) if longest else None, bool(windows))


def _window(days: Mapping[date, Aggregate], size: int) -> list[date]:
    """The last days that have `size` answers together; all of them where they have fewer, but none where they have
    fewer than the shortest window."""
    chosen: list[date] = []
    answers = 0
    for day in reversed(list(days)):
        if answers >= size:
            break
        chosen.append(day)
        answers += days[day].answers
    return chosen[::-1] if answers >= min(WINDOWS) else []


def _figure(
    name: str,
    baseline: Baseline,
    days: Mapping[date, Aggregate],
    windows: Mapping[int, list[date]],
    longest: list[date],
    figures: int,
) -> FigureResult:
    cells, dates = baseline.named(name), list(days)
    effect = baseline.design_effects.get(name, 1.0)
    counts = _Counts(
        name,
        cells,
        baseline.aggregate.counts(name, cells),
        np.array([days[day].counts(name, cells) for day in dates], dtype=np.int64).reshape(-1, len(cells)),
        effect,
        _use_effect(effect, baseline.aggregate, sum(days.values(), Aggregate())),
    )
    rate = FALSE_ALARMS_PER_YEAR / (_LOOKS * figures * counts.tested)
    parts: dict[int, float] = {}  # number of a window's first day -> its part; a short use has fewer windows
    for size, window in windows.items():
        parts[dates.index(window[0])] = parts.get(dates.index(window[0]), 0) + WINDOWS[size]
    alarms = [test for start, part in parts.items() for test in _tests(counts, dates, start, rate * part) if test.moved]
    clearest = min(alarms, key=lambda test: test.p, default=None)
    if clearest:
        clearest = replace(clearest, since=_change(counts, cells.index(clearest.cell), dates))
    use = counts.by_day[dates.index(longest[0]) :].sum(axis=0) if longest else np.zeros(len(cells), dtype=np.int64)
    threshold = rate * WINDOWS[500] * _PARTS["the evaluation"]
    return FigureResult(name, cells, counts.evaluation, use, effect, threshold, clearest)


@dataclass(frozen=True)
class _Counts:
    """Counts of a figure.

    Attributes:
        evaluation: of each cell, shape (cells,).
        by_day: of each day and cell, shape (days, cells).
        effect, use_effect: design effects of the evaluation and of use.
    """

    name: str
    cells: tuple[str, ...]
    evaluation: np.ndarray
    by_day: np.ndarray
    effect: float
    use_effect: float

    @property
    def tested(self) -> int:
        """How many of the cells are tested, from the first on: of a share one."""
        return 1 if FIGURES[self.name].share else len(self.cells)


def _tests(counts: _Counts, dates: list[date], start: int, rate: float) -> Iterator[Test]:
    """The tests of each cell over the days from number `start` on, but for those that are far from any alarm; `rate` is
    the sum of the thresholds of a cell."""
    tested = counts.tested
    before, use = counts.by_day[:start].sum(axis=0), counts.by_day[start:].sum(axis=0)
    variation = np.maximum(_variation(counts.by_day[:start]), counts.use_effect)
    earlier, seen = _effective(before, variation), _effective(use, variation)
    known = _effective(counts.evaluation, np.full(len(variation), counts.effect))
    references: dict[Against, tuple[np.ndarray, _Effective]] = {"the evaluation": (counts.evaluation, known)}
    if before.sum():
        both = known[0] + earlier[0], known[1] + earlier[1]
        references["the evaluation and earlier use"] = counts.evaluation + before, both
    for against, (reference, effective) in references.items():
        for i in np.flatnonzero(_standard_errors(effective, seen)[:tested] >= _FAR):
            p = _p_value(*(int(each[i]) for each in (*effective, *seen)))
            before_share, share, evaluation = (
                Share(int(each[i]), int(each.sum())) for each in (reference, use, counts.evaluation)
            )
            days, threshold = (dates[start], dates[-1]), rate * (_PARTS[against] if len(references) > 1 else 1)
            yield Test(counts.name, counts.cells[i], against, before_share, share, evaluation, days, p, threshold)


def psi(evaluation: np.ndarray, use: np.ndarray) -> float:
    """Population stability index of two rows of counts, shape (cells,), each count with half a one added; NaN where
    one is empty."""
    if not (evaluation.sum() and use.sum()):
        return math.nan
    e, a = evaluation + 0.5, use + 0.5
    e, a = e / e.sum(), a / a.sum()
    return float(((a - e) * np.log(a / e)).sum())


def _effective(counts: np.ndarray, effect: np.ndarray) -> _Effective:
    """Count and total of as many independent answers as these tell as much as, each of shape (cells,).

    Args:
        counts: of the cells of a figure, shape (cells,).
        effect: variance of each share, relative to that of independent answers, shape (cells,).
    """
    total = counts.sum()
    effective = np.floor(total / np.maximum(effect, total / _MOST_ANSWERS)).astype(np.int64)
    return np.minimum(effective, np.round(counts / max(total, 1) * effective).astype(np.int64)), effective


def _use_effect(effect: float, evaluation: Aggregate, use: Aggregate) -> float:
    """Design effect of use, by how many answers it has about a note and how alike these are: their correlation is that
    in the evaluation (Kish 1965, Survey Sampling, section 5.4); 1, where the evaluation has one answer about each note
    and tells nothing of it, as of a classifier, which always says the same of a note."""
    several, others = (each.answers / max(1, each.notes) - 1 for each in (evaluation, use))
    if not use.notes or others <= 0:
        return 1.0
    return 1 + others * (min(1.0, (effect - 1) / several) if several > 0 else 1.0)


def _standard_errors(reference: _Effective, use: _Effective) -> np.ndarray:
    """How many standard errors the shares of each cell differ by, 0 where a side is empty; shape (cells,)."""
    (k0, n0), (k1, n1) = reference, use
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = (k0 + k1) / (n0 + n1)
        errors = np.abs(k1 / n1 - k0 / n0) / np.sqrt(pooled * (1 - pooled) * (1 / n0 + 1 / n1))
    return np.where(np.isfinite(errors), errors, 0.0)


def _p_value(k0: int, n0: int, k1: int, n1: int) -> float:
    """Fisher's exact test of k0 of n0 and k1 of n1, two-sided by doubling the smaller tail."""
    shape = n0 + n1, k0 + k1, n1
    return float(min(1.0, 2 * min(hypergeom.cdf(k1, *shape), hypergeom.sf(k1 - 1, *shape))))


def _variation(counts: np.ndarray) -> np.ndarray:
    """Variance of each cell's share between days relative to the binomial one, at least 1, shape (cells,): the lower
    end of its one-sided 80 % interval, since a few days alone tell it badly; 1 where too few do.

    Args:
        counts: of each day before the window, shape (days, cells).
    """
    counts = counts[counts.sum(axis=1) >= _REFERENCE_ANSWERS]
    if len(counts) < _REFERENCE_DAYS:
        return np.ones(counts.shape[1])
    totals = counts.sum(axis=1, keepdims=True)
    share = counts.sum(axis=0) / totals.sum()
    binomial = totals * share * (1 - share)
    squares = np.divide((counts - totals * share) ** 2, binomial, out=np.zeros(counts.shape), where=binomial > 0)
    return np.maximum(1.0, squares.sum(axis=0) / chi2.isf(0.2, len(counts) - 1))


def _change(counts: _Counts, cell: int, dates: list[date]) -> date:
    """The likeliest first day of a share of its own: the maximum of the likelihood over all days, where those before
    it have the share of the evaluation (Hinkley 1970, doi:10.1093/biomet/57.1.1)."""
    successes = np.concatenate([counts.evaluation[[cell]], counts.by_day[:, cell]]).cumsum()
    totals = np.concatenate([[counts.evaluation.sum()], counts.by_day.sum(axis=1)]).cumsum()
    before = _log_likelihood(successes[:-1], totals[:-1])
    after = _log_likelihood(successes[-1] - successes[:-1], totals[-1] - totals[:-1])
    return dates[int(np.argmax(before + after))]


def _log_likelihood(count: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Largest binomial log likelihood of `count` of `total`."""
    share = count / np.maximum(total, 1)
    return np.asarray(xlogy(count, share) + xlogy(total - count, 1 - share))
