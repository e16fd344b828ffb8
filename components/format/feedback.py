"""What became of people's corrections, for manifest, report and model card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

SCREENED = "identifiers were found by screening"


def feedback_summary(read: Sequence[Mapping[str, Any]], formatted: Mapping[str, Any]) -> dict[str, Any]:
    """Sum up the corrections of a run.

    Args:
        read: what download recorded of each source of feedback.
        formatted: `used` by kind, `pairs`, and `left_out` by reason.

    Returns:
        Empty without a source of feedback; else judged (questions), agree (people), used (corrections trained on, by
        kind), pairs (of them with the answers that they correct), left_out and quarantined, each by reason.
    """
    if not read:
        return {}
    left_out = sum((Counter(each["left_out"]) for each in read), Counter(formatted["left_out"]))
    lost = sum(each["corrections"] for each in read) - sum(map(sum_of, (formatted["used"], formatted["left_out"])))
    left_out.update({SCREENED: lost} if lost > 0 else {})
    return {
        "judged": sum(each["judged"] for each in read),
        "agree": max(each["agree"] for each in read),
        "used": formatted["used"],
        "pairs": formatted["pairs"],
        "left_out": dict(left_out.most_common()),
        "quarantined": dict(sum((Counter(each["quarantined"]) for each in read), Counter[str]()).most_common()),
    }


def sum_of(counts: Mapping[str, int]) -> int:
    """The sum of counts by name."""
    return sum(counts.values())
