"""Read rows from CSV (separated by commas, semicolons, tabs or pipes), JSON and JSON lines (also compressed, also FHIR
resources), Parquet and Excel files."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import IO, Any

from clinadapt.config.origin import USUAL_NAMES, usual_name
from clinadapt.data.encodings import likely_encoding, refuse_utf16
from clinadapt.data.fhir import fhir_rows, is_resource
from clinadapt.errors import UserError

Row = dict[str, Any] | str  # fields by column name, or the reason why the row cannot be read

_USUAL_COLUMNS = {
    "answer", "body", "category", "charttime", "chosen", "class", "code", "codes", "completion", "content", "context",
    "conversations",
    "date", "department", "description", "dialogue", "document", "hadm_id", "id", "index", "input", "instruction",
    "instructions", "keywords", "label", "labels", "medical_specialty", "messages", "note", "note_id",
    "note_text", "notes", "output", "patient_id", "prompt", "question", "rejected", "report", "response", "row",
    "row_id", "sample_name", "section", "section_header", "section_text", "source", "specialty", "split",
    "subject_id", "summary", "task", "text", "title", "transcription", "type"
}  # fmt: skip
# Field -> usual names of its column, in the order in which they are offered where its column is missing
LIKELY: dict[str, tuple[str, ...]] = {
    "text": ("text", "note_text", "note", "notes", "report", "transcription", "content", "document", "body", "input"),
    "note": ("note", "note_text", "text", "dialogue", "input", "context", "document", "report", "transcription"),
    "label": ("label", "labels", "specialty", "medical_specialty", "category", "class", "type", "department", "code"),
    "instruction": ("instruction", "question", "prompt", "input"),
    "answer": ("answer", "output", "response", "completion", "summary", "section_text"),
    "messages": ("messages", "conversations"),
    "task": ("task", "type"),
    "chosen": ("chosen",),
    "rejected": ("rejected",),
}
MAX_ROW = 2**24  # characters of a row; a longer one is not a note
MAX_COLUMNS = 10_000
MAX_CELL = 32_767  # characters, at which spreadsheets cut a text
MAX_JSON = 2**28  # characters of a .json file, which is read at once
MAX_JSON_VALUES = 2**24  # of it, of up to 100 bytes each, counted by what opens or parts them
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}  # of a CSV file
_SEPARATOR_LINE = re.compile(r'"?sep=([,;|\t])"?\s*')  # which Excel writes and reads before the header
FORMATS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".xlsx")
_TEXTS = ": write the texts into one of these, a row a note, in a column called transcription"
_INSTEAD = {".xls": ": save it as .xlsx"} | dict.fromkeys((".txt", ".pdf", ".doc", ".docx", ".rtf", ".xml"), _TEXTS)
MAX_EXPANSION = 200  # bytes that a compressed file may expand to, for each of its own; text stays below 20
MIN_EXPANDED = 2**28  # bytes that any compressed file may expand to

_EXPANDS = f"{{name}} expands to more than {MAX_EXPANSION} times its size: unpack it and look at it"
_OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def read_rows(path: Path, name: str) -> Iterator[Row]:
    """Read rows one by one.

    Args:
        path: the file.
        name: its original file name, whose suffixes tell the format.

    Raises:
        UserError: an unknown format, or a file that cannot be decoded, decompressed or parsed completely.
    """
    suffixes, format_ = Path(name.lower()).suffixes, _format(name)
    try:
        if path.stat().st_size == 0:
            raise UserError(f"{name} is empty: use a file with a header and rows")
        if format_ == ".parquet":
            yield from _parquet(path, name)
        elif format_ == ".xlsx":
            from clinadapt.data.spreadsheets import read_sheet

            yield from _sheet(read_sheet(path, name), name)
        elif format_ in (".jsonl", ".ndjson"):
            with _text(path, suffixes[-1], name) as file:
                yield from _json_lines(file, name)
        elif format_ == ".json":
            with _text(path, suffixes[-1], name) as file:
                yield from _json(file, name)
        elif format_ in (".csv", ".tsv") or suffixes[-1:] == [".zip"]:
            with _text(path, suffixes[-1], name) as file:
                yield from _csv(file, name)
        else:
            instead = _INSTEAD.get(suffixes[-1] if suffixes else "", "")
            raise UserError(
                f"{name}: unknown format; use .csv, .tsv, .json, .jsonl (or .gz, .bz2, .xz, .csv also .zip), .parquet, "
                f".xlsx{instead}"
            )
    except UnicodeDecodeError as error:
        raise UserError(
            f"{name} is not UTF-8 (byte 0x{error.object[error.start]:02x}): "
            f"convert it, for example with iconv -f {likely_encoding(error.object)} -t UTF-8"
        ) from error
    except (EOFError, lzma.LZMAError, zlib.error, zipfile.BadZipFile, NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # gzip and bz2 raise OSError without one
            raise UserError(f"{name} cannot be read ({error.strerror}): check its permissions") from error
        raise UserError(f"{name} cannot be decompressed, as it is truncated or damaged: fetch it again") from error


def _format(name: str) -> str | None:
    return next((s for s in reversed(Path(name.lower()).suffixes) if s in FORMATS), None)


def is_data_file(name: str) -> bool:
    """Whether a file of this name is read; beside those in a folder, a README is not."""
    return _format(name) is not None or name.lower().endswith(".zip")


@lru_cache(maxsize=1024)
def is_usual(column: str) -> bool:
    """Whether headers usually have this column name, so that it cannot be a patient's data."""
    plain = usual_name(column)
    return column.strip().lower().replace(" ", "_") in _USUAL_COLUMNS or any(plain in u for u in USUAL_NAMES.values())


def column_names(columns: list[str]) -> str:
    """Describe the columns for an error message. Only names that headers usually have are shown, the others counted:
    without a header, the first line is a patient's."""
    known = [column for column in columns if is_usual(column)]
    others = len(columns) - len(known)
    if not known:
        counted = "is 1 column and it has no" if others == 1 else f"are {others:,} columns, of which none has a"
        return f"there {counted} usual name: is the first line a header?"
    more = f" and {others:,} with {'another name' if others == 1 else 'other names'}" if others else ""
    return "the columns are " + ", ".join(known) + more


def columns_option(defaults: Mapping[str, str], named: Mapping[str, str], columns: list[str]) -> str:
    """What to type to name the columns of a file.

    Args:
        defaults: field -> its column where no other is named.
        named: field -> column, as the settings name it.
        columns: of the file; one of LIKELY is offered for a field whose column is not there.
    """
    offered: dict[str, str] = {}
    for field, default in defaults.items():
        if named.get(field, default) not in columns:
            taken = {*offered.values(), *named.values()}
            by_name = {column.strip().lower().replace(" ", "_"): column for column in columns if column not in taken}
            likely = next((by_name[name] for name in LIKELY.get(field, (field,)) if name in by_name), None)
            offered[field] = likely or "COLUMN"
    missing = ",".join(f"{field}={column}" for field, column in offered.items() if field != "description")
    return f"name its columns, as in --columns {missing or ','.join(f'{field}=COLUMN' for field in defaults)}"


def unusable_rows_advice(defaults: Mapping[str, str], named: Mapping[str, str], columns: list[str]) -> str:
    """What to do where no row of a source can be used; arguments as of `columns_option`. Without `columns`, none could
    even be read, and no option helps."""
    if not columns:
        return "fix the rows, or choose another file"
    return f"{columns_option(defaults, named, columns)} ({column_names(columns)}), or fix the rows"


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
                yield _decoded(raw, path, name)
    else:
        with _OPENERS.get(suffix, open)(path, "rb") as raw:  # type: ignore[operator]
            yield _decoded(raw, path, name)


class _Expansion(io.RawIOBase):
    """A decompressed stream that may not be much larger than its file."""

    def __init__(self, raw: IO[bytes], limit: int, name: str) -> None:
        self._raw, self._left, self._name = raw, limit, name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._raw.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise UserError(_EXPANDS.format(name=self._name))
        buffer[: len(data)] = data
        return len(data)


def _decoded(raw: IO[bytes], path: Path, name: str) -> IO[str]:
    limit = max(MIN_EXPANDED, MAX_EXPANSION * path.stat().st_size)
    return io.TextIOWrapper(io.BufferedReader(_Expansion(raw, limit, name), 2**18), encoding="utf-8-sig", newline="")


class _Lines:
    """The lines of a CSV file. `row` counts the characters since it was last set to 0."""

    def __init__(self, file: IO[str], name: str) -> None:
        self._file, self._name, self._number = file, name, 0
        self.row = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._file.readline(MAX_ROW + 1)
        self._number += 1
        self.row += len(line)
        if self.row > MAX_ROW:
            raise UserError(
                f"{self._name}: the row at line {self._number} has more than {MAX_ROW:,} characters: fix its quotes "
                "or remove it"
            )
        refuse_utf16(line, self._name)
        if "\0" in line:
            raise UserError(
                f"{self._name}: line {self._number} contains a NUL byte: export the file again as plain text"
            )
        if not line:
            raise StopIteration
        return line


def _csv(file: IO[str], name: str) -> Iterator[Row]:
    csv.field_size_limit(MAX_ROW)
    lines = _Lines(file, name)
    first = next(lines, "")
    separator = _SEPARATOR_LINE.fullmatch(first)
    delimiter = separator[1] if separator else _delimiter(first, name)
    reader = csv.reader(lines if separator else chain([first], lines), delimiter=delimiter, strict=True)
    start = 1
    try:
        header = next(reader, None)
        if not header:
            raise UserError(f"{name} is empty: use a file with a header and rows")
        _check_header(header, name)
        start, lines.row = reader.line_num, 0
        for fields in reader:
            start, lines.row = reader.line_num, 0
            if fields:
                if len(fields) == len(header):
                    yield dict(zip(header, fields, strict=True))
                else:
                    yield f"{len(fields)} fields instead of {len(header)}"
    except csv.Error as error:
        if "end of data" in str(error):
            raise UserError(f"{name}: a quote opened after line {start} is never closed: fix that row") from error
        raise UserError(f"{name}: line {reader.line_num} is not valid CSV: fix its quotes") from error


def _sheet(rows: Iterator[tuple[Any, ...]], name: str) -> Iterator[Row]:
    header: list[str] = []
    for row in rows:
        filled = max((i for i, value in enumerate(row, start=1) if value is not None), default=0)
        if not header and filled:
            header = ["" if value is None else str(value) for value in row[:filled]]
            _check_header(header, name)
        elif filled > len(header):
            yield f"{filled} fields instead of {len(header)}"
        elif any(isinstance(value, str) and len(value) >= MAX_CELL for value in row):
            yield f"a cell of {MAX_CELL:,} characters, at which spreadsheets cut a text"
        elif filled:
            yield dict(zip(header, [*row[:filled], *[None] * (len(header) - filled)], strict=True))


def _check_header(columns: list[str], name: str) -> None:
    _refuse_repeated(columns, name)
    if len(columns) > MAX_COLUMNS:
        raise UserError(f"{name} has {len(columns):,} columns, more than {MAX_COLUMNS:,}: use a file of notes")


def _delimiter(header: str, name: str) -> str:
    """What separates the columns of a CSV file: a tab in a .tsv file; else the only delimiter of _DELIMITERS in its
    header outside of quotes, or of several the one between the most usual names; a comma where there is none, or where
    it does as well as another.

    Raises:
        UserError: several would do equally well, and the comma is not among them.
    """
    unquoted = re.sub('"(?:[^"]++|"")*+("|$)', "", header)  # without a way back, for which each character took memory
    if _format(name) == ".tsv" and "\t" in unquoted:
        return "\t"
    candidates = [delimiter for delimiter in _DELIMITERS if delimiter in unquoted]
    if len(candidates) < 2:
        return candidates[0] if candidates else ","
    usual = {c: sum(map(is_usual, next(csv.reader([header], delimiter=c)))) for c in candidates}
    best = [c for c in candidates if usual[c] == max(usual.values())]
    if len(best) > 1 and "," not in best:
        kinds = " or a ".join(_DELIMITERS[c] for c in best)
        raise UserError(f"{name}: its columns could be separated by a {kinds}: write it with commas, texts in quotes")
    return best[0]


def _refuse_repeated(columns: list[str], name: str) -> None:
    """Refuse two columns of one name, of which a row could hold only one. Columns without a name cannot be used."""
    positions: dict[str, int] = {}
    for position, column in enumerate(columns, start=1):
        first = positions.setdefault(column, position)
        if column.strip() and first != position:
            shown = f"'{column}'" if is_usual(column) else "one name"
            raise UserError(f"{name}: columns {first} and {position} are both called {shown}: rename one of them")


class _RepeatedField(ValueError):
    """A JSON object has one field twice."""


def _fields_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(fields := dict(pairs)) < len(pairs):
        raise _RepeatedField
    return fields


def _json_lines(file: IO[str], name: str) -> Iterator[Row]:
    while line := file.readline(MAX_ROW + 1):
        if len(line) > MAX_ROW:
            while line and not line.endswith("\n"):
                line = file.readline(MAX_ROW)
            yield f"longer than {MAX_ROW:,} characters"
        elif line.strip():
            refuse_utf16(line, name)
            try:
                row = json.loads(line, object_pairs_hook=_fields_once)
            except _RepeatedField:
                yield "a field twice"
                continue
            except (ValueError, RecursionError):
                row = None
            yield from _json_rows(row)


def _json_rows(value: Any) -> Iterator[Row]:
    """The row that a JSON value is, or the notes in a FHIR resource."""
    if isinstance(value, dict) and len(value) > MAX_COLUMNS:
        yield f"more than {MAX_COLUMNS:,} fields"
    elif is_resource(value):
        yield from fhir_rows(value)
    else:
        yield value if isinstance(value, dict) else "not a JSON object"


def _json(file: IO[str], name: str) -> Iterator[Row]:
    text = file.read(MAX_JSON + 1)
    if len(text) > MAX_JSON:
        raise UserError(f"{name} has more than {MAX_JSON:,} characters: write it as JSON lines, one object a line")
    refuse_utf16(text[:1000], name)
    if sum(map(text.count, "{[,")) > MAX_JSON_VALUES:
        raise UserError(f"{name} has more than {MAX_JSON_VALUES:,} values: write it as JSON lines, one object a line")
    try:
        value = json.loads(text, object_pairs_hook=_fields_once)
    except _RepeatedField as error:
        raise UserError(f"{name}: an object has a field twice: export it again") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name} is not valid JSON; a file with one object a line is called .jsonl") from error
    if not isinstance(value, list) and not is_resource(value):
        raise UserError(f"{name} is neither an array of objects nor a FHIR resource: write the rows as one array")
    for row in value if isinstance(value, list) else [value]:
        yield from _json_rows(row)


def _parquet(path: Path, name: str) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from clinadapt.data.parquet_rows import row_batches, stated_size

    try:
        with pq.ParquetFile(path) as file:
            _check_header(file.schema_arrow.names, name)
            left = max(MIN_EXPANDED, MAX_EXPANSION * path.stat().st_size)
            if stated_size(file.metadata, name) > left:
                raise UserError(_EXPANDS.format(name=name))
            for batch in row_batches(path, file):
                left -= batch.nbytes
                if left < 0:
                    raise UserError(_EXPANDS.format(name=name))
                for rows in [batch] if batch.nbytes <= MAX_ROW else (batch.slice(i, 1) for i in range(len(batch))):
                    too_long = len(rows) == 1 and rows.nbytes > MAX_ROW
                    yield from [f"longer than {MAX_ROW:,} bytes"] if too_long else rows.to_pylist()
    except UnicodeDecodeError:
        raise
    except pa.ArrowException as error:
        raise UserError(f"{name} is not a valid Parquet file: export it again") from error
    except (ValueError, TypeError, OverflowError, NotImplementedError) as error:
        raise UserError(f"{name} has a column of a type that is not read: export it as text") from error
