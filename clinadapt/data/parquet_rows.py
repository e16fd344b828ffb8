"""How far a Parquet file expands: a text of a dictionary stands in it once for all rows that have it, and a number that
is repeated takes no place at all."""

from __future__ import annotations

from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from clinadapt.errors import UserError

LONGEST_FIXED = 1024  # bytes of a value in a column of values of one length, which are no texts
MOST_ROWS = 64  # that are read at once
_AT_ONCE = 2**26  # bytes that as many rows may come to
_VALUE = 8  # bytes of a number
_DICTIONARY_PAGE = 2


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


def row_batches(path: Path, file: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    """The rows of a file, as many at a time as stay small where each has the largest text that rows may share. A
    category of pandas, of which Arrow reads all texts for each batch, is read for many rows and decoded for few."""
    categories = {field.name for field in file.schema_arrow if pa.types.is_dictionary(field.type)}
    few = _rows_at_once(path, file.metadata, set())
    for batch in file.iter_batches(batch_size=_rows_at_once(path, file.metadata, categories)):
        for start in range(0, len(batch), few):
            columns = [_decoded(column) for column in batch.slice(start, few).columns]
            yield pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _decoded(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column


def _rows_at_once(path: Path, metadata: pq.FileMetaData, categories: Set[str]) -> int:
    largest = 0
    with path.open("rb") as file:
        for group in (metadata.row_group(i) for i in range(metadata.num_row_groups)):
            columns = [group.column(i) for i in range(group.num_columns)]
            texts = (each for each in columns if each.physical_type == "BYTE_ARRAY")
            largest = max(largest, sum(_shared(file, each, each.path_in_schema in categories) for each in texts))
    return min(MOST_ROWS, max(1, _AT_ONCE // max(1, largest)))


def _shared(file: BinaryIO, column: Any, is_category: bool) -> int:
    """Bytes of the longest text that several rows of a column may share, at most: its dictionary, or in an encoding by
    prefixes all of it. The rows of a category share its texts as it is read, too."""
    if "DELTA_BYTE_ARRAY" in column.encodings:
        return int(column.total_uncompressed_size)
    if is_category:
        return 0
    file.seek(column.dictionary_page_offset or column.data_page_offset)
    kind, size = _page(file.read(16))
    return size if kind == _DICTIONARY_PAGE else 0


def _page(header: bytes) -> tuple[int, int]:
    """Type and uncompressed size of a page, the first two fields of its header in Thrift's compact protocol; zeros
    where there is no such header, which no reader goes on with."""
    values: list[int] = []
    position = 0
    while len(values) < 2:
        if header[position : position + 1] != b"\x15":  # the next field, a number of 32 bits
            return 0, 0
        shift = number = 0
        while True:
            position += 1
            byte = header[position : position + 1] or b"\0"
            number |= (byte[0] & 0x7F) << shift
            shift += 7
            if byte[0] < 0x80:
                break
        values.append((number >> 1) ^ -(number & 1))
        position += 1
    return values[0], values[1]
