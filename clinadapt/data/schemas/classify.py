"""The tables of the classify recipe."""

from __future__ import annotations

import pyarrow as pa

# One row of the source that can be used. `row` counts from 1 in the source, without the header.
NOTES = pa.schema([("row", pa.int64()), ("text", pa.string()), ("label", pa.string())])


# One different note. `labels` and `counts` (same length) say how many rows listed it under which label.
SPLIT = pa.schema(
    [
        ("note_id", pa.string()),
        ("text", pa.string()),
        ("labels", pa.list_(pa.string())),
        ("counts", pa.list_(pa.int32())),
        ("cluster", pa.int32()),
    ]
)
