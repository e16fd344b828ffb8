"""Parsed files of sources, cached in the store, so that only new or changed files of a folder are read again.

    sources/<key>/    rows.parquet, quarantine.parquet, manifest.json (written last)

The key is a hash of the file's digest, the settings it is parsed with, and the code version.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from clinadapt.artifacts.artifact_cache import load_folder, save_folder
from clinadapt.artifacts.code_version import code_version
from clinadapt.artifacts.hashing import sha256_json
from clinadapt.artifacts.manifest import write_manifest
from clinadapt.clinical.number_format import DecimalCounts
from clinadapt.config.instruct import Examples, Source
from clinadapt.config.origin import ORIGIN, named_origin
from clinadapt.data.patients import OriginReader, Pseudonyms, no_column
from clinadapt.data.readers import is_usual
from clinadapt.data.schemas.known import KNOWN
from clinadapt.data.sources import identifies_content, source_digest, source_rows
from clinadapt.data.tables import open_tables
from clinadapt.storage.object_store import Store
from components.download.known_values import KnownValues
from components.download.layouts import LAYOUTS, parse_row
from components.download.unused_values import TrackedRow, by_frequency
from components.download.validation import InvalidRow

ROWS, QUARANTINE, KNOWN_VALUES = "rows", "quarantine", "known"  # names of the tables
_ENOUGH = 1000  # numbers, to see how a file writes them
_QUARANTINE_SCHEMA = pa.schema([("row", pa.int64()), ("reason", pa.string())])


@contextmanager
def parsed_file(
    source: Source,
    settings: Examples,
    store: Store | None,
    pseudonyms: Pseudonyms,
    known_columns: Sequence[str] = (),
) -> Iterator[Path]:
    """Parse one file of a source, or fetch the result from the cache, into a temporary folder.

    The folder contains ROWS (the schema of the layout, `source` 0 and `row` counted from 1), QUARANTINE (row, reason),
    KNOWN_VALUES (schema KNOWN) and a manifest with rows_read, columns (unusual names, which may be data, as empty
    strings), unused (values that were not read, by column), decimals (DecimalCounts of the first numbers),
    source_digest, origin (`OriginReader.summary`) and known_columns, those of them that rows have.

    Args:
        source: its `uri` is the URI of one file.
        settings: limits of a valid row.
        store: where to cache; None to parse without a cache. A file with patients is cached only if they are hashed
            with a key, so that their hashes are those of later runs.
        pseudonyms: hash the identifiers.
        known_columns: with what identifies the patient; it is not cached.

    Raises:
        UserError: the file cannot be read, or has no column for a field of ORIGIN that the source names.
    """
    with tempfile.TemporaryDirectory(prefix="clinadapt-source-") as name:
        folder, digest = Path(name) / "parsed", source_digest(source.uri)
        code = code_version("components.download.source_cache")
        inputs = [source.model_dump(), settings.model_dump(), digest, pseudonyms.key_id, code]
        prefix = f"sources/{sha256_json(inputs)[7:39]}"
        store = None if known_columns else store
        if store is None or not load_folder(store, prefix, folder, "download"):
            origins = OriginReader(named_origin(source.columns), pseudonyms)
            _parse(source, settings, folder, digest, origins, KnownValues(known_columns))
            lasting = bool(pseudonyms.key_id) or not (origins.columns.keys() & {"patient", "encounter"})
            unchanged = identifies_content(digest) and source_digest(source.uri) == digest
            if store and lasting and unchanged:  # not written to while it was read
                save_folder(store, prefix, folder, "download")
        yield folder


def _parse(
    source: Source, settings: Examples, folder: Path, digest: str, origins: OriginReader, known: KnownValues
) -> None:
    folder.mkdir()
    number, columns, present = 0, list[str](), set[str]()
    unused, decimals = Counter[str](), DecimalCounts()
    schemas = {ROWS: LAYOUTS[source.kind].schema, QUARANTINE: _QUARANTINE_SCHEMA, KNOWN_VALUES: KNOWN}
    with open_tables(folder, **schemas) as tables:
        for number, row in enumerate(source_rows(source.uri), start=1):
            if isinstance(row, str):
                tables[QUARANTINE].add((number, row))
                continue
            columns = columns or [column if is_usual(column) else "" for column in row]
            present.update(row)
            tracked = TrackedRow(row)
            try:
                values = parse_row(tracked, source, settings)
            except InvalidRow as error:
                tables[QUARANTINE].add((number, str(error)))
                continue
            tables[ROWS].add((0, number, *values, *origins.read(tracked)))
            if identifying := known.read(tracked):
                tables[KNOWN_VALUES].add((0, number, identifying))
            unused.update(tracked.unused())
            if sum(decimals) < _ENOUGH:
                decimals = decimals.plus(text for text in values if isinstance(text, str))
    if tables[ROWS].rows:
        origins.refuse_unused(source.uri, columns)
        for field, column in source.columns.items():
            if field not in ORIGIN and column and column not in present:
                raise no_column(source.uri, column, columns)
    write_manifest(
        folder,
        {
            "rows_read": number,
            "columns": columns,
            "unused": by_frequency(unused),
            "decimals": decimals,
            "source_digest": digest,
            "origin": origins.summary(),
            "known_columns": sorted(known.used),
        },
    )
