"""Rows of a Parquet file. It may expand: a text of a dictionary stands in it once for all rows that have it, and a
number that is repeated takes no place at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clinadapt.errors import UserError

LONGEST_FIXED = 1024  # bytes of a value in a column of values of one length, which are no texts
_VALUE = 8  # bytes of a number


def stated_size(metadata: pq.FileMetaData, name: str) -> int:
    """Bytes that a file says to expand to; a text that several rows share counts once.

    Raises:
        UserError: a column is of a type that is no data of notes.
    """
    columns = [metadata.schema.column(i) for i in range(metadata.num_columns)]
    if any(each.physical_type == "FIXED_LEN_BYTE_ARRAY" and each.length > LONGEST_FIXED for each in columns):
        raise UserError(f"{name}: a column has values of more than {LONGEST_FIXED:,} bytes each: export it as text")
    size = 0
    for group in (metadata.row_group(i) for i in range(metadata.num_row_groups)):
        values = sum(group.column(i).num_values for i in range(group.num_columns))
        size += max(group.total_byte_size, _VALUE * values)
    return size


def batches(path: Path, metadata: pq.FileMetaData, rows: int) -> Iterator[pa.RecordBatch]:
    """Batches of rows in which a text is a reference to its dictionary."""
    columns = (metadata.schema.column(i) for i in range(metadata.num_columns))
    texts = [
        each.path for each in columns if each.physical_type == "BYTE_ARRAY" and each.logical_type.type != "DECIMAL"
    ]
    with pq.ParquetFile(path, metadata=metadata, read_dictionary=texts) as file:
        yield from file.iter_batches(batch_size=rows)


def text_bytes(rows: pa.RecordBatch) -> int:
    """Bytes of all texts of some rows, a text as often as rows have it."""
    return sum(_text_bytes(column) for column in rows.columns)


def _text_bytes(array: Any) -> int:
    kind = array.type
    if pa.types.is_dictionary(kind):
        lengths = pc.binary_length(array.dictionary.cast(pa.large_binary()))
        return int(pc.sum(pc.take(lengths, array.indices)).as_py() or 0)
    if pa.types.is_struct(kind):
        return sum(map(_text_bytes, array.flatten()))
    if pa.types.is_map(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        first, end = array.offsets[0].as_py(), array.offsets[-1].as_py()
        return _text_bytes(array.values.slice(first, end - first))
    return int(array.nbytes)
