"""Operations, examinations, organisms and kinds of cells that an answer names and its note does not speak of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from clinadapt.clinical.claims.checked import CheckedClaim, verdict
from clinadapt.clinical.claims.kinds import Claim
from clinadapt.clinical.claims.reading import Reading
from clinadapt.clinical.claims.words import Names
from clinadapt.clinical.lexicon import load_lexicon

_NOT_DONE = re.compile(r"\b(?:not|never)(?: \w+){0,2} (?:for|to have|had|undergo|underwent)(?: an?| the)? \Z")


@cache
def _things() -> tuple[Names, dict[str, str]]:
    shown = load_lexicon("named_things.yaml")
    return Names({name: [] for name in shown}), shown


@cache
def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"\b{re.escape(name)}|{_things()[1][name]}")


def check_named_things(stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    """What is affirmed, and is no finding of the lexicon."""
    findings = {f.start for f in stated.findings}
    for start, end, name in named_things(stated):
        if start in findings or stated.context.negated[stated.word_at(start)]:
            continue
        match = _pattern(name).search(source.lower)
        own = [match.span()] if match else [(s, e) for s, e, other in named_things(source) if other == name]
        said = [m.span() for m in _pattern(name).finditer(source.lower)] if match else own
        if said and all(_NOT_DONE.search(source.lower, max(0, s - 40), s) for s, _ in said):
            yield verdict(Claim("negation", start, end, name), [], said)
            continue
        yield verdict(Claim("finding", start, end, name), own, [])


def named_things(reading: Reading) -> list[tuple[int, int, str]]:
    """(start, end, name)"""
    found = _things()[0].find(reading.canonical_stems)
    return [(*reading.span_of(first, stop), name) for first, stop, name in found]


def spoken_of(name: str, source: Reading) -> list[tuple[int, int]]:
    """Spans of what a note says of a thing."""
    return [match.span() for match in _pattern(name).finditer(source.lower)]
