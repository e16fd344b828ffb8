"""A comparison in words: one sentence of what moved, and the counts that may be shown."""

from __future__ import annotations

from datetime import date

from clinadapt.monitoring.aggregates import SMALLEST_CELL
from clinadapt.monitoring.comparison import WINDOWS, Comparison, Share, Test
from clinadapt.monitoring.observations import FIGURES, RARE

_CELLS = {
    "label": "Label {}",
    "task": "Task {}",
    "language": "Notes in the language {}",
    "length": "Notes of {} characters",
    "confidence": "Confidence {}",
}


def sentence(comparison: Comparison) -> str:
    """What moved most, since when, by how much and how certain that is; or that nothing did."""
    if not comparison.days:
        return "No use: no answers were counted in these days."
    first_day, last_day = comparison.days
    answers, since = f"{comparison.answers:,} answers", f"{day(first_day)} to {day(last_day)}"
    if not comparison.enough:
        return f"Not enough use to compare: {answers} ({since}), at least {min(WINDOWS)} are needed."
    if not comparison.figures:
        return f"Nothing to compare with: the evaluation of this version has counted none of the figures ({answers})."
    if not comparison.alarms:
        return f"Nothing has moved: the last {answers} ({since}) show no difference from evaluation and earlier use."
    first, *others = comparison.alarms
    also = f" Also moved: {'; '.join(change(test) for test in others)}." if others else ""
    chance = f"chance alone gives such a difference of one share {_once_in(first.p)} comparisons"
    return f"{change(first)}, since about {day(first.since or first.days[0])}; {chance}.{also}"


def change(test: Test) -> str:
    """A change: `Refusals rose from 8.0 % in the evaluation to 15.4 % (12.5 to 18.9 %) of the last 500 answers`."""
    verb = "rose" if test.use.value > test.reference.value else "fell"
    now = f"{shown(test.use)} of the last {test.use.total:,} {FIGURES[test.figure].of}"
    return (
        f"{cell_title(test.figure, test.cell)} {verb} from {_percent(test.reference.value)} in {test.against} to {now}"
    )


def shown(share: Share) -> str:
    """A share with its interval; one of fewer than SMALLEST_CELL answers is not told."""
    if share.count < SMALLEST_CELL:
        return f"fewer than {SMALLEST_CELL}"
    low, high = share.interval()
    return f"{_percent(share.value)} ({100 * low:.1f} to {_percent(high)})"


def cell_title(figure: str, cell: str) -> str:
    """A cell of a figure in words."""
    if figure not in _CELLS:
        return FIGURES[figure].title
    return _CELLS[figure].format("that are rare in the evaluation" if cell == RARE else cell)


def day(when: date) -> str:
    """1 March 2026"""
    return f"{when.day} {when:%B %Y}"


def _once_in(p: float) -> str:
    """0.0000813 -> about once in 12,000; a probability below a millionth is told as such."""
    return "less than once in 1,000,000" if p < 1e-6 else f"about once in {float(f'{1 / p:.2g}'):,.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}\u202f%"
