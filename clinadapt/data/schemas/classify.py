"""Parquet tables of the classify recipe."""

from __future__ import annotations

import pyarrow as pa

from clinadapt.data.schemas.origin import ORIGIN, PATIENT_GROUP

# download, notes.parquet: one valid row of the source
NOTES = pa.schema(
    [
        ("row", pa.int64()),  # row of the source, counted from 1 without the header
        ("text", pa.string()),  # cleaned note text
        ("label", pa.string()),
        *ORIGIN,
    ]
)


# format, train, validation and test.parquet: one different note
SPLIT = pa.schema(
    [
        ("note_id", pa.string()),  # hash of the normalized text, 16 hex digits
        ("text", pa.string()),  # cleaned note text, as in its first row
        ("labels", pa.list_(pa.string())),  # different labels of its rows, sorted
        ("counts", pa.list_(pa.int32())),  # number of rows under each of `labels`
        ("cluster", pa.int32()),  # cluster of near duplicates
        *PATIENT_GROUP,  # null where its rows do not agree
    ]
)
