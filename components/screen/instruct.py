"""Screen texts, triples and preference pairs."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.config.phi import Phi
from clinadapt.data.schemas.feedback import CORRECTIONS, FEEDBACK_FILE
from clinadapt.data.schemas.instruct import PREFERENCES, TEXTS, TRIPLES
from clinadapt.data.tables import output_folder, write_table
from clinadapt.errors import UserError
from clinadapt.privacy.mentions import Mentions
from clinadapt.privacy.screening import Screener
from components.screen.patients import (
    Findings,
    Known,
    TextRow,
    pass_on,
    patient_of,
    read_known,
    screen_rows,
    screener_for,
    seal,
    summary,
    write_note_ids,
    write_quarantine,
)

SCHEMAS = {"texts": TEXTS, "triples": TRIPLES, "preferences": PREFERENCES}
# Of each table the columns with text, the note first
TEXT_COLUMNS = {
    "texts": ("text", "description"),
    "triples": ("note_text", "instruction", "answer"),
    "preferences": ("note_text", "instruction", "chosen", "rejected"),
}


def run(dataset: Path, output: Path, settings: Phi) -> dict[str, Any]:
    """Screen a dataset. The texts of a patient are screened together, in whatever source and table they stand.

    Args:
        dataset: the output of download.
        output: gets texts, triples and preferences.parquet (schemas TEXTS, TRIPLES, PREFERENCES), quarantine.csv
            (source, row, reason), feedback.parquet as it is in the dataset, and the manifest, which is that of the
            dataset with `phi`: what was found and done.
        settings: of the profile.

    Returns:
        The manifest.

    Raises:
        UserError: a list cannot be read, the key is missing, or no row remains.
    """
    source = read_json(dataset / MANIFEST)
    builtin = {number for number, each in enumerate(source["source"]) if each["uri"].startswith("builtin://")}
    tables = {name: pq.read_table(dataset / f"{name}.parquet", schema=schema) for name, schema in SCHEMAS.items()}
    built_in = sum(each in builtin for table in tables.values() for each in table["source"].to_pylist())
    screener = screener_for(source, settings, sum(map(len, tables.values())) - built_in)
    if screener is None:
        return pass_on(dataset, output, settings, built_in, _reviewed(dataset, tables))
    known = read_known(dataset)
    rows = {name: dict(_rows(table, TEXT_COLUMNS[name], builtin, known)) for name, table in tables.items()}
    findings, naming = _screen(tables, rows, screener)
    changed = {name: _changed(table, rows[name], TEXT_COLUMNS[name], naming) for name, table in tables.items()}
    if not sum(map(len, changed.values())):
        raise UserError(f"screening quarantines all {findings.rows} rows: another policy than quarantine keeps them")
    with output_folder(output):
        for name, table in changed.items():
            write_table(table, output / f"{name}.parquet")
        if (dataset / FEEDBACK_FILE).exists():
            shutil.copyfile(dataset / FEEDBACK_FILE, output / FEEDBACK_FILE)
        every = (row for table in rows.values() for row in table.values())
        write_note_ids(every, output, _reviewed(dataset, changed))
        write_quarantine(dataset, output, _left_out(tables, rows))
        return seal(
            output,
            source,
            {
                "rows_kept": sum(map(len, changed.values())),
                "quarantined": dict((Counter(source["quarantined"]) + findings.quarantined).most_common()),
                "rows": {name: len(table) for name, table in changed.items()},
                "phi": summary(settings, findings, built_in, screener) | {"specialties_left_out": naming.total()},
            },
        )


def _reviewed(dataset: Path, tables: dict[str, pa.Table]) -> list[tuple[str, str]]:
    """Text of each note with feedback, and its hash before it was redacted for the people who gave it."""
    path = dataset / FEEDBACK_FILE
    records = pq.read_table(path, schema=CORRECTIONS).to_pylist() if path.exists() else []
    original = {(record["source"], record["row"]): record["note_id"] for record in records}
    rows = tables["triples"].select(["source", "row", "note_text"]).to_pylist() if original else []
    places = ((row["note_text"], original.get((row["source"], row["row"]))) for row in rows)
    return [(text, note_id) for text, note_id in places if note_id]


def _rows(table: pa.Table, columns: tuple[str, ...], builtin: set[int], known: Known) -> Iterator[tuple[int, TextRow]]:
    """The rows of sources that are not built in, by their position in a table."""
    for position, row in enumerate(table.select(["source", "row", "patient", *columns]).to_pylist()):
        if row["source"] not in builtin:
            texts = [row[column] or "" for column in columns]
            note = texts[0] or texts[1]  # the instruction, where it contains the note
            place = row["source"], row["row"]
            yield position, TextRow(patient_of(row["patient"], note), texts, known.get(place, []))


def _screen(
    tables: dict[str, pa.Table], rows: dict[str, dict[int, TextRow]], screener: Screener
) -> tuple[Findings, Counter[str]]:
    """Screen all rows. Returns what was found, and the specialties that name somebody."""
    findings, mentions = screen_rows([row for table in rows.values() for row in table.values()], screener)
    return findings, _naming(tables, rows, mentions, screener)


def _naming(
    tables: dict[str, pa.Table], rows: dict[str, dict[int, TextRow]], mentions: dict[str, Mentions], screener: Screener
) -> Counter[str]:
    """Specialties that name somebody, by themselves or together with a patient whose note has them, and how many rows
    have each."""
    patients: dict[str, Counter[str]] = defaultdict(Counter)  # specialty -> rows by patient
    for name, table in tables.items():
        specialties = table["specialty"].to_pylist() if "specialty" in table.column_names else []
        for position, row in rows[name].items() if specialties else ():
            if specialty := specialties[position]:
                patients[specialty][row.patient] += 1
    return Counter(
        {
            specialty: of.total()
            for specialty, of in patients.items()
            if screener.in_label(specialty) or any(screener.in_label(specialty, mentions[patient]) for patient in of)
        }
    )


def _changed(
    table: pa.Table, rows: dict[int, TextRow], columns: tuple[str, ...], naming: Container[str] = ()
) -> pa.Table:
    """A table with its screened texts, without the rows in quarantine and the specialties that name somebody."""
    for number, column in enumerate(columns):
        values = table[column].to_pylist()
        for position, row in rows.items():
            values[position] = row.screened[number].text if values[position] is not None else None
        table = _with_column(table, column, values)
    if "spans" in table.column_names:
        spans = table["spans"].to_pylist()
        for position, row in rows.items():
            moved = (row.screened[0].moved(span["start"], span["end"]) for span in spans[position] or ())
            spans[position] = [{"start": start, "end": end} for start, end in moved]
        table = _with_column(table, "spans", spans)
    if "specialty" in table.column_names:
        specialties = table["specialty"].to_pylist()
        left = [None if at in rows and each in naming else each for at, each in enumerate(specialties)]
        table = _with_column(table, "specialty", left)
    stays = [position not in rows or not rows[position].quarantined for position in range(len(table))]
    return table.filter(pa.array(stays, pa.bool_()))


def _with_column(table: pa.Table, name: str, values: list[Any]) -> pa.Table:
    position = table.schema.get_field_index(name)
    schema = table.schema.field(position)
    return table.set_column(position, schema, pa.array(values, schema.type))


def _left_out(tables: dict[str, pa.Table], rows: dict[str, dict[int, TextRow]]) -> Iterator[tuple[int, int, str]]:
    """(source, row, reason) of the rows that screening leaves out."""
    for name, table in tables.items():
        places = list(zip(table["source"].to_pylist(), table["row"].to_pylist(), strict=True))
        yield from ((*places[at], row.quarantined) for at, row in rows[name].items() if row.quarantined)
