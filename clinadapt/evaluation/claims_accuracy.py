"""The measured error of the check of claims, as reports and model cards state it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clinadapt.clinical.claims import KINDS
from clinadapt.clinical.lexicon import load_lexicon
from clinadapt.data.intervals import wilson


def measured_accuracy() -> dict[str, Any]:
    """Sensitivity and specificity on answers that tests/benchmarks/test_claims_accuracy.py makes of real notes, on
    answers by hand, and on answers of models.

    Returns:
        sensitivity and specificity as shares; `noticed` of the altered and `accused` of the faithful answers as text,
        each a share with its 95 % interval (Wilson); kinds: name of a kind, altered answers, noticed ones and their
        share as text; by_hand, by_models: `noticed` and `accused` as above, and `answers`.
    """
    counts = load_lexicon("claims_accuracy.yaml")
    hits, total = (sum(column) for column in zip(*counts["altered"].values(), strict=True))
    accused, faithful = counts["faithful"]["accused"], counts["faithful"]["all"]
    return {
        "sensitivity": hits / total,
        "specificity": 1 - accused / faithful,
        "noticed": _share(hits, total, 1),
        "accused": _share(accused, faithful, 1),
        "by_hand": _both(counts["by_hand"]),
        "by_models": _both(counts["by_models"]),
        "kinds": [(KINDS[kind], all_, n, _share(n, all_)) for kind, (n, all_) in counts["altered"].items()],
    }


def _both(counts: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """Of `noticed` and `accused` as (count, all): both shares as text, and the number of answers."""
    shares = {name: _share(*pair) for name, pair in counts.items()}
    return shares | {"answers": sum(total for _, total in counts.values())}


def _share(count: int, total: int, digits: int = 0) -> str:
    """A share in percent with its 95 % interval: `83 % (73 to 90)`."""
    low, high = wilson(count / total, total)
    return f"{100 * count / total:.{digits}f} % ({100 * low:.{digits}f} to {100 * high:.{digits}f})"
