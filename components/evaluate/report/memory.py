"""What the adapter remembers of canaries, in the report of instruct."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clinadapt.documents.page import count, decimal, p_value


def memory_table(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Head and rows of canaries, by place and repeats, x exposure, that of those not trained, p, and how many the
    adapter writes word by word; no rows where there is no audit."""
    rows = [
        [
            f"In {'notes' if name.startswith('note') else 'answers'}, {name.partition(', ')[2]}",
            count(group["canaries"]),
            decimal(group["trained"], 1),
            decimal(group["control"], 1),
            p_value(group["p"]),
            count(group["extracted"]),
        ]
        for name, group in evaluation.get("audit", {}).get("canaries", {}).items()
    ]
    return {
        "head": ["Canaries", "Number", "Exposure, bits", "Of those not trained", "p", "Written word by word"],
        "rows": rows,
    }
