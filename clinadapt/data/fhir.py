"""Notes in FHIR resources: DocumentReference and DiagnosticReport, R4 and R5, alone, in bundles or as NDJSON."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from email.message import Message
from html.parser import HTMLParser
from typing import Any, TypeGuard

TYPES = ("DocumentReference", "DiagnosticReport")
_MARKED_UP = re.compile(r"text/(?:rtf|richtext)|.*[/+]xml")  # text whose marks would be read as words


def is_resource(value: Any) -> TypeGuard[dict[str, Any]]:
    """Whether a JSON value is a FHIR resource."""
    return isinstance(value, dict) and isinstance(value.get("resourceType"), str)


def fhir_rows(resource: dict[str, Any]) -> Iterator[dict[str, Any] | str]:
    """The notes of a resource, or of those in a Bundle.

    Yields:
        For each DocumentReference and DiagnosticReport a row with `transcription` (the text of its attachments),
        `description` (of a report its conclusion), `type`, `category`, `patient_id`, `encounter_id`, `date` and `id`,
        or the reason why it has no text; for any other resource, that it is another one.
    """
    if resource.get("resourceType") == "Bundle":
        for entry in _dicts(resource.get("entry")):
            if is_resource(inner := entry.get("resource")):
                yield _row(inner)
    else:
        yield _row(resource)


def _row(resource: dict[str, Any]) -> dict[str, Any] | str:
    if resource["resourceType"] not in TYPES:
        return f"a FHIR resource other than {' and '.join(TYPES)}"
    if "entered-in-error" in (resource.get("status"), resource.get("docStatus")):
        return "a FHIR resource that was entered in error"
    report = resource["resourceType"] == "DiagnosticReport"
    attachments = _dicts(resource.get("presentedForm"))
    if not report:
        attachments = [_first(content.get("attachment")) for content in _dicts(resource.get("content"))]
    text, reason = _in_one_format(attachments)
    conclusion = resource.get("conclusion") if report else resource.get("description")
    if not text and report and isinstance(conclusion, str):
        text, conclusion = conclusion, None
    if not text:
        return reason or "a FHIR resource without an attachment"
    context = _first(resource.get("context"))
    encounter = resource.get("encounter") or context.get("encounter") or context
    return {
        "transcription": text,
        "description": conclusion,
        "type": _concept(resource.get("code" if report else "type")),
        "category": _concept(resource.get("category")),
        "patient_id": _reference(resource.get("subject")),
        "encounter_id": _reference(encounter),
        "date": _date(resource, context),
        "id": resource.get("id"),
    }


def _date(resource: dict[str, Any], context: dict[str, Any]) -> Any:
    """When the patient was seen, where the resource says so; else when it was written."""
    periods = [_first(resource.get("effectivePeriod")), _first(context.get("period")), _first(resource.get("period"))]
    starts = [period.get("start") for period in periods]
    written = [resource.get(name) for name in ("date", "issued")]
    return next((when for when in (resource.get("effectiveDateTime"), *starts, *written) if when), None)


def _in_one_format(attachments: list[dict[str, Any]]) -> tuple[str, str]:
    """Text of the attachments, or the reason why there is none. What they hold in several formats is one text: plain
    text is read where there is some."""
    formats: dict[str, list[str]] = {}
    reasons = []
    for attachment in attachments:
        header = Message()
        header["Content-Type"] = str(attachment.get("contentType") or "text/plain")
        text, reason = _text(attachment, header)
        if text and text not in formats.setdefault(header.get_content_type(), []):
            formats[header.get_content_type()].append(text)
        reasons.append(reason)
    texts = formats.get("text/plain") or next(iter(formats.values()), [])
    return "\n\n".join(texts), next(filter(None, reasons), "")


def _text(attachment: dict[str, Any], header: Message) -> tuple[str, str]:
    """Text of an attachment, whose type and encoding the header tells, or the reason why there is none."""
    kind = header.get_content_type()
    if not isinstance(data := attachment.get("data"), str):
        by_address = "an attachment by its address, which is not fetched"
        return "", by_address if attachment.get("url") else "no attachment data"
    if kind != "application/xhtml+xml" and (not kind.startswith("text/") or _MARKED_UP.fullmatch(kind)):
        shown = kind if re.fullmatch("[a-z./+-]{1,40}", kind) else "unknown type"
        return "", f"an attachment that is no text ({shown})"
    try:
        text = base64.b64decode("".join(data.split()), validate=True).decode(header.get_content_charset() or "utf-8")
    except (binascii.Error, UnicodeDecodeError, LookupError):
        return "", "an attachment that cannot be decoded"
    return (_without_tags(text) if "html" in kind else text), ""


class _Words(HTMLParser):
    _BREAKS = {"br", "p", "div", "tr", "li", "h1", "h2", "h3", "h4"}

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self._hidden += tag in ("script", "style")
        self.parts += ["\n"] if tag in self._BREAKS else []

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style") and self._hidden > 0
        self.parts += ["\n"] if tag in self._BREAKS and tag != "br" else []

    def handle_data(self, data: str) -> None:
        self.parts += [] if self._hidden else [data]


def _without_tags(text: str) -> str:
    parser = _Words()
    parser.feed(text)
    parser.close()
    return "".join(parser.parts)


def _reference(value: Any) -> str | None:
    """The id in a Reference: 7 of Patient/7, or the value of its identifier."""
    first = _first(value)
    if isinstance(reference := first.get("reference"), str):
        return reference.partition("/_history")[0].rpartition("/")[2].rpartition(":")[2]
    identifier = _first(first.get("identifier")).get("value")
    return identifier if isinstance(identifier, str) else None


def _concept(value: Any) -> str | None:
    """Text of a CodeableConcept, or of the first of several."""
    concept = _first(value)
    coding = _first(concept.get("coding"))
    name = concept.get("text") or coding.get("display") or coding.get("code")
    return name if isinstance(name, str) else None


def _first(value: Any) -> dict[str, Any]:
    """An object, or the first of a list of them; empty where there is none."""
    return next(iter(_dicts(value)), {})


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in (value if isinstance(value, list) else [value]) if isinstance(entry, dict)]
