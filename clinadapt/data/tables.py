"""Parquet tables that steps exchange: written row by row, read in batches."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clinadapt.data.schemas.classify import SPLIT
from clinadapt.errors import UserError
from clinadapt.storage.local_files import os_errors

SPLITS = ("train", "validation", "test")

Item = TypeVar("Item")


def write_table(table: pa.Table, path: Path) -> None:
    """Write a Parquet file (zstd). Raises UserError if the disk is full."""
    try:
        pq.write_table(table, path, compression="zstd")
    except OSError as error:
        raise UserError(
            f"cannot write {path.name}: {error.strerror or 'no space left'}; free space and run again"
        ) from error


def to_table(rows: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.Table:
    """Build a table from at least one row, whose fields are in the order of the schema."""
    columns = zip(zip(*rows, strict=True), schema, strict=True)
    return pa.Table.from_arrays([pa.array(column, field.type) for column, field in columns], schema=schema)


@contextmanager
def output_folder(path: Path) -> Iterator[None]:
    """Create a step's output folder, and delete it if the body fails."""
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(path)
        raise


@contextmanager
def open_tables(folder: Path, **schemas: pa.Schema) -> Iterator[dict[str, TableWriter]]:
    """Open `<name>.parquet` for writing for each name; the files are complete when the context ends."""
    writers = {name: TableWriter(folder / f"{name}.parquet", schema) for name, schema in schemas.items()}
    try:
        yield writers
        for writer in writers.values():
            writer.flush()
    finally:
        for writer in writers.values():
            writer.close()


class TableWriter:
    """A Parquet file (zstd) that rows are appended to. `rows` counts them."""

    ROWS = 1024  # rows per row group

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.rows = 0
        self._schema, self._buffer = schema, list[Sequence[Any]]()
        self._file = pq.ParquetWriter(path, schema, compression="zstd")

    def add(self, row: Sequence[Any]) -> None:
        """Append a row, its fields in the order of the schema. Raises UserError if the disk is full."""
        self._buffer.append(row)
        self.rows += 1
        if len(self._buffer) == self.ROWS:
            self.flush()

    def add_table(self, table: pa.Table) -> None:
        """Append the rows of a table of the same schema. Raises UserError if the disk is full."""
        self.flush()
        self.rows += len(table)
        with os_errors("cannot write a table"):
            self._file.write_table(table)

    def flush(self) -> None:
        """Write the buffered rows as a row group."""
        if self._buffer:
            table = to_table(self._buffer, self._schema)
            with os_errors("cannot write a table"):
                self._file.write_table(table)
            self._buffer.clear()

    def close(self) -> None:
        """Write the footer and close the file."""
        with os_errors("cannot write a table"):
            self._file.close()


def iter_batches(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Read a Parquet file, or some of its columns, with one batch of rows in memory at a time."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=TableWriter.ROWS, columns=columns and list(columns)):
            yield pa.Table.from_batches([batch])


def iter_rows(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Read some columns of a Parquet file row by row."""
    for batch in iter_batches(path, columns):
        yield from batch.to_pylist()


def batched(rows: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of `size` items; the last may be shorter."""
    rows = iter(rows)
    while batch := list(islice(rows, size)):
        yield batch


def read_split(folder: Path, name: str) -> pa.Table:
    """Read one of SPLITS (schema SPLIT) from the folder that format wrote for classify."""
    return pq.read_table(folder / f"{name}.parquet", schema=SPLIT)


def label_counts(table: pa.Table, labels: list[str]) -> np.ndarray:
    """Count the rows that list each note under each label.

    Args:
        table: of schema SPLIT.
        labels: the columns of the result.

    Returns:
        Counts as floats, shape (notes, labels).
    """
    column = {label: i for i, label in enumerate(labels)}
    matrix = np.zeros((len(table), len(labels)))
    for i, (names, counts) in enumerate(zip(table["labels"].to_pylist(), table["counts"].to_pylist(), strict=True)):
        matrix[i, [column[name] for name in names]] = counts
    return matrix
