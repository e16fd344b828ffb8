"""Filled documents as HTML, Markdown, JSON and the XML of the CHAI applied model card."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any
from xml.etree import ElementTree

import jinja2

from clinadapt.artifacts.hashing import to_json
from clinadapt.documents.definition import Field
from clinadapt.documents.filling import FilledDocument, FilledField
from clinadapt.documents.forms import clean, metric_title
from clinadapt.documents.page import environment

_CONFIDENCE = "evaluation.json#/confidence"  # level of its intervals, as a share


def to_html(filled: FilledDocument, records: str) -> str:
    """One HTML page that loads nothing.

    Args:
        filled: the document.
        records: folder of the records, relative to the page, for links of pointers; such as `../`.
    """
    return _render("document.html.j2", filled, records)


def to_markdown(filled: FilledDocument, records: str) -> str:
    """GitHub Markdown. Arguments as of `to_html`."""
    return _render("document.md.j2", filled, records)


def _render(template: str, filled: FilledDocument, records: str) -> str:
    of = {each.field.id: each for each in filled.fields}
    groups = [(group.title, [of[field.id] for field in group.fields]) for group in filled.document.groups]
    return (
        _templates()
        .get_template(template)
        .render(
            filled=filled, document=filled.document, groups=groups, share=filled.share(), records=records, asked=request
        )
    )


@cache
def _templates() -> jinja2.Environment:
    templates = environment("clinadapt.documents")
    templates.filters |= {"md": escape_markdown}
    return templates


def escape_markdown(text: str) -> str:
    """Text as Markdown shows it, in a cell of a table too."""
    return re.sub(r"([\\`*_{}\[\]#|~])", r"\\\1", html.escape(str(text), quote=False))


def request(field: Field) -> str:
    """Whom a document asks for what."""
    return f"To be filled in by the {field.role}: {field.ask}" if field.role else ""


def texts(filled: FilledField) -> Iterator[str]:
    """All that a field says, a sentence or an item each."""
    for line in filled.lines:
        yield from (part for part in (line.text, *line.items) if part)
    if filled.unresolved:
        yield f"Not recorded by this version: {', '.join(filled.unresolved)}."
    if filled.field.unrecorded:
        yield f"Not recorded by this release: {filled.field.unrecorded}"
    if filled.state == "inapplicable":
        yield "Does not apply to this version."
    if asked := request(filled.field):
        yield asked


def json_document(filled: FilledDocument) -> str:
    """All fields, with the value at every pointer."""
    return to_json(
        {
            "document": filled.document.file,
            "scheme": filled.document.scheme,
            "url": filled.document.url,
            "name": filled.name,
            "version": filled.version,
            "share": filled.share(),
            "fields": [
                {
                    "id": each.field.id,
                    "title": each.field.title,
                    "state": each.state,
                    "texts": list(texts(each)),
                    "sources": each.sources,
                    "unresolved": each.unresolved,
                    "role": each.field.role or None,
                }
                for each in filled.fields
            ],
        }
    )


def to_xml(filled: FilledDocument) -> str:
    """The XML of the scheme: a field's id is the path of its element, in the order of the schema. Texts are Markdown,
    as the schema allows; pointers stand in comments."""
    root = ElementTree.Element("AppliedModelCard", xmlns=filled.document.xml)
    for each in filled.fields:
        *parents, name = each.field.id.split("/")
        parent = root
        for part in parents:
            last = parent[-1] if len(parent) else None
            parent = last if last is not None and last.tag == part else ElementTree.SubElement(parent, part)
        if each.sources:
            pointers = ", ".join(each.sources).replace("--", "- -")
            parent.append(ElementTree.Comment(f" {name}: {pointers} "))
        element = ElementTree.SubElement(parent, name)
        if name == "Keywords":
            for keyword in (item for line in each.lines for item in line.items):
                ElementTree.SubElement(element, "Keyword").text = keyword
        elif name == "Results":
            _add_results(element, each)
        else:
            element.text = "\n\n".join(map(escape_markdown, texts(each)))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _add_results(element: ElementTree.Element, field: FilledField) -> None:
    """MetricResult elements: the measured values at the pointers; the texts where there are none, since the schema
    wants at least one."""
    level = {"level": round(100 * share)} if (share := field.sources.get(_CONFIDENCE)) else {}
    results = [result for value in field.sources.values() for result in _measured(value, level)]
    if not results:
        results = [("Result", {"kind": "text", "value": text}) for text in texts(field)]
    for label, value in results:
        result = ElementTree.SubElement(element, "MetricResult")
        ElementTree.SubElement(result, "Label").text = label
        ElementTree.SubElement(result, "ValueJson").text = json.dumps(value, ensure_ascii=False)


def _measured(value: Any, level: dict[str, int]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(label, value as the examples beside the schema write it) of metrics, of subgroups, and of labels."""
    if isinstance(value, dict):
        for name, each in value.items():
            if isinstance(each, dict) and {"value", "low", "high"} <= each.keys():
                bounds = {"estimate": each["value"], "lower": each["low"], "upper": each["high"]}
                yield metric_title(name), {"kind": "estimate_ci", **bounds, **level}
    for group in value if isinstance(value, list) else ():
        if isinstance(group, dict) and "metrics" in group:
            for label, each in _measured(group["metrics"], level):
                yield clean(f"{group['by']}, {group['group']}: {label}"), each
        elif isinstance(group, dict) and "recall" in group:
            yield clean(f"recall of {group['label']}"), {"kind": "single", "value": group["recall"]}
