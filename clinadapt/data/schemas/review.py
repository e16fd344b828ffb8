"""Parquet table of the held-out answers that people are asked to judge."""

from __future__ import annotations

import pyarrow as pa

# evaluate, cases.parquet, read by publish; in the order of the queue, the riskiest first
CASES = pa.schema(
    [
        ("index", pa.int64()),  # row of test.parquet
        ("note_id", pa.string()),  # hash of the normalized note, 16 hex digits
        ("answer", pa.string()),  # of the candidate: its text, or the predicted label
        ("drawn", pa.string()),  # `risk` or `random`
        (
            "reasons",
            pa.list_(pa.struct([("kind", pa.string()), ("value", pa.float64())])),
        ),  # clinadapt.feedback.cases.RISKS
    ]
)
CASES_FILE = "cases.parquet"
