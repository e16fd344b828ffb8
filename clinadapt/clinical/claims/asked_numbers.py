"""Numbers of bare answers that the note has for something else than the question asks: the patient's age for the
weeks of a pregnancy, the distance to a margin for the size of a tumor, all nodes for those that are involved."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clinadapt.clinical.claims.asked_things import is_bare
from clinadapt.clinical.claims.checked import CheckedClaim
from clinadapt.clinical.claims.kinds import Claim
from clinadapt.clinical.claims.quantities import Quantity, same
from clinadapt.clinical.claims.reading import Reading
from clinadapt.clinical.claims.words import stem

_ASKS_EXTENT = re.compile(r"\W*how (?:far|long|much|many)\b(?!.*\b(?:old|age[ds]?|years?|live[ds]?)\b)")
_ASKS_SIZE = re.compile(
    r"\bhow (?:big|large|wide|long is the|thick)\b|\bwhat (?:size|is the (?:size|diameter)|was the (?:size|diameter))\b"
)
_ASKS_DISTANCE = re.compile(r"\b(?:far|distance|margins?|from|above|below|clear\w*|deep|depth)\b")
_DISTANCE = re.compile(
    r" ?(?:\([^)]{0,40}\) )?(?:away |clear |lateral |medial |proximal |distal |superior |inferior )*"
    r"(?:from|above|below|beyond|off)\b(?! \d)"
)
ASKS_INVOLVED = re.compile(
    r"\W*how many (?:of )?(?:the )?(?:[a-z]+ )?(?P<of>[a-z]+) (?:(?:was|were|are|is|had|have|has) )?"
    r"(?:contain\w*|involved|positive|affected|metasta\w+|tumou?r|cancer\w*|abnormal|infected|malignant)"
)
# What stands behind all of them: "three nodes, one with a metastasis", "21 nodes, 4 positive"
_OF_WHICH = r"[^.;\n\d]{{0,30}}?\b{0}[a-z]*\b,? (?:of which |with )?(?:\d+|one|two|three|four|five|six|none|no)\b"
_ALL_OF = re.compile(r"\b(?:\d+|one|two|three|four|five|six|none)(?: of|/) ?(?:the )?\Z")
_LENGTHS = ("mm", "cm", "inch")


def check_asked_numbers(stated: Reading, source: Reading, asked: Reading) -> Iterator[CheckedClaim]:
    """The only number of a bare answer."""
    numbers = [q for q in stated.quantities if not q.is_code]
    if len(numbers) != 1 or source.turns or not is_bare(stated, asked, [numbers[0][:2]]):
        return
    (number,) = numbers
    own = [q for q in source.quantities if same(q, number) or (not q.dimension and q.number == number.number)]
    own += _ages(number, source)
    if not own:
        return
    if other := _other_number(number, own, source, asked):
        claim = Claim("number", number.start, number.end, f"{number} as asked")
        yield CheckedClaim(claim, "contradicted", other)


def _other_number(number: Quantity, own: list[Quantity], source: Reading, asked: Reading) -> tuple[int, int] | None:
    """Span of what shows that the note has a number, in all of these places, for something else than is asked for."""
    if number.unit == "year" and _ASKS_EXTENT.match(asked.lower):
        ages = [(start, end) for start, end, _ in source.ages]
        return ages[0] if all(any(s <= q.start < e for s, e in ages) for q in own) else None
    if number.unit in _LENGTHS and _ASKS_SIZE.search(asked.lower) and not _ASKS_DISTANCE.search(asked.lower):
        lengths = [q for q in source.quantities if q.unit in _LENGTHS]
        apart = [q for q in lengths if _DISTANCE.match(source.lower, q.end)]
        others = [q[:2] for q in lengths if q not in apart]
        same_ones = [q for q in own if q.dimension]
        return others[0] if others and same_ones and all(q in apart for q in same_ones) else None
    if not number.dimension and (match := ASKS_INVOLVED.match(asked.lower)):
        return _of_all(own, stem(match["of"]), source)
    return None


def _of_all(own: list[Quantity], name: str, source: Reading) -> tuple[int, int] | None:
    """Span of the first of these numbers, where each counts all things of a name and the note tells of some."""
    behind = re.compile(_OF_WHICH.format(re.escape(name)))
    before_some = [q for q in own if behind.match(source.lower, q.end)]
    counts = {each[:2] for each in source.counted.get(name, [])}
    near = [q for q in own if q[:2] in counts or q in before_some]
    totals = [q for q in near if q in before_some or _ALL_OF.search(source.lower, max(0, q.start - 16), q.start)]
    return totals[0][:2] if totals and len(totals) == len(near) else None


def _ages(number: Quantity, source: Reading) -> list[Quantity]:
    """The ages of the note that a number of years may be."""
    if number.unit != "year":
        return []
    return [number._replace(start=start, end=end) for start, end, years in source.ages if years == number.number]
