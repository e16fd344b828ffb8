"""Procedures that an answer calls done, where the note only plans, offers or considers them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clinadapt.clinical.claims.checked import CheckedClaim
from clinadapt.clinical.claims.kinds import Claim
from clinadapt.clinical.claims.named_things import named_things, spoken_of
from clinadapt.clinical.claims.reading import Reading
from clinadapt.clinical.claims.words import STOP_WORDS, stem

_DONE = re.compile(
    r"\b(?:has|have|had|was|were)(?: already)? (?:been )?(?:performed|done|carried out|started|begun)\b|"
    r"\b(?:was|were|been) completed\b|"
    r"\b(?P<had>underwent|received|had|completed|finished)(?= )"
)
_CHANGED = re.compile(
    r"\b(?:has|have|had|was|were)(?: already)?(?: been)? (reduced|increased|doubled|halved|raised|lowered|stepped)\b"
)
_PLAN = re.compile(
    r"\b(?:consider|plan|recommend|schedul|book|await|arrang|advis|suggest|discuss|offer|propos|request|"
    r"defer|postpon|cancel|refer|pending|before|until|if|will|would|may|might|could|should|needs?|to have|for|"
    r"list(?:ed)?|due|next|hop|wish|prefer|probabl|possibl|likely|would like|want)\w*\b|"
    r"\b(?:declin|refus)\w*\b(?!,)|-> ?"
)
_UNIT = 2  # letters of mg and the like, which are never what was done
_NEAR = 5  # words behind "had"
_PLANNED = re.compile(
    r"[^.;\n]{0,30}?\b(?:(?:is|are|was|were|be|to be) )?(?:planned|recommended|scheduled|listed|booked|awaited|advised|"
    r"arranged|declined|refused|cancelled|pending|offered|requested|considered|"
    r"not (?:been )?(?:done|performed|started)|tonight|tomorrow|within|next (?:week|month|year|mon|tue|wed|thu|fri)|"
    r"to (?:begin|"
    r"start|follow))\b"
)


def check_done(stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    matches = [*_DONE.finditer(stated.lower)]
    things = named_things(stated) if matches else []
    for match in matches:
        start, end = stated.sentence_at(match.start())
        near = (
            stated.words_within(match.end(), end) if match["had"] else stated.words_within(start, match.start())[::-1]
        )
        begins = [begin for begin, _, _ in things]
        named = next((w for w in near[:_NEAR] if w.start in begins), None) if match["had"] else None
        named = named or next((w for w in near if w.stem not in STOP_WORDS and len(w.stem) > _UNIT), None)
        if not named or stated.context.negated[stated.word_at(named.start)]:
            continue
        thing = next((name for begin, stop, name in things if begin <= named.start < stop), "")
        is_drug = any(use.start <= named.start < use.end for use in stated.drugs)
        if match["had"] in ("had", "received") and not (thing or is_drug):  # had a fever
            continue
        own = [word[:2] for word in source.words_of(named.stem)] or (spoken_of(thing, source) if thing else [])
        if own and all(_is_planned(*span, source) for span in own):
            claim = Claim("certainty", *match.span(), f"{thing or named.stem} done")
            yield CheckedClaim(claim, "contradicted", own[0])


def check_changed(stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    """A drug of which an answer says that its dose was changed, where the note only says when it would be: "if the ALT
    exceeds 100 reduce methotrexate"."""
    for match in _CHANGED.finditer(stated.lower):
        start, end = stated.sentence_at(match.start())
        names = {use.name for use in stated.drugs if start <= use.start < end}
        spans = [source.sentence_at(use.start) for use in source.drugs if use.name in names]
        own = [w[:2] for w in source.words_of(stem(match[1])) if any(s <= w.start < e for s, e in spans)]
        if own and all(_is_planned(*span, source) for span in own):
            yield CheckedClaim(Claim("certainty", *match.span(), f"{match[1]} done"), "contradicted", own[0])


def _is_planned(begin: int, stop: int, source: Reading) -> bool:
    start, end = source.sentence_at(begin)
    before = max(start, begin - 25), begin
    planned = _PLAN.search(source.lower, *before) and not _DONE.search(source.lower, *before)
    return bool(planned or _PLANNED.match(source.lower, stop, end))
