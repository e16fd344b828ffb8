"""Segmentation of a note into sections and sentences."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

from clinadapt.clinical.lexicon import load_lexicon

_EDGE_CHARACTERS = " \t\r\n,;"
_HEADER = re.compile(
    r"(?:(?<=\n)|(?<=[.,;:!?])|(?<=[.,;:!?] )|^)[ ]*(?P<name>[A-Z][A-Z0-9 /&'()-]{1,60}|[ASOP](?=:)|"
    r"[A-Z][A-Za-z/]+(?:[ -][A-Za-z/]+){0,3})"
    r"(?: - (?=\S)|[ ]?:[ ]*,?|\n(?=[A-Z])|,(?=1\.))"
)
# A listed header before a hyphen at the start of a line (`Imp- gastroenteritis`), and one in capitals that ends a line
_OTHER_HEADERS = (
    re.compile(r"(?:^|(?<=\n))[ ]*(?P<name>[A-Z][A-Za-z/]{1,5})[ ]?-[ ]?(?=\w)"),
    re.compile(r"(?<=[.,;!?] )(?P<name>[A-Z]{4,}(?: [A-Z]{2,}){0,3})(?= ?(?:\n|,|$))"),
)
_SENTENCE_END = re.compile(r"[.?!]+(?=,?\s|,[A-Z0-9\"]|$)|\n+")
_NO_SENTENCE_END = re.compile(r"(?:\b(?:Dr|Mr|Mrs|Ms|St|vs|No|approx|Prof|p\.o|[A-Z])|(?:^|[,\n]|[.:] )\d{1,2})\.$")


# A short line before another that begins anew, as the items of a list do
_LIST_LINE = re.compile(
    r"((?:(?<=\n)|^)[^\n]{3,60}(?<=[A-Za-z0-9)%])(?<! Dr)(?<! Mr)(?<! Mrs)"
    r"(?<! (?:a|A))(?<! (?:of|on|in|by|to|or|an|is|as|at))(?<! (?:the|and|for|was|his|her|not|has|had))(?<! with))"
    r" *(?=\n *(?:[A-Z][a-z]|[A-Z]{2}))"
)


class Section(NamedTuple):
    """A section of a note.

    Attributes:
        name: key in sections.yaml; empty for a header that is not listed there.
        header: header as written.
        header_start: offset of the header.
        start, end: span of the body.
    """

    name: str
    header: str
    header_start: int
    start: int
    end: int


def section_lexicon() -> dict[str, dict[str, Any]]:
    """Entries of sections.yaml by section name."""
    sections: dict[str, dict[str, Any]] = load_lexicon("sections.yaml")
    return sections


@cache
def _name_by_header() -> dict[str, str]:
    return {header: name for name, section in section_lexicon().items() for header in section["headers"]}


def section_name(header: str) -> str:
    """The key in sections.yaml of a header; empty for one that is not listed."""
    return _name_by_header().get(header.upper(), "")


def parse_sections(text: str) -> list[Section]:
    """Split a note into sections, in text order.

    A header is upper case or listed in sections.yaml, and precedes a colon, a dash or a line break; a listed one in
    upper case also ends a line on its own.
    """
    headers = {}
    for match in _HEADER.finditer(text):
        header = match["name"].strip()
        name = section_name(header)
        begins_line = text[: match.start("name")].rstrip(" ")[-1:] in ("", "\n")  # else `asthma, COPD` may end it
        is_upper = header.isupper() and len(header) > 3 and (begins_line or not match[0].endswith("\n"))
        if ":" in match[0] or name or is_upper:
            headers[match.start("name")] = (name, header, match.start("name"), match.end())
    for match in (match for pattern in _OTHER_HEADERS for match in pattern.finditer(text)):
        if name := section_name(match["name"]):
            headers.setdefault(match.start("name"), (name, match["name"], match.start("name"), match.end()))
    ordered = [headers[start] for start in sorted(headers)]
    ends = [*(start for _, _, start, _ in ordered), len(text)][1:]
    return [
        Section(name, header, header_start, *trim_span(text, start, end))
        for (name, header, header_start, start), end in zip(ordered, ends, strict=True)
    ]


def without_period(sentence: str) -> str:
    """A sentence without the period that ends it; that of `b.i.d.` stays."""
    return sentence if re.search(r"(?:^|[^A-Za-z])(?:[a-z]\.){2,}$", sentence) else sentence.rstrip(". ")


def trim_span(text: str, start: int, end: int) -> tuple[int, int]:
    """Shrink a span by blanks, commas and semicolons at its edges."""
    while start < end and text[start] in _EDGE_CHARACTERS:
        start += 1
    while start < end and text[end - 1] in _EDGE_CHARACTERS:
        end -= 1
    return start, end


def sentence_spans(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Spans of the sentences within `text[start:end]`, without empty ones."""
    spans, begin = [], start
    for match in _SENTENCE_END.finditer(text, start, end):
        stop = match.end()
        if match[0][0] == "." and _NO_SENTENCE_END.search(text, max(begin, stop - 12), stop):
            continue
        if text[stop : stop + 2].strip(" ,").islower():
            continue
        spans.append(trim_span(text, begin, stop))
        begin = stop
    spans.append(trim_span(text, begin, end))
    return [(first, last) for first, last in spans if first < last]


def one_line(text: str) -> str:
    """Collapse whitespace; also removes the commas that replace line breaks in MTSamples notes. Lines of a list, short
    and without a period, are parted by semicolons."""
    text = re.sub(r"(?<=[.:;?!]),(?=\S)|,(?=\d\. )", " ", _LIST_LINE.sub(r"\1;", text))
    return re.sub(r"\s+", " ", text).strip()
