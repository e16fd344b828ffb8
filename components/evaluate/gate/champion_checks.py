"""Whether a candidate may replace the champion, in both recipes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from components.evaluate.gate.checks import Check, difference_above


class Standing(NamedTuple):
    """What the registry knows of the champions of a name.

    Attributes:
        new_data: whether the candidate's data are others than the champion's.
        best: best headline value that a champion reached on these held-out rows; None where it is not known.
    """

    new_data: bool
    best: float | None


def champion_checks(
    evaluation: Mapping[str, Any],
    comparison: Mapping[str, float] | None,
    metric: str,
    margin: float,
    standing: Standing | None,
) -> Iterator[Check]:
    """A candidate replaces the champion where it is better; or, trained on other data, where it is not worse by the
    margin than the best champion that these held-out rows have seen. Without that a chain of candidates, each "not
    worse" than the last, walks down.

    Args:
        evaluation: content of evaluation.json.
        comparison: of candidate and champion; None where they cannot be compared.
        metric: the headline metric.
        margin: of non-inferiority, as a share; 1 lets any candidate replace the champion.
        standing: of the champion; None for an unknown one, which counts as trained on the same data.
    """
    version = evaluation["champion_version"]
    if comparison is None:
        reason = "the champion was trained on other labels: publish under another adapter name"
        yield Check(f"comparable with the champion {version}", False, reason)
        return
    if margin >= 1:
        return
    what = metric.replace("_f1", " F1").replace("_", " ")
    notes = evaluation["notes"]
    better = difference_above(f"better than the champion {version}", what, comparison, 0.0, notes)
    if better.passed:
        yield better
        return
    if not (standing and standing.new_data):
        yield better._replace(name=f"{better.name}, which was trained on the same data")
        return
    yield difference_above(
        f"not worse than the champion {version} by {100 * margin:.1f} points", what, comparison, -margin, notes
    )
    value = evaluation["models"]["champion"]["metrics"][metric]["value"]
    if standing.best is not None and standing.best > value:
        behind = standing.best - value
        shifted = {**comparison, **{key: max(-1.0, comparison[key] - behind) for key in ("difference", "low", "high")}}
        yield difference_above(
            f"not worse than the best of all champions by {100 * margin:.1f} points", what, shifted, -margin, notes
        )
