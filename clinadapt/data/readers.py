"""Read rows from CSV, JSON lines (both also compressed) and Parquet files."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
from charset_normalizer import from_bytes

from clinadapt.errors import UserError

Row = dict[str, Any] | str  # fields by column name, or the reason why the row cannot be read

_OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def read_rows(path: Path, name: str) -> Iterator[Row]:
    """Read rows one by one.

    Args:
        path: the file.
        name: its original file name, whose suffixes tell the format.

    Raises:
        UserError: an unknown format, or a file that cannot be decoded, decompressed or parsed completely.
    """
    suffixes = Path(name.lower()).suffixes
    format_ = next((s for s in reversed(suffixes) if s in (".csv", ".jsonl", ".ndjson", ".parquet")), None)
    try:
        if path.stat().st_size == 0:
            raise UserError(f"{name} is empty: use a file with a header and rows")
        if format_ == ".parquet":
            yield from _parquet(path, name)
        elif format_ in (".jsonl", ".ndjson"):
            with _text(path, suffixes[-1], name) as file:
                yield from _json_lines(file)
        elif format_ == ".csv" or suffixes[-1:] == [".zip"]:
            with _text(path, suffixes[-1], name) as file:
                yield from _csv(file, name)
        else:
            raise UserError(
                f"{name}: unknown format; use .csv, .jsonl or .parquet (also .gz, .bz2, .xz; .csv also .zip)"
            )
    except UnicodeDecodeError as error:
        raise UserError(
            f"{name} is not UTF-8 (byte 0x{error.object[error.start]:02x}): "
            f"convert it, for example with iconv -f {_encoding(error.object)} -t UTF-8"
        ) from error
    except (EOFError, lzma.LZMAError, zlib.error, zipfile.BadZipFile, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # gzip and bz2 raise OSError without one
            raise UserError(f"{name} cannot be read ({error.strerror}): check its permissions") from error
        raise UserError(f"{name} cannot be decompressed, as it is truncated or damaged: fetch it again") from error


def column_names(columns: list[str]) -> str:
    """List column names for an error message, but nothing of a first line that looks like data: a name is at most four
    words without punctuation."""
    if any(len(column) > 40 or len(column.split()) > 4 or set(".,;:!?") & set(column) for column in columns):
        return "the first line does not look like a header"
    return "the columns are " + ", ".join(columns)


@contextmanager
def _text(path: Path, suffix: str, name: str) -> Iterator[IO[str]]:
    if suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.namelist() if m.lower().endswith(".csv") and not m.startswith("__MACOSX/")]
            if len(members) != 1:
                raise UserError(f"{name} contains {len(members)} CSV files: use a .zip with exactly one")
            if archive.getinfo(members[0]).flag_bits & 1:
                raise UserError(f"{name} is encrypted: decrypt it with its password first")
            with archive.open(members[0]) as raw:
                yield io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")
    else:
        with _OPENERS.get(suffix, open)(path, "rb") as raw:  # type: ignore[operator]
            yield io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")


def _csv(file: IO[str], name: str) -> Iterator[Row]:
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(_refuse_nul(file, name), strict=True)
    try:
        header = next(reader, None)
        if not header:
            raise UserError(f"{name} is empty: use a file with a header and rows")
        _refuse_repeated(header, name)
        start = reader.line_num
        for fields in reader:
            start = reader.line_num
            if fields:
                if len(fields) == len(header):
                    yield dict(zip(header, fields, strict=True))
                else:
                    yield f"{len(fields)} fields instead of {len(header)}"
    except csv.Error as error:
        if "end of data" in str(error):
            raise UserError(f"{name}: a quote opened after line {start} is never closed: fix that row") from error
        raise UserError(f"{name}: line {reader.line_num} is not valid CSV: fix its quotes") from error


def _refuse_nul(file: IO[str], name: str) -> Iterator[str]:
    for number, line in enumerate(file, start=1):
        if line.count("\0") > len(line) / 4:  # every other byte
            order = "LE" if line.find("\0") % 2 else "BE"
            raise UserError(f"{name} is UTF-16: convert it with iconv -f UTF-16{order} -t UTF-8")
        if "\0" in line:
            raise UserError(f"{name}: line {number} contains a NUL byte: export the file again as plain text")
        yield line


def _refuse_repeated(columns: list[str], name: str) -> None:
    """Refuse two columns of one name, of which a row could hold only one. Columns without a name cannot be used."""
    for position, column in enumerate(columns, start=1):
        first = columns.index(column) + 1
        if column.strip() and first != position:
            shown = f"'{column}'" if column_names(columns).startswith("the columns") else "one name"
            raise UserError(f"{name}: columns {first} and {position} are both called {shown}: rename one of them")


class _RepeatedField(ValueError):
    """A JSON object has one field twice."""


def _fields_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(fields := dict(pairs)) < len(pairs):
        raise _RepeatedField
    return fields


def _encoding(sample: bytes) -> str:
    """iconv's name for the likely encoding of bytes that are not UTF-8."""
    if sample.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    if sample[1::2].count(0) > len(sample) / 4 or sample[::2].count(0) > len(sample) / 4:
        return "UTF-16LE" if sample[1::2].count(0) > sample[::2].count(0) else "UTF-16BE"
    guess = from_bytes(sample, cp_exclusion=["utf_8"]).best()
    known = {"cp949": "CP949", "euc_kr": "CP949", "cp1251": "WINDOWS-1251", "cp932": "CP932", "gb18030": "GB18030"}
    return known.get(guess.encoding, "WINDOWS-1252") if guess else "WINDOWS-1252"


def _json_lines(file: IO[str]) -> Iterator[Row]:
    for line in file:
        if line.strip():
            try:
                row = json.loads(line, object_pairs_hook=_fields_once)
            except _RepeatedField:
                yield "a field twice"
                continue
            except (ValueError, RecursionError):
                row = None
            yield row if isinstance(row, dict) else "not a JSON object"


def _parquet(path: Path, name: str) -> Iterator[Row]:
    try:
        with pq.ParquetFile(path) as file:
            _refuse_repeated(file.schema_arrow.names, name)
            for batch in file.iter_batches(batch_size=1024):
                yield from batch.to_pylist()
    except pa.ArrowException as error:
        raise UserError(f"{name} is not a valid Parquet file: export it again") from error
