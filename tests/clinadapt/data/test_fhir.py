"""Notes in FHIR resources, as servers and bulk exports write them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from clinadapt.data.fhir import fhir_rows
from clinadapt.data.readers import read_rows


def encoded(text: str, charset: str = "utf-8") -> str:
    return base64.b64encode(text.encode(charset)).decode()


def document(attachment: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "resourceType": "DocumentReference", "id": "d1", "status": "current",
        "type": {"coding": [{"system": "http://loinc.org", "code": "18842-5", "display": "Discharge summary"}]},
        "subject": {"reference": "Patient/p7"}, "date": "2024-02-03T10:00:00Z",
        "content": [{"attachment": attachment}],
        "context": {"encounter": [{"reference": "Encounter/e9/_history/2"}], "period": {"start": "2024-02-01"}},
        **fields,
    }  # fmt: skip


def report(**fields: Any) -> dict[str, Any]:
    return {
        "resourceType": "DiagnosticReport", "id": "r1", "status": "final", "code": {"text": "CT head"},
        "category": [{"coding": [{"code": "RAD"}]}], "subject": {"identifier": {"value": "MRN 55"}},
        "encounter": {"reference": "urn:uuid:0b1c"}, "effectiveDateTime": "2024-03-04", "issued": "2024-03-05",
        "conclusion": "No bleeding.",
        "presentedForm": [{"contentType": "text/plain", "data": encoded("No bleed seen.")}],
        **fields,
    }  # fmt: skip


TEXT = {"contentType": "text/plain", "data": encoded("Seen for knee pain.")}
DOCUMENT_ROW = {
    "transcription": "Seen for knee pain.", "description": None, "type": "Discharge summary", "category": None,
    "patient_id": "p7", "encounter_id": "e9", "date": "2024-02-01", "id": "d1",
}  # fmt: skip
REPORT_ROW = {"transcription": "No bleed seen.", "description": "No bleeding.", "type": "CT head", "category": "RAD",
              "patient_id": "MRN 55", "encounter_id": "0b1c", "date": "2024-03-04", "id": "r1"}  # fmt: skip
OTHER = "a FHIR resource other than DocumentReference and DiagnosticReport"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("b.json", json.dumps({"resourceType": "Bundle", "type": "searchset",
                               "entry": [{"resource": document(TEXT)}, {"resource": {"resourceType": "Patient"}},
                                         {"fullUrl": "urn:uuid:1"}, {"resource": report()}]})),
        ("b.ndjson", "\n".join(json.dumps(r) for r in (document(TEXT), {"resourceType": "Patient"}, report()))),
        ("b.json", json.dumps([document(TEXT), {"resourceType": "Patient"}, report()])),
    ],
)  # fmt: skip
def test_bundles_and_ndjson(tmp_path: Path, name: str, data: str) -> None:
    (tmp_path / name).write_text(data)
    assert list(read_rows(tmp_path / name, name)) == [DOCUMENT_ROW, OTHER, REPORT_ROW]


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        (document({"contentType": "text/html; charset=iso-8859-1",
                   "data": encoded("<style>p{}</style><p>Caf\u00e9 &amp; rest</p>Twice<br/>daily", "latin-1")}),
         "\nCaf\u00e9 & rest\nTwice\ndaily"),
        (document({"data": encoded("no type")}), "no type"),
        (report(presentedForm=[]), "No bleeding."),
        (report(presentedForm=[TEXT, {"contentType": "application/pdf", "data": "JVBE"}]), "Seen for knee pain."),
        (document({"contentType": "application/pdf", "data": "JVBE"}),
         "an attachment that is no text (application/pdf)"),
        (document({"contentType": "text/plain", "url": "https://x/Binary/1"}),
         "an attachment by its address, which is not fetched"),
        (document({"contentType": "text/plain", "data": "%%%"}), "an attachment that cannot be decoded"),
        (document({"contentType": "text/rtf", "data": encoded("{\\rtf1 x}")}),
         "an attachment that is no text (text/rtf)"),
        (document({"contentType": "text/xml", "data": encoded("<a>x</a>")}),
         "an attachment that is no text (text/xml)"),
        (report(presentedForm=[{"contentType": "text/html", "data": encoded("<p>Seen for knee pain.</p>")}, TEXT]),
         "Seen for knee pain."),
        (report(presentedForm=[TEXT, TEXT, {"data": encoded("Addendum.")}]), "Seen for knee pain.\n\nAddendum."),
        (document({"contentType": "application/xhtml+xml", "data": encoded("<p>x</p>")}), "\nx\n"),
        (document(TEXT, status="entered-in-error"), "a FHIR resource that was entered in error"),
        (report(docStatus="entered-in-error"), "a FHIR resource that was entered in error"),
        (document({"contentType": "text/plain; charset=klingon", "data": encoded("x")}),
         "an attachment that cannot be decoded"),
        (document({}, content=[]), "a FHIR resource without an attachment"),
        (document({}, content="nonsense", subject=[], context=7, type="x"), "a FHIR resource without an attachment"),
    ],
)  # fmt: skip
def test_texts_and_why_there_is_none(resource: dict[str, Any], expected: str) -> None:
    (row,) = fhir_rows(resource)
    assert (row["transcription"] if isinstance(row, dict) else row) == expected


def test_r5_names_the_encounter_directly() -> None:
    (row,) = fhir_rows(document(TEXT, context=[{"reference": "Encounter/77"}]))
    assert isinstance(row, dict) and row["encounter_id"] == "77"
