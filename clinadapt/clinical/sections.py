"""Where the sections and sentences of a note are, in characters."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

import yaml

_EDGE = " \t\r\n,;"
_ANY_HEADER = re.compile(
    r"(?:(?<=\n)|(?<=[.,;:!?])|(?<=[.,;:!?] )|^)[ ]*(?P<name>[A-Z][A-Z0-9 /&'()-]{1,60}|[ASOP](?=:)|"
    r"[A-Z][A-Za-z/]+(?: [A-Za-z/]+){0,3})"
    r"(?: - (?=\S)|:[ ]*,?|\n(?=[A-Z])|,(?=1\.))"
)
_STOP = re.compile(r"[.?!]+(?=,?\s|,[A-Z0-9\"]|$)|\n+")
_NO_STOP = re.compile(r"(?:\b(?:Dr|Mr|Mrs|Ms|St|vs|No|approx|Prof|[A-Z])|(?:^|[,\n]|[.:] )\d{1,2})\.$")


class Section(NamedTuple):
    """`name` as in sections.yaml, empty where it is not there; `start` and `end` of what stands under `header`."""

    name: str
    header: str
    header_start: int
    start: int
    end: int


def words(name: str) -> Any:
    """A word list of this folder."""
    return yaml.safe_load(resources.files(__package__).joinpath(name).read_text("utf-8"))


@cache
def known() -> dict[str, dict[str, Any]]:
    """sections.yaml."""
    sections: dict[str, dict[str, Any]] = words("sections.yaml")
    return sections


@cache
def _names() -> dict[str, str]:
    return {header: name for name, section in known().items() for header in section["headers"]}


def parse(text: str) -> list[Section]:
    """The sections of a note in order: headers in capitals or of sections.yaml, before a colon, dash or line break."""
    found = []
    for match in _ANY_HEADER.finditer(text):
        header = match["name"].strip()
        name = _names().get(header.upper(), "")
        if ":" in match[0] or name or (header.isupper() and len(header) > 3):
            found.append((name, header, match.start("name"), match.end()))
    ends = [*(start for _, _, start, _ in found), len(text)][1:]
    return [
        Section(name, header, header_start, *trimmed(text, start, end))
        for (name, header, header_start, start), end in zip(found, ends, strict=True)
    ]


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """A span without blanks and commas at its edges."""
    while start < end and text[start] in _EDGE:
        start += 1
    while start < end and text[end - 1] in _EDGE:
        end -= 1
    return start, end


def sentences(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Spans of the sentences in a part of a text."""
    found, begin = [], start
    for match in _STOP.finditer(text, start, end):
        stop = match.end()
        if match[0][0] == "." and _NO_STOP.search(text, max(begin, stop - 12), stop):
            continue
        if text[stop : stop + 2].strip(" ,").islower():
            continue
        found.append(trimmed(text, begin, stop))
        begin = stop
    found.append(trimmed(text, begin, end))
    return [(first, last) for first, last in found if first < last]


def flat(text: str) -> str:
    """On one line, without the commas that stand for line breaks in flattened notes."""
    return re.sub(r"\s+", " ", re.sub(r"(?<=[.:;?!]),(?=\S)|,(?=\d\. )", " ", text)).strip()
