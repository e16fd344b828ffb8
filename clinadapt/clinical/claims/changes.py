"""Values that an answer says have been reached, and days after an operation or a birth, held against the note."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clinadapt.clinical.claims.checked import CheckedClaim, verdict
from clinadapt.clinical.claims.kinds import Claim
from clinadapt.clinical.claims.quantities import same
from clinadapt.clinical.claims.reading import Reading
from clinadapt.clinical.number_words import ORDINALS

_REACHED = re.compile(
    r"\b(?:risen|rose|rising|increased|gone up|went up|fallen|fell|falling|dropped|come down|came down|"
    r"decreased|improved|"
    r"worsened|is now|are now) (?:to )?(?:about |around |at )?"
)
_ORDINALS = ORDINALS[:10]
_DAY = re.compile(
    rf"\b(?:pod|post-?op(?:erative)? day|dol|day of life)(?: number)? ?#?(?P<n>\d{{1,2}})\b"
    rf"|\b(?P<word>{'|'.join(_ORDINALS)}) post-?op(?:erative)? day\b|\b(?P<th>\d{{1,2}})(?:st|nd|rd|"
    rf"th) post-?op(?:erative)? day\b"
)


def check_changes(stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    """ "Lactate has risen to 4.2" where 4.2 is what it was before."""
    for match in _REACHED.finditer(stated.lower):
        for value in (q for q in stated.quantities if q.start == match.end()):
            own = [
                q
                for q in source.quantities
                if same(q, value) or (q.number == value.number and "" in (q.unit, value.unit))
            ]
            replaced = [source.earlier_numbers[q[:2]] for q in own if q[:2] in source.earlier_numbers]
            if own and len(replaced) == len(own):
                yield CheckedClaim(Claim("test", value.start, value.end, f"now {value}"), "contradicted", replaced[0])
    said = [(_number(m), m.span()) for m in _DAY.finditer(source.lower)] if _DAY.search(stated.lower) else []
    for match in _DAY.finditer(stated.lower) if said else ():
        claim = Claim("duration", *match.span(), f"day {_number(match)}")
        yield verdict(claim, [span for day, span in said if day == _number(match)], [span for _, span in said])


def _number(match: re.Match[str]) -> int:
    return _ORDINALS.index(match["word"]) + 1 if match["word"] else int(match["n"] or match["th"])
