"""The measured error of the check, as reports and model cards state it."""

from __future__ import annotations

from math import sqrt
from typing import Any

from clinadapt.clinical.claims.kinds import KINDS
from clinadapt.clinical.lexicon import load_lexicon


def measured_accuracy() -> dict[str, Any]:
    """Sensitivity and specificity on answers that tests/benchmarks/test_claims_accuracy.py makes of real notes, and on
    answers by hand.

    Returns:
        sensitivity and specificity as shares; noticed: kind -> (noticed, all) altered answers; kinds: those as text;
        by_hand: `noticed` and `accused` as text, each a share with its 95 % interval (Wilson), and `answers`.
    """
    counts = load_lexicon("claims_accuracy.yaml")
    noticed = {kind: tuple(pair) for kind, pair in counts["altered"].items()}
    total = sum(count for _, count in noticed.values())
    faithful = counts["faithful"]
    return {
        "sensitivity": sum(hits for hits, _ in noticed.values()) / total,
        "specificity": 1 - faithful["accused"] / faithful["all"],
        "noticed": noticed,
        "by_hand": {
            "answers": sum(total for _, total in counts["by_hand"].values()),
            **{name: _share(*pair) for name, pair in counts["by_hand"].items()},
        },
        "kinds": ", ".join(f"{KINDS[kind]} {hits} of {count}" for kind, (hits, count) in noticed.items()),
    }


def _share(count: int, total: int) -> str:
    """A share in percent with its 95 % interval by Wilson: `83 % (73 to 90)`."""
    share, square = count / total, 1.96**2
    middle = (share + square / (2 * total)) / (1 + square / total)
    width = 1.96 * sqrt(share * (1 - share) / total + square / (4 * total**2)) / (1 + square / total)
    return f"{100 * share:.0f} % ({100 * (middle - width):.0f} to {100 * (middle + width):.0f})"
