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


def side_asked_for(
    mention: SideMention, said: list[SideMention], stated: Reading, source: Reading, asked: Reading
) -> list[SideMention]:
    """The mentions of the note, of those `said`, in whose clause it has what a bare answer's question asks about; none
    where no clause has any of it, or one with the answer's side has."""
    match = _ASKS_SIDE.match(asked.lower)
    if len(stated.words) > _FEW or not match:
        return []
    words = asked.stems - _NO_SIGN - {*mention.of, stem(match["part"] or "")} | {f.name for f in asked.findings}
    shared = [(m, _signs(words, m, source)) for m in said]
    best = max((count for _, count in shared), default=0)
    named = [m for m, count in shared if best and count == best]
    own = any(count for m, count in shared if m.side in (mention.side, "both"))
    return [] if own or mention.side == "both" else named


def asks_for_one(stated: Reading, asked: Reading | None) -> bool:
    """Whether an answer tells of one side alone, so that it is wrong where the note tells of both."""
    is_bare = asked and len(stated.words) <= _FEW and _ASKS_SIDE.match(asked.lower)
    return bool(is_bare) or "only" in stated.stems


def _signs(words: frozenset[str], mention: SideMention, source: Reading) -> int:
    """How many of these stems, those of a question, the words around a side have, up to the next marks."""
    start, end = source.sentence_at(mention.start)
    before = [m.end() for m in _BOUND.finditer(source.lower, start, mention.start)]
    behind = _BOUND.search(source.lower, mention.end, end)
    start, end = max([start, *before]), behind.start() if behind else end
    operated = not words.isdisjoint(_OPERATED) and bool(_OPERATION.search(source.lower, start, end))
    signs = {w.stem for w in source.words_within(start, end)} | {
        f.name for f in source.findings if start <= f.start < end
    }
    return len(words & signs) + operated
