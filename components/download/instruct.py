"""Texts, ready-made triples and preference pairs of any layout -> three Parquet tables, with a manifest and a
quarantine list."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.config.instruct import Examples, Source
from clinadapt.data.readers import column_names
from clinadapt.data.sources import files, shown, together
from clinadapt.data.tables import TableWriter, new_folder, open_tables, read_batches, read_rows
from clinadapt.errors import UserError
from clinadapt.storage.object_store import Store
from components.download.layouts import SCHEMAS, table_of
from components.download.source_cache import QUARANTINE, ROWS, part


def run(sources: list[Source], output: Path, settings: Examples, store: Store | None = None) -> dict[str, Any]:
    """Write texts, triples and preferences.parquet (schemas TEXTS, TRIPLES, PREFERENCES), quarantine.csv (source, row,
    reason) and the manifest; return the manifest. A note or case that was there before is left out and counted
    (`repeated`): MTSamples lists the same note under several specialties.

    The files of a folder are read by name, and their rows counted on from file to file. With a store, a file that was
    read before is not read again.

    Raises:
        UserError: a source cannot be read, or none of its rows can be used.
    """
    listed, contents = [], list[dict[str, str]]()
    seen: set[bytes] = set()
    with new_folder(output):
        with (
            open_tables(output, **SCHEMAS) as tables,
            (output / "quarantine.csv").open("w", newline="", encoding="utf-8") as file,
        ):
            quarantine = csv.writer(file)
            quarantine.writerow(("source", "row", "reason"))
            for number, source in enumerate(sources):
                table = tables[table_of(source.kind)]
                contents.append({})
                listed.append(_read(number, source, settings, table, quarantine.writerow, seen, store, contents[-1]))
        facts = {
            "source": [{"kind": source.kind, "uri": shown(source.uri)} for source in sources],
            "sources": listed,
            **{key: sum(found[key] for found in listed) for key in ("rows_read", "rows_kept", "repeated")},
            "quarantined": dict(sum((Counter(found["quarantined"]) for found in listed), Counter()).most_common()),
            "rows": {name: table.rows for name, table in tables.items()},
        }
        read = {shown(s.uri): together(s.uri, content) for s, content in zip(sources, contents, strict=True)}
        return write_manifest(output, facts, "download", read)


def _read(
    number: int,
    source: Source,
    settings: Examples,
    table: TableWriter,
    set_aside: Callable[[tuple[int, int, str]], Any],
    seen: set[bytes],
    store: Store | None,
    contents: dict[str, str],
) -> dict[str, Any]:
    """Add the usable rows of a source to their table, and what names the content of each file that was read to
    `contents`; what became of all rows."""
    reasons: Counter[str] = Counter()
    kept = repeated = rows = 0
    columns: list[str] = []
    for uri in files(source.uri):
        with part(source.model_copy(update={"uri": uri}), settings, store) as folder:
            for batch in read_batches(folder / f"{ROWS}.parquet"):
                new = batch.filter(_first(batch, seen)) if table_of(source.kind) == "texts" else batch
                table.add_table(_numbered(new, number, rows))
                kept, repeated = kept + len(new), repeated + len(batch) - len(new)
            for entry in read_rows(folder / f"{QUARANTINE}.parquet", ("row", "reason")):
                reasons[entry["reason"]] += 1
                set_aside((number, rows + entry["row"], entry["reason"]))
            facts = read_json(folder / MANIFEST)
        rows, columns = rows + facts["rows_read"], columns or facts["columns"]
        contents[uri] = facts["content"]
    _refuse_useless(source, rows, reasons, columns)
    return {"rows_read": rows, "rows_kept": kept, "repeated": repeated, "quarantined": dict(reasons.most_common())}


def _first(batch: pa.Table, seen: set[bytes]) -> pa.Array:
    """Which texts are seen for the first time."""
    first = []
    for kind, text in zip(batch["kind"].to_pylist(), batch["text"].to_pylist(), strict=True):
        digest = hashlib.sha256(f"{kind} {text}".encode()).digest()
        first.append(digest not in seen)
        seen.add(digest)
    return pa.array(first, pa.bool_())


def _numbered(batch: pa.Table, number: int, before: int) -> pa.Table:
    """With the number of their source, and rows counted on from those of the files before."""
    sources = pa.array([number] * len(batch), pa.int32())
    return batch.set_column(0, batch.schema.field(0), sources).set_column(
        1, batch.schema.field(1), pc.add(batch["row"], before)
    )


def _refuse_useless(source: Source, rows: int, reasons: Counter[str], columns: list[str]) -> None:
    if rows == 0:
        raise UserError(f"{shown(source.uri)} has no rows: give a file with {source.kind}")
    if reasons.total() == rows:
        reason, count = reasons.most_common(1)[0]
        raise UserError(
            f"none of the {rows} rows of {shown(source.uri)} can be used as {source.kind} ({count} x {reason}): "
            f"name its columns in the profile ({column_names(columns)}), or mend the rows"
        )
