"""Procedures that an answer calls done, where the note only plans, offers or considers them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clinadapt.clinical.claims.checked import CheckedClaim
from clinadapt.clinical.claims.kinds import Claim
from clinadapt.clinical.claims.reading import Reading
from clinadapt.clinical.claims.words import STOP_WORDS, Word

_DONE = re.compile(
    r"\b(?:has|have|had|was|were)(?: already)? (?:been )?(?:performed|done|carried out|completed|started|begun)\b|"
    r"\b(?P<had>underwent) "
)
_PLAN = re.compile(
    r"\b(?:consider|plan|recommend|schedul|book|await|arrang|advis|suggest|discuss|offer|declin|refus|propos|request|"
    r"defer|postpon|cancel|refer|pending|before|until|if|will|would|may|might|could|should|needs?|to have|for)\w*\b"
)
_PLANNED = re.compile(
    r"[^.;\n]{0,30}?\b(?:(?:is|are|was|were|be|to be) )?(?:planned|recommended|scheduled|booked|awaited|advised|"
    r"arranged|declined|refused|cancelled|pending|offered|requested|considered|"
    r"not (?:been )?(?:done|performed|started))\b"
)


def check_done(stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    for match in _DONE.finditer(stated.lower):
        start, end = stated.sentence_at(match.start())
        near = (
            stated.words_within(match.end(), end) if match["had"] else stated.words_within(start, match.start())[::-1]
        )
        named = next((w for w in near if w.stem not in STOP_WORDS), None)
        own = source.words_of(named.stem) if named else []
        is_denied = named and stated.context.negated[stated.word_at(named.start)]
        if named and own and not is_denied and all(_is_planned(word, source) for word in own):
            claim = Claim("certainty", *match.span(), f"{named.stem} done")
            yield CheckedClaim(claim, "contradicted", own[0][:2])


def _is_planned(word: Word, source: Reading) -> bool:
    start, end = source.sentence_at(word.start)
    return bool(
        _PLAN.search(source.lower, max(start, word.start - 25), word.start)
        or _PLANNED.match(source.lower, word.end, end)
    )
