"""One of several that exclude each other: right- and left-handed, types 1 and 2 of a disease, BRCA1 and BRCA2."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from clinadapt.clinical.claims.checked import CheckedClaim, verdict
from clinadapt.clinical.claims.kinds import Claim
from clinadapt.clinical.claims.opposites import near_words
from clinadapt.clinical.claims.reading import Reading
from clinadapt.clinical.lexicon import load_lexicon
from clinadapt.clinical.number_words import ORDINALS

_ROMAN = {"i": "1", "ii": "2", "iii": "3", "iv": "4", "v": "5"}
# A name and the figure or letter that tells of which kind it is
_KIND = re.compile(
    r"\b(?P<name>type|grade|gr|g(?=\d)|stage|class|nyha(?: class)?|asa|phase|category|hepatitis|hep|influenza|flu|brca|"
    r"ig|ckd(?: stage)?|child-pugh|bi-?rads|ti-?rads|factor|mobitz|hsv|apgar at)"
    r"[ -]?(?P<kind>(?<=ig)[agme]\b|[0-9][ab]?\b|(?:iii|ii|iv|i|v)[abc]?\b|(?<= )[abcd]\b)(?![./%]\d|\+|"
    r" ?(?:mg|cm|mm|ml|weeks?|days?)\b| ?p\d)"  # G2 P1 is no grade
)
_DEGREE = re.compile(rf"\b(?P<n>1st|2nd|3rd|4th|{'|'.join(ORDINALS[:4])})[- ]degree\b(?! relative)")
_SAME_NAME = {
    "gr": "grade",
    "g": "grade",
    "hep": "hepatitis",
    "flu": "influenza",
    "nyha class": "nyha",
    "ckd stage": "ckd",
}
_OF_MANY = ("type", "grade", "stage", "class", "phase", "category", "factor")  # things, each with one of its own


@cache
def _groups() -> list[list[tuple[str, re.Pattern[str]]]]:
    groups = load_lexicon("variants.yaml").values()
    return [[(name, re.compile(pattern)) for name, pattern in group.items()] for group in groups]


def check_variants(stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    for group in _groups():
        for name, pattern in group:
            match = next((m for m in pattern.finditer(stated.lower) if m.lastgroup != "may"), None)
            if not match or _is_denied(stated, match.start()) or _said(pattern, source, may=True):
                continue
            others = [span for _, other in group if other is not pattern for span in _said(other, source)]
            if others and not any(other.search(stated.lower) for _, other in group if other is not pattern):
                yield CheckedClaim(Claim("finding", *match.span(), name), "contradicted", others[0])
    yield from _kinds(stated, source)
    yield from _degrees(stated, source)


def _kinds(stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    """BRCA2 where the note has BRCA1 only, and type 2 where it has a type 1 of the same."""
    said = [*_KIND.finditer(source.lower)] if _KIND.search(stated.lower) else []
    for match in _KIND.finditer(stated.lower) if said else ():
        name, kind = _kind(match)
        alike = [each for each in said if _kind(each)[0] == name]
        if name in _OF_MANY:
            of = _of(stated, match)
            alike = [each for each in alike if of & _of(source, each)]
        own = [(_kind(each)[1], each.span()) for each in alike]
        fits = [
            span for other, span in own if other[:1] == kind[:1] and (1 in (len(other), len(kind)) or other == kind)
        ]
        if own:
            yield verdict(Claim("finding", *match.span(), f"{name} {kind}"), fits, [span for _, span in own])


def _degrees(stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    """A third degree of a tear, a burn or a block, where the note only tells of another."""
    degrees = [[(_degree(m), m.span()) for m in _DEGREE.finditer(each.lower)] for each in (stated, source)]
    for degree, span in degrees[0] if degrees[1] else ():
        fits = [other for own, other in degrees[1] if own == degree]
        yield verdict(Claim("finding", *span, f"degree {degree}"), fits, [other for _, other in degrees[1]])


def _degree(match: re.Match[str]) -> int:
    return int(match["n"][0]) if match["n"][0].isdigit() else ORDINALS.index(match["n"]) + 1


def _kind(match: re.Match[str]) -> tuple[str, str]:
    """`grade` and `3` of "Gr III"."""
    kind = match["kind"]
    roman = (
        re.match(r"(?:iii|ii|iv|i|v)(?=[abc]?\Z)", kind) if match["name"] not in ("ig", "hepatitis", "hep") else None
    )
    if roman:
        kind = _ROMAN[roman[0]] + kind[roman.end() :]
    return _SAME_NAME.get(match["name"], match["name"].replace("-", "")), kind


def _of(reading: Reading, match: re.Match[str]) -> set[str]:
    """What a type or grade is of: stems of the words near it."""
    own = {word.stem for word in reading.words_within(*match.span())}
    return near_words(reading, reading.word_at(match.start())) - own


def _said(pattern: re.Pattern[str], source: Reading, may: bool = False) -> list[tuple[int, int]]:
    matches = (m for m in pattern.finditer(source.lower) if may or m.lastgroup != "may")
    return [m.span() for m in matches if not _is_denied(source, m.start())]


def _is_denied(reading: Reading, position: int) -> bool:
    number = reading.word_at(position)
    return number < len(reading.words) and reading.context.negated[number] > 0
