"""The words beside a value: of its clause, up to a mark or another value."""

from __future__ import annotations

import re

from clinadapt.clinical.claims.reading import Reading

_BOUND = re.compile(r"[,;(\n]|[.:](?!\d)")
_REACH = 40  # characters


def beside(span: tuple[int, int], reading: Reading) -> set[str]:
    """Stems of the words around a number or date, up to a mark or another one."""
    return {w.stem for w in reading.words_within(*clause_around(span, reading))}


def clause_around(span: tuple[int, int], reading: Reading) -> tuple[int, int]:
    """Span of the text around a number or date, up to a mark or another one."""
    first, last = span
    start, end = reading.sentence_at(first)
    start, end = max(start, first - _REACH), min(end, last + _REACH)
    values = [*(q[:2] for q in reading.quantities), *(day[:2] for day in reading.dates)]
    before = [m.end() for m in _BOUND.finditer(reading.lower, start, first)]
    before += [stop for _, stop in values if start < stop <= first]
    behind = [m.start() for m in _BOUND.finditer(reading.lower, last, end)]
    behind += [begin for begin, _ in values if last <= begin < end]
    return max([start, *before]), min([end, *behind])
