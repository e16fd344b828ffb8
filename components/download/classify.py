"""Notes with one label a row: a source -> one validated Parquet table, with a manifest and a quarantine list."""

from __future__ import annotations

import csv
from collections import Counter
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pyarrow as pa

from clinadapt.artifacts.manifest import write_manifest
from clinadapt.config.classify import Notes
from clinadapt.data.readers import Row, column_names
from clinadapt.data.schemas.classify import NOTES
from clinadapt.data.source_rows import rows as source_rows
from clinadapt.data.sources import digest, shown
from clinadapt.data.tables import write_table
from clinadapt.data.text import clean
from clinadapt.errors import UserError
from clinadapt.storage.local_files import os_errors
from components.download.validation import Unusable, usable_text

LONGEST_LABEL = 100  # characters; what is longer is text, and is named nowhere


def run(source: str, output: Path, settings: Notes) -> dict[str, Any]:
    """Write notes.parquet (schema NOTES), quarantine.csv (row, reason) and the manifest; return the manifest.

    Raises:
        UserError: the source cannot be read, a column or label is missing, no usable row or one label only is left.
    """
    quarantine: list[tuple[int, str]] = []
    kept: list[tuple[int, str, str]] = []
    columns: list[str] = []
    number = 0
    for number, row in enumerate(source_rows(source), start=1):
        columns = columns or [column for column in row if column] if isinstance(row, dict) else columns
        entry = _usable(row, settings)
        if isinstance(entry, str):
            quarantine.append((number, entry))
        else:
            kept.append((number, *entry))
    if number == 0:
        raise UserError(f"{shown(source)} has no rows: give a file with notes")
    if not kept:
        reason, count = Counter(reason for _, reason in quarantine).most_common(1)[0]
        raise UserError(
            f"none of {number} rows can be used ({count} x {reason}): choose other columns with --text-column and "
            f"--label-column ({column_names(columns)}), or mend the rows"
        )
    labels = _wanted(Counter(label for _, _, label in kept), settings)
    chosen = [entry for entry in kept if entry[2] in labels]
    output.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_arrays(
        [pa.array(c, f.type) for c, f in zip(zip(*chosen, strict=True), NOTES, strict=True)], schema=NOTES
    )
    write_table(table, output / "notes.parquet")
    _write_quarantine(output / "quarantine.csv", quarantine)
    facts = {
        "source": shown(source),
        "rows_read": number,
        "rows_kept": len(chosen),
        "rows_of_other_labels": len(kept) - len(chosen),
        "quarantined": dict(Counter(reason for _, reason in quarantine).most_common()),
        "labels": sorted(labels),
        "text_column": settings.text_column,
    }
    return write_manifest(output, facts, "download", {shown(source): digest(source)})


def _usable(row: Row, settings: Notes) -> tuple[str, str] | str:
    """(text, label) of a row, or the reason why it cannot be used."""
    if isinstance(row, str):
        return row
    for column in (settings.text_column, settings.label_column):
        if column not in row:
            return f"no column '{column}'"
    try:
        text = usable_text(row[settings.text_column], "text", settings.max_note_characters)
    except Unusable as error:
        return str(error)
    label = row[settings.label_column]
    if label is None or not str(label).strip():
        return "empty label"
    if not isinstance(label, str):
        return "label is not a string"
    if len(label) > LONGEST_LABEL:
        return f"label longer than {LONGEST_LABEL} characters"
    return text, clean(label)


def _wanted(found: Counter[str], settings: Notes) -> set[str]:
    if found.total() >= 20 and len(found) > found.total() / 2:  # these may be notes, so none of them is named
        raise UserError(
            f"column '{settings.label_column}' holds {len(found)} different values in {found.total()} rows: "
            "these are no labels, choose another with --label-column"
        )
    for label in settings.labels:
        if label not in found:
            near = get_close_matches(label, found, n=1) or sorted(found)[:1]
            raise UserError(f"there is no label '{label}' in '{settings.label_column}': did you mean '{near[0]}'?")
    wanted = {label: found[label] for label in settings.labels or found}
    if settings.top_labels:
        wanted = dict(Counter(wanted).most_common(settings.top_labels))
    if len(wanted) < 2:
        raise UserError(f"only one label is left ('{next(iter(wanted))}'): classification needs at least two")
    return set(wanted)


def _write_quarantine(path: Path, quarantine: list[tuple[int, str]]) -> None:
    with os_errors(f"cannot write {path.name}"), path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("row", "reason"), *quarantine])
