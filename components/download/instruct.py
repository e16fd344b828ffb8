"""Read texts, ready-made triples and preference pairs into three validated Parquet tables."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from clinadapt.artifacts.hashing import read_json, sha256_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.clinical.number_format import DecimalCounts
from clinadapt.config.instruct import COLUMNS, Examples, Source
from clinadapt.data.patients import Pseudonyms, combined
from clinadapt.data.readers import unusable_rows_advice
from clinadapt.data.schemas.feedback import CORRECTIONS
from clinadapt.data.schemas.known import KNOWN
from clinadapt.data.sources import combined_digest, redacted_uri, source_files
from clinadapt.data.tables import TableWriter, iter_batches, iter_rows, open_tables, output_folder
from clinadapt.errors import UserError
from clinadapt.storage.object_store import Store
from components.download.feedback import corrected_answers
from components.download.known_values import refuse_unused
from components.download.layouts import LAYOUTS, TABLES
from components.download.source_cache import KNOWN_VALUES, QUARANTINE, ROWS, parsed_file
from components.download.unused_values import by_frequency


def run(
    sources: list[Source],
    output: Path,
    settings: Examples,
    store: Store | None = None,
    known_columns: Sequence[str] = (),
) -> dict[str, Any]:
    """Download all sources.

    Repeated notes and case reports are dropped and counted as `repeated`: MTSamples lists the same note under several
    specialties. The files of a folder are read in the order of their names, and their rows are numbered continuously.

    Args:
        sources: of the profile.
        output: gets texts, triples and preferences.parquet (schemas TEXTS, TRIPLES, PREFERENCES), quarantine.csv
            (source, row, reason), known.parquet (KNOWN) where there are known columns, feedback.parquet (CORRECTIONS)
            where there is a source of that kind, and the manifest.
        settings: limits of a valid row.
        store: caches parsed files, so that only new files of a folder are read.
        known_columns: with what identifies the patient, for screen.

    Returns:
        The manifest.

    Raises:
        UserError: a source cannot be read, or has no valid row.
    """
    with output_folder(output):
        schemas = TABLES | ({KNOWN_VALUES: KNOWN} if known_columns else {})
        schemas |= {"feedback": CORRECTIONS} if any(source.kind == "feedback" for source in sources) else {}
        with (
            open_tables(output, **schemas) as tables,
            (output / "quarantine.csv").open("w", newline="", encoding="utf-8") as file,
        ):
            quarantine = csv.writer(file)
            quarantine.writerow(("source", "row", "reason"))
            dataset = _Dataset(tables, quarantine.writerow, settings, store, known_columns)
            counts = [
                dataset.add_feedback(number, source) if source.kind == "feedback" else dataset.add(number, source)
                for number, source in enumerate(sources)
            ]
            dataset.refuse_unused_columns()
        summary = {
            "origin": combined(dataset.origins, dataset.pseudonyms),
            "source": [{"kind": source.kind, "uri": redacted_uri(source.uri)} for source in sources],
            "sources": counts,
            **{key: sum(entry[key] for entry in counts) for key in ("rows_read", "rows_kept", "repeated")},
            "unused": by_frequency(sum((Counter(entry["unused"]) for entry in counts), Counter())),
            "decimal_comma": [number for number, entry in enumerate(counts) if entry["decimal_comma"]],
            "quarantined": dict(sum((Counter(entry["quarantined"]) for entry in counts), Counter()).most_common()),
            "rows": {name: tables[name].rows for name in TABLES},
            "feedback": [entry["feedback"] for entry in counts if "feedback" in entry],
        }
        return write_manifest(output, summary, "download", dataset.digests)


class _Dataset:
    """The tables that sources are added to.

    Attributes:
        digests: redacted URI of each source -> digest of its content.
        pseudonyms: of all sources.
        origins: `OriginReader.summary` of the files of all sources but built-in ones.
    """

    def __init__(
        self,
        tables: dict[str, TableWriter],
        write_quarantined: Callable[[tuple[int, int, str]], Any],
        settings: Examples,
        store: Store | None,
        known_columns: Sequence[str],
    ) -> None:
        """`write_quarantined` takes number of the source, row and reason."""
        self._known_columns, self._used, self._columns = known_columns, set[str](), list[str]()
        self.digests: dict[str, str] = {}
        self.pseudonyms = Pseudonyms()
        self.origins: list[dict[str, Any]] = []
        self._tables, self._write_quarantined = tables, write_quarantined
        self._settings, self._store = settings, store
        self._seen: set[bytes] = set()

    def add(self, number: int, source: Source) -> dict[str, Any]:
        """Add the valid rows of a source to its table. Returns the counts of its rows."""
        table = LAYOUTS[source.kind].table
        reasons: Counter[str] = Counter()
        unused, decimals = Counter[str](), DecimalCounts()
        kept = repeated = rows = 0
        columns: list[str] = []
        digests: dict[str, str] = {}
        for uri in source_files(source.uri):
            file = source.model_copy(update={"uri": uri})
            with parsed_file(file, self._settings, self._store, self.pseudonyms, self._known_columns) as folder:
                rows_kept = set[int]()
                for batch in map(self._with_stored_identifiers, iter_batches(folder / f"{ROWS}.parquet")):
                    new = batch.filter(self._is_new(batch)) if table == "texts" else batch
                    self._tables[table].add_table(_renumber(new, number, rows))
                    rows_kept.update(new["row"].to_pylist() if self._known_columns else ())
                    kept, repeated = kept + len(new), repeated + len(batch) - len(new)
                for batch in iter_batches(folder / f"{KNOWN_VALUES}.parquet") if self._known_columns else ():
                    own = pa.array([row in rows_kept for row in batch["row"].to_pylist()], pa.bool_())
                    self._tables[KNOWN_VALUES].add_table(_renumber(batch.filter(own), number, rows))
                for entry in iter_rows(folder / f"{QUARANTINE}.parquet", ("row", "reason")):
                    reasons[entry["reason"]] += 1
                    self._write_quarantined((number, rows + entry["row"], entry["reason"]))
                manifest = read_json(folder / MANIFEST)
                if not source.synthetic:
                    self.origins.append(manifest["origin"])
                    self._used.update(manifest["known_columns"])
                    self._columns = self._columns or manifest["columns"]
            rows, columns = rows + manifest["rows_read"], columns or manifest["columns"]
            unused += Counter(manifest["unused"])
            decimals = DecimalCounts(*map(sum, zip(decimals, manifest["decimals"], strict=True)))
            digests[uri] = manifest["source_digest"]
        _refuse_unusable(source, rows, reasons, columns)
        self.digests[redacted_uri(source.uri)] = combined_digest(source.uri, digests)
        return {
            "rows_read": rows,
            "rows_kept": kept,
            "repeated": repeated,
            "quarantined": dict(reasons.most_common()),
            "unused": by_frequency(unused),
            "decimals": decimals._asdict(),
            "decimal_comma": _decimal_comma(source, decimals),
        }

    def add_feedback(self, number: int, source: Source) -> dict[str, Any]:
        """Add what people corrected. Returns the counts of `add`, and those of the corrections as `feedback`."""
        rows = corrected_answers(number, source, self._settings.max_note_characters)
        for name, each in (("triples", rows.triples), ("preferences", rows.preferences), ("feedback", rows.records)):
            for row in each:
                self._tables[name].add(row)
        for place, reason in rows.quarantine:
            self._write_quarantined((number, place, reason))
        self.digests[redacted_uri(source.uri)] = sha256_json([rows.triples, rows.preferences, rows.records])
        return {
            "rows_read": rows.summary["judged"],
            "rows_kept": len(rows.triples),
            "repeated": 0,
            "quarantined": rows.summary["quarantined"],
            "unused": {},
            "decimal_comma": rows.decimal_comma,
            "feedback": {"source": number, **rows.summary},
        }

    def refuse_unused_columns(self) -> None:
        """Raises UserError if no source but built-in ones has a known column."""
        if self.origins:
            refuse_unused(self._known_columns, self._used, self._columns)

    def _with_stored_identifiers(self, batch: pa.Table) -> pa.Table:
        for field in ("patient", "encounter"):
            stored = [self.pseudonyms.stored(field, hashed) for hashed in batch[field].to_pylist()]
            position = batch.schema.get_field_index(field)
            batch = batch.set_column(position, batch.schema.field(position), pa.array(stored, pa.string()))
        return batch

    def _is_new(self, batch: pa.Table) -> pa.Array:
        """Mask of the texts that no row before has, of the same patient, encounter and date; shape (rows,)."""
        new = []
        columns = (batch[name].to_pylist() for name in ("kind", "text", "patient", "encounter", "date"))
        for row in zip(*columns, strict=True):
            digest = hashlib.sha256(repr(row).encode()).digest()
            new.append(digest not in self._seen)
            self._seen.add(digest)
        return pa.array(new, pa.bool_())


def _decimal_comma(source: Source, decimals: DecimalCounts) -> bool:
    """Whether the numbers of a source have a decimal comma. Raises UserError where its texts do not agree."""
    if source.decimal == "auto" and decimals.mixed:
        raise UserError(
            f"{redacted_uri(source.uri)} has {decimals.comma} numbers with a decimal comma and {decimals.point} with a "
            "decimal point: say which it is with `decimal: comma` or `decimal: point` of this source in the profile"
        )
    return decimals.decimal_comma if source.decimal == "auto" else source.decimal == "comma"


def _renumber(batch: pa.Table, number: int, offset: int) -> pa.Table:
    """Set the number of the source, and add the rows of the files before to the row numbers."""
    sources = pa.array([number] * len(batch), pa.int32())
    return batch.set_column(0, batch.schema.field(0), sources).set_column(
        1, batch.schema.field(1), pc.add(batch["row"], offset)
    )


def _refuse_unusable(source: Source, rows: int, reasons: Counter[str], columns: list[str]) -> None:
    if rows == 0:
        raise UserError(f"{redacted_uri(source.uri)} has no rows: use a file with {source.kind}")
    if reasons.total() == rows:
        reason, count = reasons.most_common(1)[0]
        raise UserError(
            f"none of the {rows} rows of {redacted_uri(source.uri)} can be used as {source.kind} ({count} x {reason}): "
            f"{unusable_rows_advice(COLUMNS[source.kind], source.columns, columns)}"
        )
