"""Sides that a question asks for: "Left." to "Which ear has hearing loss?" of a note with a loss on the right."""

from __future__ import annotations

import re

from clinadapt.clinical.claims.reading import Reading
from clinadapt.clinical.claims.sides import SideMention
from clinadapt.clinical.claims.words import STOP_WORDS, stem

_ASKS_SIDE = re.compile(r"\W*(?:(?:on|in|at|from) )?(?:which|what) (?P<part>[a-z]+)|\W*where\b|[^?]*\bleft or right\b")
_BOUND = re.compile(r"[,;:(\n]|[.](?!\d)|\band\b")
_OPERATION = re.compile(
    r"\w(?:ectomy|otomy|ostomy|plasty|emulsification|oscopy)\b|\b(?:repair|replac|fixation|orif|operat|surg|injection)"
)
_OPERATED = {stem(word) for word in ("operated", "operation", "surgery", "procedure")}
_NO_SIGN = STOP_WORDS | {
    stem(word) for word in ["side", "left", "right", "both", "affected", "affect", "involved", "problem", "one"]
}
_FEW = 4  # words of a bare answer
_MOST_OTHERS = 2  # words of a clause that says hardly more than a side: "located on the right foot"
_CLAUSE_END = re.compile(r"[,;.\n]")
_LABEL = 25  # characters before the colon of "Ulcer: sole of L foot"
_WEAK = {stem("weak"), stem("weakness"), "paralyzed", "hemiparesis"}
_NO_POWER = re.compile(
    r"(?<![\d/])[0-4][+-]?/5\b|paresis|plegi[ac]|\bweak|\b(?:reduced|poor|no|less) (?:power|strength)"
)


def side_asked_for(
    mention: SideMention, said: list[SideMention], stated: Reading, source: Reading, asked: Reading
) -> list[SideMention]:
    """The mentions of the note, of those `said`, in whose clause it has what a bare answer's question asks about: those
    of the answer's side, if one has as much of it as any; none where one has some of it, or no clause has any."""
    match = _ASKS_SIDE.match(asked.lower)
    if not match or not _is_bare(mention, stated, asked):
        return []
    words = asked.stems - _NO_SIGN - {stem(match["part"] or "")}
    words = (words - {*mention.of} or words) | {f.name for f in asked.findings}
    shared = [(m, _signs(words, m, source)) for m in said]
    best = max((count for _, count in shared), default=0)
    named = [m for m, count in shared if best and count == best]
    if mention.side == "both":
        return []
    if not mention.of and (own := [m for m in named if m.side == mention.side]):
        return own
    return [] if any(count for m, count in shared if m.side in (mention.side, "both")) else named


def asks_for_one(stated: Reading, asked: Reading | None) -> bool:
    """Whether an answer tells of one side alone, so that it is wrong where the note tells of both."""
    is_bare = asked and len(stated.words) <= _FEW and _ASKS_SIDE.match(asked.lower)
    return bool(is_bare) or "only" in stated.stems


def _is_bare(mention: SideMention, stated: Reading, asked: Reading) -> bool:
    """Whether an answer, or the clause that it begins with, says hardly more than a side."""
    if len(stated.words) <= _FEW:
        return True
    end = _CLAUSE_END.search(stated.lower, mention.end)
    first = {w.stem for w in stated.words_within(0, end.start() if end else len(stated.text))}
    return len(first - _NO_SIGN - asked.stems) <= _MOST_OTHERS


def _signs(words: frozenset[str], mention: SideMention, source: Reading) -> int:
    """How many of these stems, those of a question, the words around a side have and do not deny, up to the next
    marks."""
    start, end = source.sentence_at(mention.start)
    before = list(_BOUND.finditer(source.lower, start, mention.start))
    label = bool(before) and before[0][0] == ":" and before[0].start() - start <= _LABEL and len(before) == 1
    behind = _BOUND.search(source.lower, mention.end, end)
    start, end = before[-1].end() if before and not label else start, behind.start() if behind else end
    operated = not words.isdisjoint(_OPERATED) and bool(_OPERATION.search(source.lower, start, end))
    weak = not words.isdisjoint(_WEAK) and bool(_NO_POWER.search(source.lower, start, end))
    signs = {w.stem for w in source.words_within(start, end) if source.context.negated[source.word_at(w.start)] < 3}
    signs |= {f.name for f in source.findings if start <= f.start < end and f.negated < 3}
    return max(len(words & signs), weak) + operated
