"""Checks of the gate: statements that pass only where the unfavourable end of their interval satisfies them.

What the evidence does not show does not pass, and notes that all say the same show no more than their number does
(components.evaluate.metrics): after ten notes without a difference, the next may have one. A check fails where the
estimate itself violates the statement; one of fewer than SMALLEST_SAMPLE groups of notes is not believed, and asks for
as many. Where only the unfavourable end of its interval violates it, however few the notes are, the check asks for more
held-out notes: for so many that the interval, which has two parts, leaves the estimate as it is a chance of 80 % to
pass (Cohen 1988, Statistical Power Analysis, chapter 2). What one more note at the worst value could change shrinks
with their number, the spread of the notes with its square root. A small sample may show too little of the spread, and
none where no answer of a few is wrong: the size is planned with its one-sided upper limit of 80 % (Browne 1995, On the
use of a pilot sample for sample size determination, Statistics in Medicine 14, 1933-1940).

An estimate at its bound, or nearly, would ask for any number of notes, though the notes do not tell that the true value
is there: one wrong answer of 20 is 5 %, and may be 1 %. There the size is planned for a true value that is better than
the bound: by half of what is allowed, or by 2 points of a difference, but not by more than the notes leave open (the
one-sided limit of 80 %). The check says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from scipy.special import chdtri, ndtri

from clinadapt.config.gate import GateThresholds
from clinadapt.documents.verdict import MOST, NOT_ENOUGH, NOTES, asked_for, loosened_sentence
from components.evaluate.gate.loosened import loosened_rows
from components.evaluate.metrics import exact_upper

_TAIL = 0.025  # of a two-sided 95 % interval
_POWER = float(1 + ndtri(0.8) / ndtri(1 - _TAIL))  # widths of the interval for 80 % power
_DRAWN = 1.08  # an end of a bootstrap's interval is so much too far out by chance, at most (two standard errors)
SMALLEST_SAMPLE = 10  # clusters below which no interval is believed
_CAUTION = 0.8  # one-sided confidence of what is planned with: the upper limit of a variance, the favourable of a value
_OPEN = float(ndtri(_CAUTION) / ndtri(1 - _TAIL))  # such a limit, in widths of the interval
_NEAR = 0.02  # distance of a difference that is planned for, where the estimate is nearer to its bound
_PLANNED = 0.1  # a larger distance may be luck: the number of notes asked for is planned for at most 10 points


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
    lacking: str = NOTES
    judged: bool = True


class _Evidence(NamedTuple):
    """An estimate seen from its bound.

    Attributes:
        distance: of the estimate from the bound; positive where it satisfies the statement.
        near: a distance that is planned for where the estimate is nearer to its bound.
        width: from the estimate to the unfavourable end of its interval.
        worst: from the estimate to the worst possible value.
        clusters: that it is of.
        notes: all held-out ones, of which clusters that tell nothing of it are a part.
        variance: that the clusters may have at the planned distance, where the estimate is a share; else 0.
    """

    distance: float
    near: float
    width: float
    worst: float
    clusters: int
    notes: int
    variance: float = 0.0

    @property
    def is_near(self) -> bool:
        """Whether the estimate is too near to its bound to plan with it."""
        return self.distance < self.near

    def clusters_needed(self) -> float:
        """Clusters like these that leave the planned distance a chance of 80 % to pass; infinite where it is 0."""
        one_more = self.worst * (1 - _TAIL ** (1 / self.clusters))
        spread = self.clusters * max(0.0, self.width**2 - one_more**2)
        if self.variance:
            spread = max(0.0 if self.is_near else spread, (float(ndtri(1 - _TAIL))) ** 2 * self.variance)
        else:
            spread *= max(1, self.clusters - 1) / float(chdtri(max(1, self.clusters - 1), _CAUTION))
        last = (self.worst * math.log(_TAIL)) ** 2
        planned = min(max(self.distance, self.near), _PLANNED)
        allowed = (planned / _POWER) ** 2  # square of the width; of n it is last/n² + spread/n
        return (spread + math.sqrt(spread**2 + 4 * last * allowed)) / (2 * allowed) if allowed else math.inf


def difference_above(name: str, what: str, comparison: Mapping[str, float], bound: float, notes: int) -> Check:
    """The check that a paired difference exceeds a bound.

    Args:
        name: of the check.
        what: metric that is compared, for the detail.
        comparison: difference, low, high and clusters of `components.evaluate.metrics.paired`.
        bound: as a share: 0.05 is 5 points.
        notes: all held-out ones.
    """
    if bound <= -1:
        return not_required(name)
    difference, clusters = comparison["difference"], int(comparison["clusters"])
    low, high = comparison["low"], comparison["high"]
    detail = (
        f"{what} differs by {100 * difference:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f}); required: lower "
        f"end above {100 * bound:+.1f}"
    )
    near, worst = min(_OPEN * (high - difference), _NEAR), _DRAWN * (difference + 1)
    evidence = _Evidence(difference - bound, near, difference - low, worst, clusters, notes)
    return _check(name, low > bound, detail, evidence, violated=difference <= bound)


def share_at_most(name: str, what: str, estimate: Mapping[str, float] | None, bound: float, notes: int) -> Check:
    """The check that a share does not exceed a bound.

    Args:
        name: of the check.
        what: the share in words.
        estimate: value, low, high and clusters of `components.evaluate.metrics.ratios`; None where no row tells it.
        bound: of the upper end.
        notes: all held-out ones.
    """
    if bound >= 1:
        return not_required(name)
    if estimate is None:
        return _not_measured(name, what, bound)
    value, clusters = estimate["value"], int(estimate["clusters"])
    high = max(estimate["high"], exact_upper(value, clusters))
    detail = f"{what}: {value:.1%} (upper end {high:.1%}); required: at most {bound:.1%}"
    evidence = _of_share(value, bound, high - value, clusters, notes)
    return _check(name, high <= bound, detail, evidence, violated=value > bound)


def share_at_least(name: str, what: str, estimate: Mapping[str, float] | None, bound: float, notes: int) -> Check:
    """The check that a share reaches a bound; arguments as in `share_at_most`."""
    if bound <= 0:
        return not_required(name)
    if estimate is None:
        return _not_measured(name, what, 1 - bound)
    value, clusters = estimate["value"], int(estimate["clusters"])
    low = min(estimate["low"], 1 - exact_upper(1 - value, clusters))
    detail = f"{what}: {value:.1%} (lower end {low:.1%}); required: at least {bound:.1%}"
    evidence = _of_share(1 - value, 1 - bound, value - low, clusters, notes)
    return _check(name, low >= bound, detail, evidence, violated=value < bound)


def _of_share(wrong: float, allowed: float, width: float, clusters: int, notes: int) -> _Evidence:
    """The evidence of a share of wrong answers. The variance is the largest at the upper limit of this share, which for
    none of 20 is 8 %; near the bound at the bound, as a better share has less."""
    limit = 1 - exact_upper(1 - wrong, clusters, 2 * _CAUTION - 1)  # of one in 20 it is 1.1 %
    distance, near = allowed - wrong, min(wrong - limit, allowed / 2, _PLANNED)
    most = min(0.5, allowed if distance < near else exact_upper(wrong, clusters, 2 * _CAUTION - 1))
    return _Evidence(distance, near, width, 1 - wrong, clusters, notes, most * (1 - most))


def too_near(better: float) -> str:
    """What a check adds to its detail where the number of notes is planned for a true value so much better than the
    bound."""
    return (
        f"; too near to tell, so the number of notes is for a true value {100 * better:.1f} points better than required"
    )


def not_required(name: str) -> Check:
    """The check of a threshold that a profile switches off."""
    return Check(name, True, "the profile does not require it", judged=False)


def verdict(
    checks: Sequence[Check], result: str, thresholds: GateThresholds, caveats: Sequence[str] = ()
) -> dict[str, Any]:
    """The verdict of all checks.

    Args:
        checks: of the recipe.
        result: sentences with the headline figures.
        thresholds: of the profile.
        caveats: sentences that a reader must not miss, which are parts of the result.

    Returns:
        decision (`pass`, `fail`, or `not enough evidence` where every check that does not pass only lacks held-out
        notes), result, outcome (the decision in words, and how far the profile loosened it), next (what to do now),
        caveats, checks, and loosened, see `loosened_rows`.
    """
    open_checks = [check for check in checks if not check.passed]
    against = [check for check in open_checks if not check.more_notes]
    loosened, others = loosened_rows(thresholds), len(open_checks) - 1
    if not open_checks:
        decision, outcome = "pass", f"Passed {'a loosened' if loosened else 'the'} gate."
    elif against:
        decision = "fail"
        outcome = f"Failed the gate, check '{against[0].name}': {against[0].detail}."
    else:
        decision = NOT_ENOUGH
        most = max(open_checks, key=lambda check: check.more_notes)
        outcome = f"Not enough evidence: {asked_for(most.more_notes, most.lacking)} for '{most.name}': {most.detail}."
    if others > 0:
        outcome += f" {others} other check{'' if others == 1 else 's'} did not pass either."
    return {
        "decision": decision,
        "result": result,
        "outcome": f"{outcome} {loosened_sentence(loosened, decision == 'pass')}".strip(),
        "next": _next_step(decision, open_checks, bool(loosened)),
        "caveats": list(caveats),
        "checks": [check._asdict() for check in checks],
        "loosened": loosened,
    }


def _next_step(decision: str, open_checks: Sequence[Check], loosened: bool) -> str:
    """What to do after a decision."""
    if decision == "fail":
        return (
            "Leave the version in use as it is. Look at what this one gets wrong, and train it with other data or "
            "settings."
        )
    if decision == "pass" and loosened:
        return "Try it out, but not in care: before that, run it with a profile that loosens nothing."
    if decision == "pass":
        return "Before it is used, read below for whom it is worse and how wide the intervals are."
    most = max(open_checks, key=lambda check: check.more_notes)
    if most.more_notes >= MOST:
        return f"Choose another threshold in the profile: {asked_for(MOST, most.lacking)}."
    return f"Leave the version in use as it is. Add {most.more_notes:,} {most.lacking} or more, and run again."


def _not_measured(name: str, what: str, wrong: float) -> Check:
    """The check of a share that no row tells: it asks for as many that do as may show that at most `wrong` are."""
    least = math.ceil(math.log(_TAIL) / math.log1p(-wrong)) if 0 < wrong < 1 else MOST
    return Check(name, False, f"no held-out row tells the share of {what}", max(SMALLEST_SAMPLE, least))


def _check(name: str, passed: bool, detail: str, evidence: _Evidence, violated: bool) -> Check:
    """A check; `violated` says whether the estimate itself is on the wrong side of the bound."""
    clusters, needed = evidence.clusters, 0.0 if violated else evidence.clusters_needed()
    if clusters < SMALLEST_SAMPLE:
        detail += f"; {clusters} cluster{' of notes is' if clusters == 1 else 's of notes are'} too few"
    elif passed or violated:
        return Check(name, passed, detail)
    elif evidence.is_near:
        detail += too_near(evidence.near)
    growth = max(needed, SMALLEST_SAMPLE) / clusters - 1
    return Check(name, False, detail, max(1, math.ceil(min(MOST, evidence.notes * growth))))
