"""The Parquet table of what a hospital knows to identify the patients of a dataset's rows."""

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
