"""How far reviewers agree, and how often an adapter is wrong by what they settled; both with 95 % intervals.

Intervals are Wilson's, which hold for few cases and for shares of 0 and 1.
Cases about notes of one cluster depend on each other, so the number of clusters stands for the number of cases.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from clinadapt.data.intervals import wilson
from clinadapt.feedback.cases import Queue
from clinadapt.feedback.marks import person
from clinadapt.feedback.settled import JudgedCase


@dataclass(frozen=True)
class Agreement:
    """Cohen's kappa of pairs of verdicts.

    Attributes:
        kappa: None where all verdicts are the same, so that chance alone would agree always, or where there is none.
        low, high: its interval, between -1 and 1.
        observed: share of the pairs that agree; None without a pair.
        pairs: number of pairs.
        reviewers: who gave the verdicts.
    """

    kappa: float | None
    low: float
    high: float
    observed: float | None
    pairs: int
    reviewers: tuple[str, ...] = ()


@dataclass(frozen=True)
class ErrorRate:
    """Share of a version's held-out answers that are wrong or unsafe.

    Attributes:
        value: None until all of the riskiest and one of those drawn at random are settled.
        low, high: interval; what is not settled counts as right in `low` and as wrong in `high`.
        settled: held-out cases that are.
        population: held-out answers that the estimate is about.
    """

    value: float | None
    low: float
    high: float
    settled: int
    population: int


def cohen_kappa(
    pairs: Sequence[tuple[Hashable, Hashable]], clusters: Sequence[Hashable], reviewers: tuple[str, ...] = ()
) -> Agreement:
    """Cohen's kappa (1960, doi:10.1177/001316446002000104). As in its standard error there, the interval is that of the
    observed agreement with the agreement by chance held fixed.

    Args:
        pairs: two verdicts about a case.
        clusters: of each case.
        reviewers: who gave the verdicts.
    """
    n = len(pairs)
    if not n:
        return Agreement(None, -1.0, 1.0, None, 0, reviewers)
    observed = sum(a == b for a, b in pairs) / n
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    chance = sum(first[category] * second[category] for category in first) / n**2
    if chance == 1:
        return Agreement(None, -1.0, 1.0, observed, n, reviewers)
    kappa, low, high = (
        max(-1.0, (share - chance) / (1 - chance)) for share in (observed, *wilson(observed, len(set(clusters))))
    )
    return Agreement(kappa, low, high, observed, n, reviewers)


def agreements(cases: Iterable[JudgedCase]) -> tuple[Agreement, list[Agreement]]:
    """Agreement of all reviewers, and of each two of them, about the cases that both marked without seeing another's
    mark. Flags are not among these: who flags an answer has chosen it.

    One order of the reviewers says who of a pair gives the first verdict, so that with two reviewers the first result
    is that of the pair.
    """
    by_pair: dict[tuple[str, str], list[tuple[tuple[str, str], Hashable]]] = defaultdict(list)
    names: dict[str, str] = {}
    for judged in cases:
        cluster = judged.case.note_id if judged.case.cluster is None else judged.case.cluster
        marks = {person(mark.reviewer): mark for mark in judged.given.blind}
        names |= {who: mark.reviewer for who, mark in marks.items()}
        for a, b in combinations(sorted(marks), 2):
            by_pair[a, b].append(((marks[a].verdict, marks[b].verdict), cluster))

    def of(entries: Sequence[tuple[tuple[str, str], Hashable]], people: Iterable[str]) -> Agreement:
        reviewers = tuple(sorted(names[who] for who in people))
        return cohen_kappa([pair for pair, _ in entries], [cluster for _, cluster in entries], reviewers)

    pairs = [of(entries, people) for people, entries in by_pair.items()]
    everyone = {who for people in by_pair for who in people}
    total = of([entry for entries in by_pair.values() for entry in entries], everyone)
    return total, sorted(pairs, key=lambda pair: pair.reviewers)


def error_rate(queue: Queue, cases: Iterable[JudgedCase]) -> ErrorRate:
    """Estimate the share of wrong or unsafe answers among those that the queue was drawn from.

    The riskiest are counted one by one; those drawn at random stand for all others (a stratified estimate, Cochran
    1977, Sampling Techniques, chapter 5). A random case that nobody has marked from the queue says nothing, as they are
    judged in random order; one that is marked and not settled counts as right in the low end and as wrong in the high
    end.
    """
    held_out = {judged.case.case: judged for judged in cases if judged.case.origin == "held-out"}
    order = list(queue.cases)
    risky = [_outcome(held_out.get(case)) for case in order[: queue.riskiest]]
    drawn = [
        (_outcome(held_out[case]), cluster)
        for case, cluster in zip(order[queue.riskiest :], queue.clusters[queue.riskiest :], strict=True)
        if case in held_out and held_out[case].given.blind  # a flag alone is no draw
    ]
    others, clusters = queue.population - queue.riskiest, len({cluster for _, cluster in drawn})
    known = [outcome for outcome, _ in drawn if outcome is not None]
    ends = []
    for unknown in (0.0, 1.0):
        share = sum(unknown if outcome is None else outcome for outcome, _ in drawn) / max(1, len(drawn))
        interval = wilson(share, clusters)
        total = sum(unknown if outcome is None else outcome for outcome in risky)
        ends.append((total + others * interval[int(unknown)]) / max(1, queue.population))
    value = None
    if None not in risky and (known or not others):
        rest = sum(known) / max(1, len(known)) * others
        value = (sum(filter(None, risky)) + rest) / max(1, queue.population)
    settled = len(known) + sum(outcome is not None for outcome in risky)
    return ErrorRate(value, ends[0], ends[1], settled, queue.population)


def _outcome(judged: JudgedCase | None) -> float | None:
    """1 of a wrong or unsafe answer, 0 of a right one, None while that is open."""
    settled = judged.settled if judged else None
    return None if settled is None else float(settled.verdict != "right")
