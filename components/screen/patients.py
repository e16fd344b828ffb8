"""Rows of a dataset screened patient by patient, and what was found."""

from __future__ import annotations

import csv
import hashlib
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST, MANIFEST_DIGEST, write_manifest
from clinadapt.config.phi import Phi
from clinadapt.data.duplicates import note_id
from clinadapt.data.schemas.known import KNOWN, KNOWN_FILE, NOTE_IDS, NOTE_IDS_FILE
from clinadapt.data.tables import iter_rows, to_table, write_table
from clinadapt.privacy.detector_version import detector_version, screening_digest
from clinadapt.privacy.mentions import Mentions
from clinadapt.privacy.screening import ScreenedText, Screener
from clinadapt.privacy.second_opinion import described
from clinadapt.privacy.word_lists import own_list
from clinadapt.storage.local_files import os_errors

_SEAL = ("chain", "files", "digest", MANIFEST_DIGEST)  # fields of a manifest that belong to its folder
Known = dict[tuple[int, int], list[str]]  # source and row -> what the hospital knows of its patient


@dataclass
class TextRow:
    """The texts of a row.

    Attributes:
        patient: what tells patients apart; the note itself where the row names none.
        texts: note, instruction, answers; empty where there is none.
        known: what the hospital knows of the patient.
        screened: of each of `texts`, what became of it.
    """

    patient: str
    texts: list[str]
    known: list[str] = field(default_factory=list)
    screened: list[ScreenedText] = field(default_factory=list)

    @property
    def quarantined(self) -> str:
        """Why the row is left out; empty where it stays."""
        return next((each.quarantined for each in self.screened if each.quarantined), "")


@dataclass
class Findings:
    """Counts over all patients."""

    found: Counter[str] = field(default_factory=Counter)  # identifiers by type, in different texts of a patient
    rows: int = 0
    rows_with_identifiers: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)  # rows by reason


def patient_of(patient: str | None, note: str) -> str:
    """What tells a row's patient apart: the hash or number that download gave, or a digest of the note."""
    return f"patient {patient}" if patient else f"note {hashlib.sha256(note.encode()).hexdigest()}"


def read_known(dataset: Path) -> Known:
    """What download recorded of patients, by source and row."""
    path = dataset / KNOWN_FILE
    rows = iter_rows(path, KNOWN.names) if path.exists() else ()
    return {(row["source"], row["row"]): row["values"] for row in rows}


def screen_rows(rows: Iterable[TextRow], screener: Screener) -> tuple[Findings, dict[str, Mentions]]:
    """Screen all texts of each patient together, and set `screened` of the rows.

    Returns:
        The counts, and what identifies each patient.
    """
    findings, mentions = Findings(), dict[str, Mentions]()
    patients: dict[str, list[TextRow]] = {}
    for row in rows:
        patients.setdefault(row.patient, []).append(row)
    for patient, own in patients.items():
        texts = dict.fromkeys(text for row in own for text in row.texts if text)
        known = dict.fromkeys(value for row in own for value in row.known)
        result = screener.screen(patient, texts, known)
        mentions[patient] = result.mentions
        for each in result.texts.values():
            findings.found.update(each.found)
        for row in own:
            row.screened = [result.texts[text] if text else ScreenedText("") for text in row.texts]
            findings.rows += 1
            findings.rows_with_identifiers += any(each.found for each in row.screened)
            findings.quarantined.update([row.quarantined] if row.quarantined else [])
    return findings, mentions


def write_note_ids(rows: Iterable[TextRow], output: Path, reviewed: Iterable[tuple[str, str]] = ()) -> None:
    """Record what notes that changed were called before, so that a note can be purged by either hash.

    Args:
        rows: screened.
        output: gets the table.
        reviewed: text of a note that people gave feedback about, and its hash before it was redacted for them.
    """
    notes = ((row.screened[0].text, row.texts[0]) for row in rows if row.screened[0].text != row.texts[0])
    pairs = [(note_id(after), note_id(before)) for after, before in dict.fromkeys(notes)]
    pairs += [(note_id(text), original) for text, original in dict.fromkeys(reviewed) if note_id(text) != original]
    write_table(to_table(pairs, NOTE_IDS) if pairs else NOTE_IDS.empty_table(), output / NOTE_IDS_FILE)


def screener_for(source: Mapping[str, Any], settings: Phi, rows: int) -> Screener | None:
    """What screens a dataset; None where nothing is to be done: no row is of a patient, the policy is off, or the
    dataset was screened so before.

    Args:
        source: manifest of the dataset.
        settings: of the profile.
        rows: those of sources that are not built in.
    """
    if not rows or settings.policy == "off":
        return None
    opinion = described(settings) if settings.second_opinion else None
    before = source.get("phi", {}).get("digest")
    return None if before == screening_digest(settings, opinion) else Screener(settings, opinion)


def pass_on(
    dataset: Path, output: Path, settings: Phi, builtin_rows: int, reviewed: Iterable[tuple[str, str]] = ()
) -> dict[str, Any]:
    """Copy a dataset as it is, without what the hospital knows of its patients. Returns the manifest; `reviewed` as of
    `write_note_ids`."""
    source = read_json(dataset / MANIFEST)
    output.mkdir(parents=True, exist_ok=True)
    for name in source["files"]:
        if name != KNOWN_FILE:
            shutil.copyfile(dataset / name, output / name)
    if reviewed := list(reviewed):
        write_note_ids([], output, reviewed)
    fields = source.get("phi") or summary(settings, Findings(), builtin_rows)
    return seal(output, source, {"phi": fields})


def write_quarantine(dataset: Path, output: Path, left_out: Iterable[tuple[object, ...]]) -> None:
    """Write quarantine.csv: the rows that download has left out, and those that screening leaves out."""
    path = output / "quarantine.csv"
    with os_errors(f"cannot write {path.name}"), path.open("w", newline="", encoding="utf-8") as file:
        file.write((dataset / path.name).read_text(encoding="utf-8"))
        csv.writer(file).writerows(left_out)


def seal(output: Path, source: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """Write the manifest: that of the dataset with what has changed."""
    fields = {name: value for name, value in source.items() if name not in _SEAL} | dict(changed)
    return write_manifest(output, fields, "screen", {"dataset": source["digest"]}, [dict(source)])


def summary(settings: Phi, findings: Findings, builtin_rows: int, screener: Screener | None = None) -> dict[str, Any]:
    """What a manifest records of screening: settings, detector and counts, no text; without a screener nothing was
    screened."""
    off, opinion = settings.policy == "off", screener.opinion if screener else None
    return {
        **settings.model_dump(include={"policy", "reason", "types", "known_columns"}),
        "digest": screening_digest(settings, opinion) if screener else "",
        "detector": "" if off else detector_version(),
        "rows": findings.rows,
        "builtin_rows": builtin_rows,
        "rows_with_identifiers": findings.rows_with_identifiers,
        "found": dict(findings.found.most_common()),
        "done": {} if off else {kind: settings.action(kind) for kind, _ in findings.found.most_common()},
        "rows_quarantined": findings.quarantined.total(),
        "measured": own_list("measured.yaml"),
        "second_opinion": opinion.digest if opinion else "",
        "staff": bool(settings.staff_file),
        "protected": bool(settings.protect_file),
    }


def describe(phi: Mapping[str, Any]) -> list[str]:
    """What `summary` has recorded, as lines of a log."""
    lines = []
    if phi["builtin_rows"]:
        lines.append(f"{phi['builtin_rows']} rows are built in and name nobody: passed on unchanged")
    if phi["policy"] == "off":
        lines.append("off: no identifier is looked for; the reason will stand on the model card")
    elif phi["rows"]:
        counts = ", ".join(f"{count} {kind} ({phi['done'][kind]})" for kind, count in phi["found"].items())
        lines.append(
            f"{phi['rows']} rows, {phi['rows_with_identifiers']} with identifiers: {counts or 'none found'}; "
            f"{phi['rows_quarantined']} quarantined"
        )
    if left_out := phi.get("specialties_left_out"):
        lines.append(f"the specialty of {left_out} rows names somebody: left out")
    return lines
