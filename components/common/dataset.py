"""The tables that steps hand on, as Parquet, and the text rule that they share."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.common.errors import UserError

# One row of the source that can be used. `row` counts from 1 in the source, without the header.
NOTES = pa.schema([("row", pa.int64()), ("text", pa.string()), ("label", pa.string())])

# One different note. `labels` and `counts` (same length) say how many rows listed it under which label.
SPLIT = pa.schema(
    [
        ("note", pa.string()),
        ("text", pa.string()),
        ("labels", pa.list_(pa.string())),
        ("counts", pa.list_(pa.int32())),
        ("cluster", pa.int32()),
    ]
)
SPLITS = ("train", "validation", "test")

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\ufffe\uffff\ud800-\udfff]")


def clean(text: str) -> str:
    """Unicode NFC, no control characters, no blanks at line ends, at most one empty line in a row."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = _CONTROL.sub(" ", text)
    text = re.sub(r"[^\S\n]+", " ", text)
    return re.sub(r" ?\n ?", "\n", re.sub(r"(\s*\n){3,}", "\n\n", text)).strip()


def write_table(table: pa.Table, path: Path) -> None:
    """Write Parquet with zstd. Raises UserError when there is no space."""
    try:
        pq.write_table(table, path, compression="zstd")
    except OSError as error:
        raise UserError(
            f"cannot write {path.name}: {error.strerror or 'no space left'}; free space and run again"
        ) from error


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
