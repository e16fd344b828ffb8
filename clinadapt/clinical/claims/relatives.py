"""Which relative an answer tells of, held against the note: the mother's stones are not the father's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from clinadapt.clinical.claims.checked import CheckedClaim, verdict
from clinadapt.clinical.claims.kinds import Claim
from clinadapt.clinical.claims.reading import Reading
from clinadapt.clinical.claims.words import STOP_WORDS
from clinadapt.clinical.refusals import is_refusal

_RELATIVES = {
    "mother": "mother", "mom": "mother", "mum": "mother", "father": "father", "dad": "father", "brother": "brother",
    "sister": "sister", "aunt": "aunt", "uncle": "uncle", "grandmother": "grandmother", "grandfather": "grandfather",
    "cousin": "cousin", "son": "son", "daughter": "daughter", "niece": "niece", "nephew": "nephew",
    "husband": "husband", "wife": "wife", "boyfriend": "boyfriend", "girlfriend": "girlfriend",
}  # fmt: skip
# What may be said of each of several
_GENERAL = {
    "parent": ("mother", "father"), "sibling": ("brother", "sister"), "grandparent": ("grandmother", "grandfather"),
    "spouse": ("husband", "wife"), "partner": ("husband", "wife", "boyfriend", "girlfriend"),
}  # fmt: skip
# Of a parent: her mother's mother
_OF_PARENT = {"mother": "grandmother", "father": "grandfather", "brother": "uncle", "sister": "aunt"}
RELATIVE = re.compile(
    rf"\b(?P<parent>(?:mother|father|mom|mum|dad|parent)['’]s (?=(?:{'|'.join(_OF_PARENT)})\b))?"
    rf"({'|'.join([*_RELATIVES, *_GENERAL])})(?!['’]s (?:side|milk))(?:s|['’]s)?\b"
)
OTHER_PERSON = re.compile(
    rf"{RELATIVE.pattern}|\b(?:famil|relative|friend|room-?mate|flatmate|colleague|classmate|neighbou?r|donor|"
    rf"nobody|no one)"
)
_OF_RELATIVE = re.compile(
    rf"\W*(?:what|which|does|did|has|had|is|was|when|how)\b[^?]{{0,60}}?\b(?:his|her|their|the patient's) "
    rf"(?P<name>{'|'.join([*_RELATIVES, *_GENERAL])})s?\b[^?]{{0,20}}\b(?:has|have|had|suffer|die|get|diagnosed)"
)
_FAMILY = re.compile(r"\b(?:famil|fhx?\b|maternal|paternal|relative|parent|sibling)")
_WHO = re.compile(r"\W*who\b")
_AND = re.compile(r",? (?:(?:and|or) )?(?:(?:his|her|their|an?|the|my) )?(?:maternal |paternal )?")
_OTHER_SUBJECT = re.compile(r"[;.]|\b(?:he|she|the patient)\b")


_SUFFERS = re.compile(r" (?:also )?(?:has|had|suffer(?:s|ed)|died|was diagnosed)\b")


class Relative(NamedTuple):
    """A relative with the stems of what its sentence says of it."""

    start: int
    end: int
    name: str
    of: frozenset[str]


def check_relatives(stated: Reading, source: Reading, asked: Reading | None) -> Iterator[CheckedClaim]:
    if source.turns:  # of whom "my husband" is the father, depends on who speaks
        return
    said = _relatives(source) if RELATIVE.search(stated.lower) else []
    question = asked.stems - STOP_WORDS if asked else frozenset()
    if asked and not RELATIVE.search(stated.lower):
        yield from _of_asked_relative(stated, source, asked)
    for relative in _relatives(stated):
        of = relative.of or question
        claim = Claim("experiencer", relative.start, relative.end, f"of {relative.name}")
        scores = [len(of & each.of) for each in said]
        best = max(scores, default=0)
        near = [each for each, score in zip(said, scores, strict=True) if score == best] if best else said
        fits = [each for each in near if _may_be(relative.name, each.name)]
        is_unknown = _SUFFERS.match(stated.lower, relative.end) and not any(
            _may_be(relative.name, e.name) for e in said
        )
        if fits or not said or best or is_unknown or (asked and _WHO.match(asked.lower)):
            yield verdict(claim, (each[:2] for each in fits), (each[:2] for each in near))


def _of_asked_relative(stated: Reading, source: Reading, asked: Reading) -> Iterator[CheckedClaim]:
    """What an answer takes from the note for the relative that its question names, where that only has others."""
    match = _OF_RELATIVE.match(asked.lower)
    said = _relatives(source) if match and not _FAMILY.search(source.lower) else []
    if not match or not said or any(stated.context.negated) or is_refusal(stated.text):
        return
    if (stated.stems - STOP_WORDS).isdisjoint(source.stems):  # "Unknown"
        return
    if not any(_may_be(match["name"], each.name) for each in said):
        claim = Claim("experiencer", *stated.span_of(0, len(stated.words)), f"of {match['name']}")
        yield verdict(claim, [], [each[:2] for each in said])


def _relatives(reading: Reading) -> list[Relative]:
    """The relatives of a text, each with what stands between its neighbours in its sentence."""
    matches = list(RELATIVE.finditer(reading.lower))
    found: list[Relative] = []
    for i in reversed(range(len(matches))):  # of "brother and sister" both have what follows
        match, behind = matches[i], matches[i + 1] if i + 1 < len(matches) else None
        start, end = reading.sentence_at(match.start())
        start = max(start, matches[i - 1].end() if i else 0)
        if behind and found and _AND.fullmatch(reading.lower, match.end(), behind.start()):
            of = found[-1].of
        else:
            end = min(end, behind.start() if behind else end)
            of = _content(reading, match.end(), end) or _content(reading, start, match.start())
        name = _OF_PARENT[match[2]] if match["parent"] else match[2]
        found.append(Relative(*match.span(2), name, of))
    return found[::-1]


def _content(reading: Reading, start: int, end: int) -> frozenset[str]:
    stop = _OTHER_SUBJECT.search(reading.lower, start, end)
    end = stop.start() if stop else end
    stems = {w.stem for w in reading.words_within(start, end)} - STOP_WORDS - {"one"}
    return frozenset(stems | {f.name for f in reading.findings if start <= f.start < end})


def _may_be(stated: str, own: str) -> bool:
    """Whether two words may mean one relative: "a parent" is the mother or the father."""
    one, other = ({_RELATIVES.get(name, ""), *_GENERAL.get(name, ())} - {""} for name in (stated, own))
    return bool(one & other)
