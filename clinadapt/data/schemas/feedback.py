"""Parquet tables of what people corrected: the records beside its texts, which stand in the tables of the recipe."""

from __future__ import annotations

import pyarrow as pa

from clinadapt.data.schemas.classify import NOTES

FEEDBACK_FILE = "feedback.parquet"
_ABOUT = [
    ("note_id", pa.string()),  # hash of the note as it was reviewed, before identifiers were redacted: 16 hex digits
    ("kind", pa.string()),  # what was wrong: one of clinadapt.feedback's faults, `wrong` or `unsafe`; `label`
    ("held_out", pa.bool_()),  # whether the answer was about a held-out note of the version that gave it
]

# download, screen and synthesize: a correction, which has a row in triples.parquet and one for each wrong answer in
# preferences.parquet, of the same source and row
CORRECTIONS = pa.schema([("source", pa.int32()), ("row", pa.int64()), *_ABOUT])

# download and screen in classify: a corrected label
CORRECTED_LABELS = pa.schema([*NOTES, *_ABOUT])
