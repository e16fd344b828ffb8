"""Whether a candidate is much worse for a group of notes than over all of them, in both recipes.

A group is judged by the interval of its difference from all notes. The interval holds for all groups at once
(Bonferroni), as the worst one is picked after looking. Of a group with 15 % of the held-out notes, or with so many that
one as good as the whole passes (in 95 % of runs all of them together), the interval must lie within the margin. Else
the check fails where all of it is outside or, in a group of so many, the difference itself, and asks for more notes in
all other cases. A smaller group cannot be shown to be within the margin: it asks for nothing, and fails where it is
shown to be outside. So what is common must be shown however few notes there are, and what is rare and no
worse does not keep out a candidate.

How many notes a group of as many wrong answers as the whole needs depends on their share, which a small sample may put
at 0. The number asked for is planned with half a wrong answer more than was seen, the mean of Jeffreys's posterior
(Brown, Cai and DasGupta 2001, Interval Estimation for a Binomial Proportion, Statistical Science 16, 101-133), and for
95 % of runs of the group that lacks most, so that all checks together pass in 80 %, as simulated
(tests/benchmarks/test_gate_simulation.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from scipy.special import bdtr, bdtrik, ndtri

from clinadapt.documents.verdict import MOST
from components.evaluate.gate.checks import SMALLEST_SAMPLE, Check, not_required, too_near
from components.evaluate.metrics import CONFIDENCE, exact_upper

_LARGE = 0.15  # share of the held-out notes from which a group must be shown to be within the margin
_REFUSED = 0.05  # share of runs in which one of the groups is not shown, though all are as good as the whole
_UNREACHABLE = 1_000_000  # clusters: what would need more cannot be shown
_NAME = "in no group of notes much worse than over all"


class _Group(NamedTuple):
    """A group: its name, clusters, share of the held-out rows, and how much larger its share of wrong outputs is than
    that of all, with the ends of the interval that holds for all groups at once."""

    name: str
    clusters: int
    part: float
    difference: float
    low: float
    high: float


def no_worse_group(
    groups: Iterable[Mapping[str, Any]],
    whole: Mapping[str, float],
    rows: int,
    metric: str,
    what: str,
    margin: float,
    notes: int,
) -> Check:
    """The check that a share is in no group worse than over all by more than a margin.

    Args:
        groups: by, group, rows, clusters and metrics of each, as `subgroups` of evaluation.json.
        whole: the share over all rows: value, clusters.
        rows: all of them.
        metric: the share; where its name ends with `accuracy`, a lower one is worse.
        what: the outputs that are wrong, in words.
        margin: as a share: 0.1 is 10 points.
        notes: all held-out ones.
    """
    if margin >= 1:
        return not_required(_NAME)
    entries = [entry for entry in groups if metric in entry["metrics"]]
    if not entries:
        return Check(_NAME, True, "the held-out notes form no groups", judged=False)
    confidence, wrong = 1 - (1 - CONFIDENCE) / len(entries), _wrong(whole, metric)["value"]
    clusters = int(whole["clusters"])
    judged, small = list[tuple[int, str, _Group]](), 0
    for group in (_group(entry, metric, wrong, rows, confidence) for entry in entries):
        needed = _needed(wrong, margin, group.part, confidence, _REFUSED / len(entries))
        if group.clusters >= SMALLEST_SAMPLE and (group.high <= margin or group.low > margin):
            judged.append((0, "", group))
        elif group.clusters >= min(needed, _LARGE * clusters):
            planned = _needed((wrong * clusters + 0.5) / (clusters + 1), margin, group.part, confidence, _REFUSED)
            judged.append((*_more_notes(group, planned, needed, notes, margin, confidence), group))
        else:
            small += 1
    return _check(judged, small, what, margin)


def _more_notes(
    group: _Group, planned: int, needed: int, notes: int, margin: float, confidence: float
) -> tuple[int, str]:
    """Held-out notes to add that may show a group to be within the margin, at most MOST, and what they are planned for;
    0 where it is outside. One as good as the whole needs the `planned` clusters, or with bad luck the `needed` ones."""
    distance, words = margin - group.difference, ""
    if distance < 0 and not group.clusters < needed < _UNREACHABLE:
        return 0, ""
    if enough := [count for count in (planned, needed) if group.clusters < count < _UNREACHABLE]:
        factor = enough[0] / group.clusters
    else:
        width, limit = float(ndtri((1 + confidence) / 2)), float(ndtri(0.8))
        near = min(limit / width * (group.difference - group.low), margin / 2)
        if distance < near and needed < _UNREACHABLE:
            distance, words = near, too_near(near)
        widths = (width + limit) / width * (group.high - group.difference)
        factor = (widths / distance) ** 2 if distance and needed < _UNREACHABLE else math.inf
    return max(1, math.ceil(min(MOST, notes * (factor - 1)))), words


def _check(judged: list[tuple[int, str, _Group]], small: int, what: str, margin: float) -> Check:
    """The check of groups with the notes that each lacks. One that fails decides, else the one that lacks most, else
    the worst."""
    few = f"; {small} group{'s are' if small > 1 else ' is'} too small to be judged" if small else ""
    if not judged:
        return Check(_NAME, True, f"no group has enough notes{few}", judged=False)
    more, words, group = max(judged, key=lambda each: (each[2].high > margin, not each[0], each[0], each[2].high))
    clusters = f"{group.clusters:,} cluster{'' if group.clusters == 1 else 's'} of notes"
    detail = (
        f"{what}: {100 * group.difference:+.1f} points (upper end {100 * group.high:+.1f}) in {group.name}, "
        f"{clusters}, against all; required: at most {100 * margin:+.1f}{words}{few}"
    )
    return Check(_NAME, group.high <= margin, detail, more if group.high > margin else 0)


def _wrong(estimate: Mapping[str, float], metric: str) -> dict[str, float]:
    """A share of wrong outputs: value, low and high."""
    if not metric.endswith("accuracy"):
        return {name: estimate[name] for name in ("value", "low", "high")}
    return {"value": 1 - estimate["value"], "low": 1 - estimate["high"], "high": 1 - estimate["low"]}


def _group(entry: Mapping[str, Any], metric: str, wrong: float, rows: int, confidence: float) -> _Group:
    """A group of `subgroups`. Its interval is widened to the confidence, and never narrower than the exact
    one; as the group is part of the whole, their difference varies less than the group."""
    share, clusters = _wrong(entry["metrics"][metric], metric), int(entry["clusters"])
    value, part = share["value"], entry["rows"] / rows
    wider = float(ndtri((1 + confidence) / 2) / ndtri((1 + CONFIDENCE) / 2))
    low = min(value - wider * (value - share["low"]), 1 - exact_upper(1 - value, clusters, confidence))
    high = max(value + wider * (share["high"] - value), exact_upper(value, clusters, confidence))
    narrower, difference = math.sqrt(max(0.0, 1 - part)), value - wrong
    name = f"{entry['group']} ({entry['by']})"
    ends = difference - narrower * (value - max(0.0, low)), difference + narrower * (min(1.0, high) - value)
    return _Group(name, clusters, part, difference, *ends)


def _needed(share: float, margin: float, part: float, confidence: float, unlucky: float) -> int:
    """Clusters from which on a group with the share of all passes, but in a share of `unlucky` runs."""
    narrower = math.sqrt(max(0.0, 1 - part))

    def is_enough(count: int) -> bool:
        value = _quantile(1 - unlucky, count, share) / count
        return value - share + narrower * (exact_upper(value, count, confidence) - value) <= margin

    low, high = 1, 2
    while not is_enough(high) and high < _UNREACHABLE:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def _quantile(probability: float, count: int, share: float) -> int:
    """The least number of wrong outputs among `count` that is not exceeded with a probability."""
    if not 0 < share < 1:
        return round(share * count)
    wrong = max(0, math.ceil(bdtrik(probability, count, share)))
    return wrong - 1 if wrong and bdtr(wrong - 1, count, share) >= probability else wrong
