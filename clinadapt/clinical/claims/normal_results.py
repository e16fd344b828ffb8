"""Examinations that the note calls normal, of which an answer tells something else."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clinadapt.clinical.claims.checked import CheckedClaim
from clinadapt.clinical.claims.kinds import Claim
from clinadapt.clinical.claims.reading import Reading
from clinadapt.clinical.claims.words import STOP_WORDS, stem

_ASKS_RESULT = re.compile(
    r"\W*what (?:did|does) (?P<of>[^?]{3,50}?) (?:show|reveal|find|demonstrate)|"
    r"\W*what (?:was|were) (?:found|seen|shown) (?:on|at|in|by) (?P<on>[^?]{3,50})\?"
)
_NORMAL = r"(?:normal|clear|unremarkable|nad|clean|no abnormalit(?:y|ies))"
_IS_NORMAL = re.compile(
    rf"(?: scan)?(?: ?[:=-]| is| was| were| are| came back| looked)? {_NORMAL}\b(?! (?:for|size|except|apart|but))"
)
_SAYS_NORMAL = re.compile(rf"\b(?:{_NORMAL}|no|not|nothing|none|negative|without|fine|okay)\b")
_MOST_BARE = 8  # words
_GENERAL = {stem(word) for word in ("scan", "test", "study", "exam", "examination", "result", "image", "imaging")}


def check_normal_results(stated: Reading, source: Reading, asked: Reading) -> Iterator[CheckedClaim]:
    match = _ASKS_RESULT.match(asked.lower)
    if not match or len(stated.words) > _MOST_BARE or _SAYS_NORMAL.search(stated.lower):
        return
    span = match.span("of") if match["of"] else match.span("on")
    words = {w.stem for w in asked.words_within(*span)} - STOP_WORDS - _GENERAL
    own = [word for name in words for word in source.words_of(name)]
    normal = [word for word in own if _IS_NORMAL.match(source.lower, word.end)]
    near = {w.stem for word in own for w in source.words_within(*source.sentence_at(word.start))}
    told = {w.stem for w in stated.words} - STOP_WORDS - words
    if normal and len(normal) == len(own) and told and not told & near:
        claim = Claim("finding", *stated.span_of(0, len(stated.words)), "abnormal")
        yield CheckedClaim(claim, "contradicted", (normal[0].start, normal[0].end))
