"""Checks of the gate: statements that pass only where the unfavourable end of their interval satisfies them.

What the evidence does not show does not pass, and notes that all say the same show no more than their number does
(components.evaluate.metrics): after ten notes without a difference, the next may have one. Where the estimate itself
satisfies a statement and only its interval is too wide, the check asks for more held-out notes: intervals shrink with
the square root of their number, and the number asked for gives the estimate as it is a chance of 80 % to pass (Cohen
1988, Statistical Power Analysis, chapter 2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from scipy.special import ndtri

from clinadapt.config.gate import GateThresholds
from components.evaluate.gate.loosened import loosened_rows, loosened_sentence
from components.evaluate.metrics import exact_upper

_TAIL = 0.025  # of a two-sided 95 % interval
_POWER = float(1 + ndtri(0.8) / ndtri(1 - _TAIL))  # widths of the interval for 80 % power
SMALLEST_SAMPLE = 10  # clusters below which no interval is believed
_PLANNED = 0.1  # a larger distance may be luck: the number of notes asked for is planned for at most 10 points
MOST = 50  # times the held-out notes that may be asked for

NOT_ENOUGH = "not enough evidence"


class Check(NamedTuple):
    """A statement and whether it is shown.

    Attributes:
        name: the statement.
        passed: whether the unfavourable end of the interval satisfies it.
        detail: estimate, interval and bound as text.
        more_notes: held-out notes that may show it, where only the width of the interval is against it; else 0.
        lacking: what they are, where they are no held-out notes.
        judged: whether anything was held against the statement; a check that is not passes.
    """

    name: str
    passed: bool
    detail: str
    more_notes: int = 0
    lacking: str = "held-out notes"
    judged: bool = True


def difference_above(name: str, what: str, comparison: Mapping[str, float], bound: float) -> Check:
    """The check that a paired difference exceeds a bound.

    Args:
        name: of the check.
        what: metric that is compared, for the detail.
        comparison: difference, low, high and clusters of `components.evaluate.metrics.paired`.
        bound: as a share: 0.05 is 5 points.
    """
    if bound <= -1:
        return not_required(name)
    difference, clusters = comparison["difference"], int(comparison["clusters"])
    low, high = comparison["low"], comparison["high"]
    detail = (
        f"{what} differs by {100 * difference:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f}); required: lower "
        f"end above {100 * bound:+.1f}"
    )
    return _check(name, low > bound, detail, difference - bound, difference - low, clusters)


def share_at_most(name: str, what: str, estimate: Mapping[str, float] | None, bound: float) -> Check:
    """The check that a share does not exceed a bound.

    Args:
        name: of the check.
        what: the share in words.
        estimate: value, low, high and clusters of `components.evaluate.metrics.ratios`; None where no row tells it.
        bound: of the upper end.
    """
    if bound >= 1:
        return not_required(name)
    if estimate is None:
        return _not_measured(name, what)
    value, clusters = estimate["value"], int(estimate["clusters"])
    high = max(estimate["high"], exact_upper(value, clusters))
    detail = f"{what}: {value:.1%} (upper end {high:.1%}); required: at most {bound:.1%}"
    return _check(name, high <= bound, detail, bound - value, high - value, clusters)


def share_at_least(name: str, what: str, estimate: Mapping[str, float] | None, bound: float) -> Check:
    """The check that a share reaches a bound; arguments as in `share_at_most`."""
    if bound <= 0:
        return not_required(name)
    if estimate is None:
        return _not_measured(name, what)
    value, clusters = estimate["value"], int(estimate["clusters"])
    low = min(estimate["low"], 1 - exact_upper(1 - value, clusters))
    detail = f"{what}: {value:.1%} (lower end {low:.1%}); required: at least {bound:.1%}"
    return _check(name, low >= bound, detail, value - bound, value - low, clusters)


def not_required(name: str) -> Check:
    """The check of a threshold that a profile switches off."""
    return Check(name, True, "the profile does not require it", judged=False)


def verdict(checks: Sequence[Check], result: str, thresholds: GateThresholds) -> dict[str, Any]:
    """The verdict of all checks.

    Args:
        checks: of the recipe.
        result: sentences with the headline figures.
        thresholds: of the profile.

    Returns:
        decision (`pass`, `fail`, or `not enough evidence` where every check that does not pass only lacks held-out
        notes), result, outcome (the decision in words, and how far the profile loosened it), checks, and loosened, see
        `loosened_rows`.
    """
    open_checks = [check for check in checks if not check.passed]
    against = [check for check in open_checks if not check.more_notes]
    loosened = loosened_rows(thresholds)
    if not open_checks:
        decision, outcome = "pass", f"Passed {'a loosened' if loosened else 'the'} gate."
    elif against:
        decision = "fail"
        outcome = f"Failed the gate, check '{against[0].name}': {against[0].detail}."
    else:
        decision = NOT_ENOUGH
        most = max(open_checks, key=lambda check: check.more_notes)
        outcome = (
            f"Not enough evidence: {most.more_notes:,} more {most.lacking} are needed for '{most.name}': {most.detail}."
        )
    return {
        "decision": decision,
        "result": result,
        "outcome": f"{outcome} {loosened_sentence(loosened, decision == 'pass')}".strip(),
        "checks": [check._asdict() for check in checks],
        "loosened": loosened,
    }


def _not_measured(name: str, what: str) -> Check:
    return Check(name, False, f"no held-out row tells the share of {what}", SMALLEST_SAMPLE)


def _check(name: str, passed: bool, detail: str, distance: float, half_width: float, clusters: int) -> Check:
    """A check whose estimate lies `distance` on the right side of its bound, with an interval of `half_width` on that
    side."""
    if clusters < SMALLEST_SAMPLE:
        return Check(name, False, f"{detail}; {clusters} groups of notes are too few", SMALLEST_SAMPLE - clusters)
    if passed or distance <= 0:
        return Check(name, passed, detail)
    needed = math.ceil(clusters * (_POWER * half_width / min(distance, _PLANNED)) ** 2)
    if needed > MOST * clusters:  # level with the bound, as far as any sample can tell
        return Check(name, False, detail)
    return Check(name, False, detail, max(1, needed - clusters))
