"""Parts of the body that an answer names and its note does not speak of: a cyst of the liver."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from clinadapt.clinical.claims.checked import CheckedClaim, verdict
from clinadapt.clinical.claims.kinds import Claim
from clinadapt.clinical.claims.reading import Reading
from clinadapt.clinical.claims.words import Names
from clinadapt.clinical.lexicon import load_lexicon

# "Kidney function" tells of a test, "nose specialist" of a doctor
_NOT_OF_A_PART = re.compile(
    r"[ ,-]*(?:and \w+ )?(?:function|enzyme|test|value|profile|panel|specialist|doctor|surgeon|clinic|disease|failure|"
    r"attack|brace|fold|infection|bag|habit|movement|diary|scan)"
)


@cache
def _sites() -> tuple[Names, dict[str, re.Pattern[str]]]:
    shown = {name: re.compile(rf"{re.escape(name)}|{pattern}") for name, pattern in load_lexicon("sites.yaml").items()}
    return Names({name: [] for name in shown}), shown


def check_sites(stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    names, shown = _sites()
    named = [f.start for f in stated.findings]
    for first, stop, site in names.find(stated.canonical_stems):
        start, end = stated.words[first].start, stated.words[stop - 1].end
        if _NOT_OF_A_PART.match(stated.lower, end) or stated.context.negated[first] or start in named:
            continue
        match = shown[site].search(source.lower)
        yield verdict(Claim("site", start, end, site), [match.span()] if match else [], [])
