"""Parquet tables of what identifies the patients and the notes of a dataset's rows."""

import pyarrow as pa

# download, known.parquet, where the profile names such columns; screen reads it and passes it on to nobody
KNOWN = pa.schema(
    [
        ("source", pa.int32()),  # index of the source in the profile; 0 in classify
        ("row", pa.int64()),  # row of the source, counted from 1
        ("values", pa.list_(pa.string())),  # name, record number, birth date, ...
    ]
)
KNOWN_FILE = "known.parquet"

# screen, note_ids.parquet: a note that was changed, by its hash of 16 hex digits after and before: either may be purged
NOTE_IDS = pa.schema([("note_id", pa.string()), ("original", pa.string())])
NOTE_IDS_FILE = "note_ids.parquet"
