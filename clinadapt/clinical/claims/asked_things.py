"""What a question asks about, where a note speaks of it, and whether an answer says hardly more."""

from __future__ import annotations

import re
from collections.abc import Iterable, Set
from functools import lru_cache

from clinadapt.clinical.claims.named_things import named_things, spoken_of
from clinadapt.clinical.claims.reading import Reading
from clinadapt.clinical.claims.words import STOP_WORDS, root, stem

Span = tuple[int, int]

# Verbs, times and measures of questions, which stand beside many things of a note
_VAGUE = """when date day month year week time clock hour long old first last next new previous earlier initial recent
latest current now today start started starting begin began begun stop stopped continue continued restart restarted
resume resumed give given take taken taking get got have receive received use used last lasting present done perform
performed happen happened occur occurred see seen review reviewed visit diagnose diagnosed diagnosis go going back come
came plan planned due need needed keep kept wear far since ago left right side both still patient note report show
showed shown find found measure large big size wide deep thick high low number count level value much many how total
dose doses tablet drug medication medicine treatment operation operated surgery procedure admit admitted discharge
discharged admission hospital clinic follow up followup appointment notice noticed exactly become became change changed
result reading"""
_VAGUE_STEMS = STOP_WORDS | frozenset(map(stem, _VAGUE.split()))
# A clinic that bears the name of an operation is no operation
_OF_CARE = re.compile(
    r"[ -](?:clinic|service|team|ward|unit|depart\w+|dept|surgeon|nurse|out-?patient|list\b|co-?ordinator|assessment|"
    r"letter|specialist|registrar|consultant|physician|doctor|centre|center|office|note|report|follow)"
)
_SHORTEST_ROOT = 5
_MOST_WORDS = 2  # of a bare answer, beside what is asked for


@lru_cache(maxsize=64)
def words_asked(question: str) -> tuple[str, ...]:
    """Stems of the words of a question that name what it is about."""
    found = dict.fromkeys(stem(w) for w in re.findall(r"[a-z]{3,}", question.lower()))
    return tuple(each for each in found if each not in _VAGUE_STEMS)


def is_bare(stated: Reading, asked: Reading, spans: Iterable[Span], unsaid: Set[str] = frozenset()) -> bool:
    """Whether an answer says hardly more than what stands in these spans and than its question; `unsaid` are stems of
    words that tell nothing more."""
    inside = {word.start for span in spans for word in stated.words_within(*span)}
    others = {word.stem for word in stated.words if word.start not in inside and not word.stem.isdigit()}
    return len(others - STOP_WORDS - asked.stems - unsaid) <= _MOST_WORDS


def places(asked: Reading, source: Reading) -> list[Span]:
    """Where a note names what a question is about: by its words, or as a finding, drug or test by another name."""
    spans = [word[:2] for name in words_asked(asked.text) for word in source.words_of(name)]
    for name in words_asked(asked.text):
        own = root(name)
        if len(own) >= _SHORTEST_ROOT:
            spans += [source.span_of(i, i + 1) for i in source.positions_by_root.get(own, ())]
    findings, drugs = {f.name for f in asked.findings}, {use.name for use in asked.drugs}
    tests = {name for _, _, name in asked.tests_named}
    spans += [(f.start, f.end) for f in source.findings if f.name in findings] if findings else []
    spans += [(use.start, use.end) for use in source.drugs if use.name in drugs] if drugs else []
    spans += [source.span_of(a, b) for a, b, name in source.tests_named if name in tests] if tests else []
    return [span for span in spans if not _OF_CARE.match(source.lower, span[1])]


def other_places(asked: Reading, source: Reading) -> list[Span]:
    """Beside `places`, what else in the note may speak of an operation or examination that the question names."""
    things = {name for _, _, name in named_things(asked)}
    return [span for name in things for span in spoken_of(name, source) if not _OF_CARE.match(source.lower, span[1])]
