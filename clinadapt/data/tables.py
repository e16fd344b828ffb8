"""The tables that steps hand on, as Parquet, and the text rule that they share."""

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
    """Write Parquet with zstd. Raises UserError when there is no space."""
    try:
        pq.write_table(table, path, compression="zstd")
    except OSError as error:
        raise UserError(
            f"cannot write {path.name}: {error.strerror or 'no space left'}; free space and run again"
        ) from error


def as_table(rows: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.Table:
    """Rows, at least one, whose fields stand in the order of the schema."""
    columns = zip(zip(*rows, strict=True), schema, strict=True)
    return pa.Table.from_arrays([pa.array(column, field.type) for column, field in columns], schema=schema)


@contextmanager
def new_folder(path: Path) -> Iterator[None]:
    """A step's output while it is written bit by bit: removed again when the step fails."""
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(path)
        raise


@contextmanager
def open_tables(folder: Path, **schemas: pa.Schema) -> Iterator[dict[str, TableWriter]]:
    """Parquet files `<name>.parquet` that grow row by row, each whole at the end."""
    writers = {name: TableWriter(folder / f"{name}.parquet", schema) for name, schema in schemas.items()}
    try:
        yield writers
        for writer in writers.values():
            writer.flush()
    finally:
        for writer in writers.values():
            writer.close()


class TableWriter:
    """A Parquet file (zstd) to which rows are added."""

    ROWS = 1024  # of a group

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.rows = 0
        self._schema, self._waiting = schema, list[Sequence[Any]]()
        self._file = pq.ParquetWriter(path, schema, compression="zstd")

    def add(self, row: Sequence[Any]) -> None:
        """A row, in the order of the schema. Raises UserError when there is no space."""
        self._waiting.append(row)
        self.rows += 1
        if len(self._waiting) == self.ROWS:
            self.flush()

    def add_table(self, table: pa.Table) -> None:
        """Rows that are a table of the schema already. Raises UserError when there is no space."""
        self.flush()
        self.rows += len(table)
        with os_errors("cannot write a table"):
            self._file.write_table(table)

    def flush(self) -> None:
        if self._waiting:
            table = as_table(self._waiting, self._schema)
            with os_errors("cannot write a table"):
                self._file.write_table(table)
            self._waiting.clear()

    def close(self) -> None:
        with os_errors("cannot write a table"):
            self._file.close()


def read_batches(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """A Parquet file, or some of its columns, a batch of rows in memory at a time."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=TableWriter.ROWS, columns=columns and list(columns)):
            yield pa.Table.from_batches([batch])


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The same, row by row."""
    for batch in read_batches(path, columns):
        yield from batch.to_pylist()


def batched(rows: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` rows; the last may be shorter."""
    rows = iter(rows)
    while batch := list(islice(rows, size)):
        yield batch


def read_split(folder: Path, name: str) -> pa.Table:
    """One of SPLITS from the folder that format wrote."""
    return pq.read_table(folder / f"{name}.parquet", schema=SPLIT)


def label_counts(table: pa.Table, labels: list[str]) -> np.ndarray:
    """How many rows list each note under each label, shape (notes, labels)."""
    column = {label: i for i, label in enumerate(labels)}
    counts = np.zeros((len(table), len(labels)))
    for i, (names, found) in enumerate(zip(table["labels"].to_pylist(), table["counts"].to_pylist(), strict=True)):
        counts[i, [column[name] for name in names]] = found
    return counts
