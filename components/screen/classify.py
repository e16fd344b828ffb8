"""Screen labelled notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.config.phi import Phi
from clinadapt.data.schemas.classify import NOTES
from clinadapt.data.schemas.feedback import CORRECTED_LABELS, FEEDBACK_FILE
from clinadapt.data.tables import output_folder, to_table, write_table
from clinadapt.errors import UserError
from clinadapt.privacy.mentions import Mentions
from clinadapt.privacy.screening import Screener
from clinadapt.privacy.spans import Span, united
from components.screen.patients import (
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


def run(dataset: Path, output: Path, settings: Phi) -> dict[str, Any]:
    """Screen a dataset.

    Args:
        dataset: the output of download.
        output: gets notes.parquet (schema NOTES), quarantine.csv (row, reason), feedback.parquet (CORRECTED_LABELS)
            where the dataset has it, and the manifest, which is that of the dataset with `phi`: what was found and
            done.
        settings: of the profile.

    Returns:
        The manifest.

    Raises:
        UserError: a list cannot be read, the key is missing, no row or only one label remains, or two labels are the
            same without their identifiers.
    """
    source = read_json(dataset / MANIFEST)
    builtin = source["source"].startswith("builtin://")
    table = pq.read_table(dataset / "notes.parquet", schema=NOTES)
    corrected = _read_corrected(dataset)
    screener = screener_for(source, settings, (0 if builtin else len(table)) + len(corrected))
    if screener is None:
        reviewed = [(note["text"], note["note_id"]) for note in corrected]
        return pass_on(dataset, output, settings, len(table) if builtin else 0, reviewed)
    known, notes = read_known(dataset), table.to_pylist()
    listed = [*([] if builtin else notes), *corrected]
    rows = [
        TextRow(patient_of(note["patient"], note["text"]), [note["text"]], known.get((0, note["row"]), []))
        for note in listed
    ]
    findings, mentions = screen_rows(rows, screener)
    own = list(zip(listed, rows, strict=True))
    own, feedback = own[: len(own) - len(corrected)], own[len(own) - len(corrected) :]
    labels = _screened_labels(((note["label"], row.patient) for note, row in own), mentions, screener)
    screened = notes if builtin else [note | _screened(note, row, labels) for note, row in own if not row.quarantined]
    remaining = sorted({note["label"] for note in screened})
    if len(remaining) < 2:
        raise UserError(
            f"screening leaves {len(screened)} of {len(own)} rows and {len(remaining)} labels: another policy than "
            "quarantine keeps the rows"
        )
    left_out = [(note["row"], row.quarantined) for note, row in own + feedback if row.quarantined]
    with output_folder(output):
        write_table(to_table([tuple(note.values()) for note in screened], NOTES), output / "notes.parquet")
        if (dataset / FEEDBACK_FILE).exists():
            _write_corrected(feedback, labels, output)
        reviewed = [(row.screened[0].text, note["note_id"]) for note, row in feedback]
        write_note_ids((row for _, row in own), output, reviewed)
        write_quarantine(dataset, output, left_out)
        changed = {
            "rows_kept": len(screened),
            "quarantined": dict((Counter(source["quarantined"]) + findings.quarantined).most_common()),
            "labels": remaining,
            "phi": summary(settings, findings, len(table) if builtin else 0, screener),
        }
        return seal(output, source, changed)


def _read_corrected(dataset: Path) -> list[dict[str, Any]]:
    path = dataset / FEEDBACK_FILE
    return pq.read_table(path, schema=CORRECTED_LABELS).to_pylist() if path.exists() else []


def _write_corrected(
    feedback: Iterable[tuple[dict[str, Any], TextRow]], labels: Mapping[str, str], output: Path
) -> None:
    rows = [tuple((note | _screened(note, row, labels)).values()) for note, row in feedback if not row.quarantined]
    write_table(to_table(rows, CORRECTED_LABELS) if rows else CORRECTED_LABELS.empty_table(), output / FEEDBACK_FILE)


def _screened(note: Mapping[str, Any], row: TextRow, labels: Mapping[str, str]) -> dict[str, str]:
    """Text and label of a note after screening; labels of built-in notes stay."""
    return {"text": row.screened[0].text, "label": labels.get(note["label"], note["label"])}


def _screened_labels(
    rows: Iterable[tuple[str, str]], mentions: Mapping[str, Mentions], screener: Screener
) -> dict[str, str]:
    """Label -> its name without identifiers, which are redacted by any policy but report: a class has one name.

    Raises:
        UserError: two labels are the same without them.
    """
    spans: dict[str, list[Span]] = {}
    for label, patient in dict.fromkeys(rows):
        if label not in spans:
            spans[label] = screener.in_label(label)
        spans[label] += screener.in_label(label, mentions[patient])
    names = {label: _redacted(label, found) for label, found in spans.items()}
    if repeated := sum(count for count in Counter(names.values()).values() if count > 1):
        raise UserError(
            f"{repeated} labels are the same without the identifiers that they contain: choose another column with "
            "--label-column, or list what identifies nobody in phi.protect_file"
        )
    return names


def _redacted(label: str, spans: list[Span]) -> str:
    for span in reversed(united(spans)):
        label = f"{label[: span.start]}[{span.type}]{label[span.end :]}"
    return label
