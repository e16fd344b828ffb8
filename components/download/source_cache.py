"""A file of a source, read and validated. It is kept in the store, so that data that grew by files are read where they
grew.

sources/<key>/...    rows.parquet, quarantine.parquet, manifest.json (written last)

The key is a digest of the file's own, of how it is read, and of the code.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from clinadapt.artifacts.artifact_cache import load_folder, save_folder
from clinadapt.artifacts.code_version import code_version
from clinadapt.artifacts.hashing import sha256_json
from clinadapt.artifacts.manifest import write_manifest
from clinadapt.config.instruct import Examples, Source
from clinadapt.data.source_rows import rows as source_rows
from clinadapt.data.sources import digest, names_content
from clinadapt.data.tables import open_tables
from clinadapt.data.text import clean
from clinadapt.storage.object_store import Store
from components.download.layouts import SCHEMAS, table_of, values
from components.download.validation import Unusable

ROWS, QUARANTINE = "rows", "quarantine"  # names of the two tables
_REASONS = pa.schema([("row", pa.int64()), ("reason", pa.string())])


@contextmanager
def part(source: Source, settings: Examples, store: Store | None) -> Iterator[Path]:
    """A folder with the rows of one file (the schema of its kind, source 0), those set aside, and a manifest with
    rows_read, columns and what named the file's content; it goes at the end.

    Args:
        source: whose URI names one file.
        settings: of what is usable.
        store: where it is kept and looked for; nowhere when None.

    Raises:
        UserError: the file cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="clinadapt-source-") as name:
        folder, before = Path(name) / "part", digest(source.uri)
        decided = [source.model_dump(), settings.model_dump(), before, code_version()]
        place = f"sources/{sha256_json(decided)[7:39]}"
        if store is None or not load_folder(store, place, folder, "download"):
            _read(source, settings, folder, before)
            if store and names_content(before) and digest(source.uri) == before:  # nobody wrote to it meanwhile
                save_folder(store, place, folder, "download")
        yield folder


def _read(source: Source, settings: Examples, folder: Path, content: str) -> None:
    folder.mkdir()
    number, columns = 0, list[str]()
    with open_tables(folder, **{ROWS: SCHEMAS[table_of(source.kind)], QUARANTINE: _REASONS}) as tables:
        for number, row in enumerate(source_rows(source.uri), start=1):
            columns = columns or ([clean(column) for column in row if column] if isinstance(row, dict) else [])
            try:
                tables[ROWS].add((0, number, *values(row, source, settings)))
            except Unusable as error:
                tables[QUARANTINE].add((number, str(error)))
    write_manifest(folder, {"rows_read": number, "columns": columns, "content": content})
