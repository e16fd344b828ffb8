"""Identifiers as spans of a text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from clinadapt.config.phi import TYPES

PLACES = ("HOSPITAL", "EMPLOYER", "CITY")  # types that are named after places and firms
_RANK = {name: rank for rank, name in enumerate(TYPES)}


class Span(NamedTuple):
    """An identifier: text[start:end] and its type, one of TYPES."""

    start: int
    end: int
    type: str


def united(spans: Iterable[Span]) -> list[Span]:
    """Disjoint spans in text order: spans that overlap become one."""
    result: list[Span] = []
    for span in sorted(spans):
        if result and span.start < result[-1].end:
            last = result[-1]
            kind = min(last.type, span.type, key=_RANK.__getitem__)
            result[-1] = Span(last.start, max(last.end, span.end), kind)
        elif span.start < span.end:
            result.append(span)
    return result
