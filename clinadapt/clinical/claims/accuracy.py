"""The measured error of the check, as reports and model cards state it."""

from __future__ import annotations

from typing import Any

from clinadapt.clinical.claims.kinds import KINDS
from clinadapt.clinical.lexicon import load_lexicon


def measured_accuracy() -> dict[str, Any]:
    """Sensitivity and specificity on answers that tests/benchmarks/test_claims_accuracy.py makes of real notes.

    Returns:
        sensitivity and specificity as shares; noticed: kind -> (noticed, all) altered answers; kinds: those as text.
    """
    counts = load_lexicon("claims_accuracy.yaml")
    noticed = {kind: tuple(pair) for kind, pair in counts["altered"].items()}
    total = sum(count for _, count in noticed.values())
    faithful = counts["faithful"]
    return {
        "sensitivity": sum(hits for hits, _ in noticed.values()) / total,
        "specificity": 1 - faithful["accused"] / faithful["all"],
        "noticed": noticed,
        "kinds": ", ".join(f"{KINDS[kind]} {hits} of {count}" for kind, (hits, count) in noticed.items()),
    }
