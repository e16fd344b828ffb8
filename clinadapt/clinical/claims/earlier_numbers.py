"""Numbers of an earlier time, which the same text replaces: 10 of "reduced from 10 to 5", 144 of "CRP 96 (144)"."""

from __future__ import annotations

import re
from collections.abc import Callable

from clinadapt.clinical.claims.quantities import Quantity, same

Span = tuple[int, int]
_CHANGED = r"up|down|increased|raised|reduced|decreased|lowered|improved|risen|fallen|changed|switched|titrated"
_FROM = re.compile(r"\b(?<!ranging )(?<!ranged )(?<!varying )(?<!ranges )from (?:about |around )?\Z")
_CHANGED_FROM = re.compile(rf"\b(?:{_CHANGED}) from (?:about |around )?\Z")  # "6.8, up from 4.1"
_TO = re.compile(r"[^\d.;\n]{0,12} to (?:about |around )?| ?(?:->|→|-->) ?")
_WAS = re.compile(r"\bwas (?:about |around )?\Z")
_IS_NOW = re.compile(r"[^\d;\n]{0,25}\b(?:now|today|currently)(?: at| only| about)? ?")
_AGO = (
    r"(?:the )?(?:last|previous) (?:year|month|week|visit|time)|(?:an?|one|two|three|\d+) (?:year|month|week|day)s? ago"
)
_EARLIER = re.compile(
    rf"\b(?:previous(?:ly)?|prior|baseline|initial(?:ly)?|formerly|originally|yesterday|{_AGO})(?: (?:was|at|of))?:? \Z"
    r"|[,(] ?was \Z"
)
_BEHIND_IT = re.compile(rf" (?:previously|initially|at first|yesterday|{_AGO})\b")
_IN_BRACKETS = re.compile(r" ?\((?:(?:was|previously|prev\.?|baseline|from) )?")
_FURTHEST = 4  # numbers back to the one that an earlier one belongs to


def earlier_numbers(
    lower: str, quantities: list[Quantity], sentence_at: Callable[[int], tuple[int, int]]
) -> dict[Span, Span]:
    """Span of each number of an earlier time -> span of the number that has replaced it.

    Args:
        lower: a text in lower case.
        quantities: its numbers.
        sentence_at: span of the sentence at a character.
    """
    replaced = {}
    for i, number in enumerate(quantities):
        start, end = sentence_at(number.start)
        j = _replacement(lower, quantities, i, (start, end))
        if j is not None:
            for part in range(1 + (number.pair and quantities[j].pair)):
                replaced[quantities[i + part][:2]] = quantities[j + part][:2]
    return replaced


def _replacement(lower: str, quantities: list[Quantity], i: int, sentence: Span) -> int | None:
    """Index of the number of a later time that has replaced number i, in its sentence."""
    number, before = quantities[i], lower[max(sentence[0], quantities[i].start - 24) : quantities[i].start]
    behind = i + 1 + (number.pair and i + 1 < len(quantities))
    end = quantities[behind - 1].end  # of 120/80 both
    if behind < len(quantities) and (other := quantities[behind]).start < sentence[1]:
        becomes = _TO.fullmatch(lower, end, other.start)
        if becomes and ("to" not in becomes[0].split() or _FROM.search(before)):
            return behind
        if _WAS.search(before) and _IS_NOW.fullmatch(lower, end, other.start):
            return behind
    last = range(i - 1, max(-1, i - 1 - _FURTHEST), -1)
    alike = (j for j in last if _is_alike(quantities, j, number) and quantities[j].start >= sentence[0])
    if (j := next(alike, None)) is None:
        return None
    if _CHANGED_FROM.search(before) or _EARLIER.search(before) or _BEHIND_IT.match(lower, end):
        return j
    in_brackets = _IN_BRACKETS.fullmatch(lower, quantities[i - 1].end, number.start) and lower.startswith(")", end)
    return j if in_brackets and not same(quantities[j], number) else None


def _is_alike(quantities: list[Quantity], j: int, number: Quantity) -> bool:
    """Whether number j may be another value of what a number is of: neither the second part of 120/80, nor of another
    unit."""
    other, is_second = quantities[j], j > 0 and quantities[j - 1].pair
    return not is_second and other.pair == number.pair and number.dimension in ("", other.dimension)
