"""Parts of the body that an answer names and its note does not speak of: a cyst of the liver."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from clinadapt.clinical.claims.checked import CheckedClaim, verdict
from clinadapt.clinical.claims.kinds import Claim
from clinadapt.clinical.claims.reading import Reading
from clinadapt.clinical.claims.words import STOP_WORDS, Names
from clinadapt.clinical.lexicon import load_lexicon

_ASKS_WHERE = re.compile(r"\W*(?:where|which (?:part|site))\b")
# "Kidney function" tells of a test, "nose specialist" of a doctor
_NOT_OF_A_PART = re.compile(
    r"[ ,-]*(?:and \w+ )?(?:function|enzyme|test|value|profile|panel|specialist|doctor|surgeon|clinic|disease|failure|"
    r"attack|brace|fold|infection|bag|habit|movement|diary|scan|protect)"
)
_LEVEL = re.compile(r"\b([CTLS])(\d{1,2})(?:[-–/]([CTLS])?(\d{1,2}))?\b")


@cache
def _sites() -> tuple[Names, dict[str, re.Pattern[str]]]:
    shown = {name: re.compile(rf"{re.escape(name)}|{pattern}") for name, pattern in load_lexicon("sites.yaml").items()}
    return Names({name: [] for name in shown}), shown


def check_sites(stated: Reading, source: Reading, asked: Reading | None) -> Iterator[CheckedClaim]:
    where = asked.stems - STOP_WORDS if asked and _ASKS_WHERE.match(asked.lower) else frozenset[str]()
    names, shown = _sites()
    named = [f.start for f in stated.findings]
    for first, stop, site in names.find(stated.canonical_stems):
        start, end = stated.span_of(first, stop)
        if _NOT_OF_A_PART.match(stated.lower, end) or stated.context.negated[first] or start in named:
            continue
        match = shown[site].search(source.lower)
        other = _elsewhere(where, shown[site], source) if match else None
        support = [match.span()] if match and not other else []
        yield verdict(Claim("site", start, end, site), support, [other] if other else [])


def check_levels(stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    """Vertebrae and the like, L4 or L4-5, where the note has any."""
    said = [(m.span(), _levels(m)) for m in _LEVEL.finditer(source.text)] if _LEVEL.search(stated.text) else []
    for match in _LEVEL.finditer(stated.text) if said else ():
        levels = _levels(match)
        fits = [span for span, own in said if levels <= own or own <= levels]
        yield verdict(Claim("site", *match.span(), match[0]), fits, [span for span, _ in said])


def _levels(match: re.Match[str]) -> set[str]:
    """L4 and L5 of L4-5; L5-S1."""
    first, number, second, last = match.groups()
    return {first + number} | ({(second or first) + last} if last else set())


def _elsewhere(where: frozenset[str], shown: re.Pattern[str], source: Reading) -> tuple[int, int] | None:
    """Span of another part that the note names beside what is asked for, where that has none that shows this one."""
    positions = [i for name in where for i in source.positions.get(name, [])]
    spans = {source.sentence_at(source.words[i].start) for i in positions}
    spans |= {source.sentence_at(min(end + 1, len(source.text) - 1)) for _, end in spans}  # "It was in the"
    if any(shown.search(source.lower, *span) for span in spans):
        return None
    named = _sites()[0].find(source.canonical_stems) if spans else []
    others = [source.span_of(first, stop) for first, stop, _ in named]
    return next((each for each in others if any(start <= each[0] < end for start, end in spans)), None)
