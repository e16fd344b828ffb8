"""Read a source of labelled notes into one validated Parquet table."""

from __future__ import annotations

import csv
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from clinadapt.artifacts.hashing import sha256_json
from clinadapt.artifacts.manifest import write_manifest
from clinadapt.config.classify import LABELLED_COLUMNS, Notes
from clinadapt.config.feedback import Feedback
from clinadapt.config.origin import named_origin
from clinadapt.data.patients import OriginReader, Pseudonyms, combined
from clinadapt.data.readers import Row, unusable_rows_advice
from clinadapt.data.schemas.classify import NOTES
from clinadapt.data.schemas.feedback import CORRECTED_LABELS, FEEDBACK_FILE
from clinadapt.data.schemas.known import KNOWN, KNOWN_FILE
from clinadapt.data.sources import redacted_uri, source_digest, source_rows
from clinadapt.data.tables import to_table, write_table
from clinadapt.data.text import clean
from clinadapt.errors import UserError
from clinadapt.storage.local_files import os_errors
from components.download.feedback import corrected_labels
from components.download.known_values import KnownValues, refuse_unused
from components.download.unused_values import TrackedRow, by_frequency
from components.download.validation import InvalidRow, validate_text

_MISSING = {"nan", "none", "null", "n/a", "na", "#n/a", "<na>", "nat"}  # as exports write a value that is missing
_LOOK_ALIKE = str.maketrans("АВЕКМНОРСТХУаеорсухіјѕΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "ABEKMHOPCTXYaeopcyxijsABEZHIKMNOPTYXo")
MAX_LABEL = 100  # characters; a longer label may be note text, so it is quarantined and shown nowhere


def run(
    source: str, output: Path, settings: Notes, known_columns: Sequence[str] = (), feedback: Feedback | None = None
) -> dict[str, Any]:
    """Download a source.

    Args:
        source: a URI.
        output: gets notes.parquet (schema NOTES), quarantine.csv (row, reason), known.parquet (KNOWN) where there are
            known columns, feedback.parquet (CORRECTED_LABELS) where there is feedback, and the manifest.
        settings: columns, labels and limits of a valid row.
        known_columns: with what identifies the patient, for screen.
        feedback: labels that people corrected.

    Returns:
        The manifest.

    Raises:
        UserError: the source cannot be read, a column or label is missing, or no valid row or only one label remains.
    """
    rows = _Rows(settings, known_columns)
    for row in source_rows(source):
        rows.add(row)
    rows.refuse_unusable(source)
    valid = rows.valid
    labels = _select_labels(Counter(label for _, _, label, *_ in valid), settings)
    selected = [row for row in valid if row[2] in labels]
    output.mkdir(parents=True, exist_ok=True)
    write_table(to_table(selected, NOTES), output / "notes.parquet")
    if known_columns:
        known = [(0, row, rows.known[row]) for row, *_ in selected if rows.known.get(row)]
        write_table(to_table(known, KNOWN) if known else KNOWN.empty_table(), output / KNOWN_FILE)
    corrected = corrected_labels(feedback, labels, settings.max_note_characters) if feedback and feedback.uri else None
    if corrected:
        table = to_table(corrected.labels, CORRECTED_LABELS) if corrected.labels else CORRECTED_LABELS.empty_table()
        write_table(table, output / FEEDBACK_FILE)
    _write_quarantine(output / "quarantine.csv", rows.quarantine + (corrected.quarantine if corrected else []))
    summary = {
        "source": redacted_uri(source),
        "rows_read": rows.read,
        "rows_kept": len(selected),
        "rows_of_other_labels": len(valid) - len(selected),
        "quarantined": dict(Counter(reason for _, reason in rows.quarantine).most_common()),
        "unused": by_frequency(rows.unused),
        "labels": sorted(labels),
        "feedback": [corrected.summary] if corrected else [],
        "text_column": settings.column("text"),
        "label_column": settings.column("label"),
        "origin": combined([] if source.startswith("builtin://") else [rows.origins.summary()], rows.pseudonyms),
    }
    inputs = {redacted_uri(source): source_digest(source)}
    if feedback and corrected:
        inputs[feedback.uri] = sha256_json([[*row] for row in corrected.labels])
    return write_manifest(output, summary, "download", inputs)


class _Rows:
    """The rows of a source, `read` of them: `valid` (row, text, label and origin), `quarantine` (row, reason), and of
    valid rows the values that are `unused`, by column, and those that identify the patient (`known`, by row)."""

    def __init__(self, settings: Notes, known_columns: Sequence[str]) -> None:
        self.pseudonyms = Pseudonyms()
        self.origins = OriginReader(named_origin(settings.columns), self.pseudonyms)
        self.valid: list[tuple[Any, ...]] = []
        self.quarantine: list[tuple[int, str]] = []
        self.unused = Counter[str]()
        self.known: dict[int, list[str]] = {}
        self.read = 0
        self._known_columns, self._known = known_columns, KnownValues(known_columns)
        self._settings = settings
        self._columns: list[str] = []

    def add(self, row: Row) -> None:
        """Add the next row of the source."""
        self.read += 1
        if isinstance(row, str):
            self.quarantine.append((self.read, row))
            return
        self._columns = self._columns or [column for column in row if column]
        tracked = TrackedRow(row)
        try:
            text, label = self._parse(tracked)
        except InvalidRow as error:
            self.quarantine.append((self.read, str(error)))
            return
        patient, encounter, *others = self.origins.read(tracked)
        if known := self._known.read(tracked):
            self.known[self.read] = known
        self.unused.update(tracked.unused())
        stored = self.pseudonyms.stored
        self.valid.append((self.read, text, label, stored("patient", patient), stored("encounter", encounter), *others))

    def _parse(self, row: TrackedRow) -> tuple[str, str]:
        """Text and label of a row. Raises InvalidRow."""
        text, label = (self._settings.column(field) for field in ("text", "label"))
        for column in (text, label):
            if column not in row:
                raise InvalidRow(f"no column '{column}'")
        return (
            validate_text(row[text], "text", self._settings.max_note_characters),
            _label(row[label], self._settings.labels),
        )

    def refuse_unusable(self, source: str) -> None:
        """Raises UserError if there is no valid row, or no row has a column that the settings name."""
        if self.read == 0:
            raise UserError(f"{redacted_uri(source)} has no rows: use a file with notes")
        if not self.valid:
            reason, count = Counter(reason for _, reason in self.quarantine).most_common(1)[0]
            raise UserError(
                f"none of {self.read} rows can be used ({count} x {reason}): "
                f"{unusable_rows_advice(LABELLED_COLUMNS, self._settings.columns, self._columns)}"
            )
        self.origins.refuse_unused(source, self._columns)
        if not source.startswith("builtin://"):
            refuse_unused(self._known_columns, self._known.used, self._columns)


def _label(value: Any, wanted: Sequence[str]) -> str:
    """The label of a row: a text or a whole number, without invisible characters; one of `wanted` may also be a word
    that stands for a missing value, such as None. Raises InvalidRow."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise InvalidRow("empty label")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidRow("label is neither a text nor a whole number")
    if len(str(value)) > MAX_LABEL:
        raise InvalidRow(f"label longer than {MAX_LABEL} characters")
    visible = "".join(c for c in str(value) if unicodedata.category(c) != "Cf")  # zero-width, direction marks
    label = " ".join(clean(visible).split())
    if not label:
        raise InvalidRow("empty label")
    if label.casefold() in _MISSING and label not in wanted:
        raise InvalidRow(f"label that stands for a missing value ({label}); to train on it, name it with --label")
    return label


def _select_labels(rows: Counter[str], settings: Notes) -> set[str]:
    """The labels to train on, given the number of rows of each label."""
    column = settings.column("label")
    written: dict[str, str] = {}
    if len(rows) <= 1000:  # of more, which are no labels, no value is shown
        for label in sorted(rows):
            if (other := written.setdefault(_as_read(label), label)) != label:
                raise UserError(
                    f"labels '{other}' and '{label}' of '{column}' are the same to a reader, but not to "
                    f"a program ({other!a}, {label!a}): write them alike"
                )
    if rows.total() >= 20 and len(rows) > rows.total() / 2:  # may be note text, so no value is shown
        raise UserError(
            f"column '{column}' has {len(rows)} different values in {rows.total()} rows, so it does not "
            "contain labels: choose another column with --label-column"
        )
    for label in settings.labels:
        if label not in rows:
            similar = get_close_matches(label, rows, n=1) or sorted(rows)[:1]
            raise UserError(f"there is no label '{label}' in '{column}': did you mean '{similar[0]}'?")
    selected = {label: rows[label] for label in settings.labels or rows}
    if settings.top_labels:
        selected = dict(Counter(selected).most_common(settings.top_labels))
    if len(selected) < 2:
        raise UserError(f"only one label remains ('{next(iter(selected))}'): classification needs at least two")
    return set(selected)


def _as_read(label: str) -> str:
    """A label as a person reads it: whole numbers without `.0`, and Cyrillic and Greek letters as the Latin ones that
    look the same."""
    if re.fullmatch(r"-?[0-9]+\.0+", label):
        return label.partition(".")[0]
    return unicodedata.normalize("NFKC", label).translate(_LOOK_ALIKE)


def _write_quarantine(path: Path, quarantine: list[tuple[int, str]]) -> None:
    with os_errors(f"cannot write {path.name}"), path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("row", "reason"), *quarantine])
