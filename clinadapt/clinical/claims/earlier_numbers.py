"""Numbers of an earlier time, which the same text replaces: 10 of "reduced from 10 to 5", 144 of "CRP 96 (144)"."""

from __future__ import annotations

import re
from collections.abc import Callable

from clinadapt.clinical.claims.quantities import Quantity, same
from clinadapt.clinical.dates import MONTHS

Span = tuple[int, int]
_CHANGED = r"up|down|increased|raised|reduced|decreased|lowered|improved|risen|fallen|changed|switched|titrated"
_FROM = re.compile(r"\b(?<!ranging )(?<!ranged )(?<!varying )(?<!ranges )from (?:about |around )?\Z")
_CHANGED_FROM = re.compile(rf"\b(?:{_CHANGED}) from (?:about |around )?\Z")  # "6.8, up from 4.1"
_TO = re.compile(r"[^\d.;\n]{0,18} to (?:about |around )?| ?(?:->|→|-->) ?")
_WAS = re.compile(r"\bwas (?:about |around )?\Z")
_IS_NOW = re.compile(r"[^\d;\n]{0,25}\b(?:now|today|currently)(?: at| only| about)? ?")
_AGO = (
    r"(?:the )?(?:last|previous) (?:ye?a?r|mo(?:nth)?|we?e?k|visit|time)|"
    r"(?:an?|one|two|three|\d+) (?:ye?a?r|mo(?:nth)?|we?e?k|day)s? ago"
)
_EARLIER = re.compile(
    rf"\b(?:previous(?:ly)?|prior|baseline|initial(?:ly)?|formerly|originally|yesterday|{_AGO})"
    r"(?: (?:was|at|of|(?P<label>[a-z]+\d?)))?:? \Z|[,(] ?was \Z"
)
_MONTH_OR_YEAR = rf"in (?:(?:early|late) )?(?:(?:{'|'.join(MONTHS)})[a-z]*|(?:19|20)\d\d)\b"
_ON_ARRIVAL = r"(?:on|at) (?:admission|arrival|presentation|booking|triage|intake|birth)\b"
_BEHIND_IT = re.compile(rf" (?:previously|initially|at first|yesterday|{_AGO})\b")
_DATED = re.compile(rf" (?:{_MONTH_OR_YEAR}|{_ON_ARRIVAL})")
_BESIDE = re.compile(r"(?: (?:today|now|currently|at present))?,? (?:(?:and|but) )?")  # "71/100 today, 84/100 in 2021"
_IN_BRACKETS = re.compile(r" ?\((?:(?:was|previously|prev\.?|baseline|from) )?")
_CLOSES = re.compile(rf"(?:{_BEHIND_IT.pattern}|{_DATED.pattern})?\)")
_AT_FIRST = re.compile(rf"\b{_ON_ARRIVAL} (?:(?:was|of) )?\Z|\b(?:initially|before|pre-?op(?:erative)?) \Z")
_LATER = re.compile(r"[^.;\n]{0,45}\b(?:after|now|today|currently|then|at discharge|on discharge|post)\b[^.;\n]{0,40}")
_BECAME = re.compile(
    r"[^.;\n]{0,60}\b(?:relief|down|improv\w+|dropp\w+|f[ae]ll\w*|settl\w+) to |"
    r"[^.;\n]{0,20}\bnow (?:at |only |about |down to |up to )?"
)
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
        later = _LATER if _AT_FIRST.search(before) else _BECAME
        if (j := _later_one(lower, quantities, i, sentence[1], later)) is not None:
            return j
    last = range(i - 1, max(-1, i - 1 - _FURTHEST), -1)
    alike = (j for j in last if _is_alike(quantities, j, number) and quantities[j].start >= sentence[0])
    if (j := next(alike, None)) is None:
        return None
    if earlier := _EARLIER.search(before):
        own = f" {earlier['label']} "  # "FT4 14.2, TSH 0.02, previously FT4 41"
        labelled = (k for k in last if earlier["label"] and lower.endswith(own, 0, quantities[k].start))
        return next(labelled, j)
    if _CHANGED_FROM.search(before) or _BEHIND_IT.match(lower, end):
        return j
    if _DATED.match(lower, end) and _BESIDE.fullmatch(lower, quantities[i - 1].end, number.start):
        return j if quantities[j].dimension == number.dimension else None
    in_brackets = _IN_BRACKETS.fullmatch(lower, quantities[i - 1].end, number.start) and _CLOSES.match(lower, end)
    return j if in_brackets and not same(quantities[j], number) else None


def _later_one(
    lower: str, quantities: list[Quantity], i: int, sentence_end: int, between: re.Pattern[str]
) -> int | None:
    """Index of the first number alike behind number i that its sentence has for a later time, as what stands `between`
    says: "Hb on arrival 6.9, after two units of blood 8.8"."""
    number, behind = quantities[i], i + 1 + quantities[i].pair
    end = quantities[behind - 1].end
    for j in range(behind, min(i + _FURTHEST + 1, len(quantities))):
        other = quantities[j]
        if other.start >= sentence_end:
            return None
        if other.dimension == number.dimension and other.pair == number.pair:
            return j if between.fullmatch(lower, end, other.start) else None
    return None


def _is_alike(quantities: list[Quantity], j: int, number: Quantity) -> bool:
    """Whether number j may be another value of what a number is of: neither the second part of 120/80, nor of another
    unit."""
    other, is_second = quantities[j], j > 0 and quantities[j - 1].pair
    return not is_second and other.pair == number.pair and number.dimension in ("", other.dimension)
