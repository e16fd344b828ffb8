"""Which of the doses that a note has of a drug a question asks for: the new one, that at the start, that as needed."""

from __future__ import annotations

import re
from dataclasses import replace

from clinadapt.clinical.claims.drug_uses import DrugUse
from clinadapt.clinical.claims.reading import Reading

_CHANGED_TO = re.compile(
    r"\b(?:reduc|increas|rais|lower|chang|titrat|cut|taper|go(?:es)? (?:up|down)|\bup|\bdown)\w*(?: [a-z]+){0,3} to "
    r"(?:about )?\Z|(?:->|→) ?\Z"
)
_LATER = re.compile(
    r"\b(?:up to|(?:increas|titrat|build|go)\w*(?: up)? to|target(?: of| dose(?: of)?)?|then|thereafter) \Z"
)
_AS_NEEDED = re.compile(
    r"[^.;,\n]{0,30}?\b(?:p\.?r\.?n\b|as (?:needed|required)|when (?:needed|required)|breakthrough|if needed)"
)
_BEFORE = 32  # characters before a dose

# what a question asks for -> whether a dose (span) of the note is such, and whether it must be or must not
_ASKED: list[tuple[re.Pattern[str], re.Pattern[str], bool]] = [
    (re.compile(r"\b(?:new|now|current(?:ly)?|today|latest)\b"), _CHANGED_TO, True),
    (re.compile(r"\b(?:target|maximum|final|eventual|maintenance)\b"), _LATER, True),
    (re.compile(r"\b(?:start(?:s|ed|ing)?|initial(?:ly)?|begin|first|loading)\b"), _LATER, False),
    (re.compile(r"\b(?:as needed|prn|as required|when needed|breakthrough|rescue)\b"), _AS_NEEDED, True),
    (re.compile(r"\b(?:long-acting|(?:slow|modified|sustained)-release|regular(?:ly)?)\b"), _AS_NEEDED, False),
]  # fmt: skip


def uses_as_asked(own: list[DrugUse], source: Reading, asked: Reading | None) -> list[DrugUse]:
    """The uses of a drug in the note with those doses and frequencies that the question asks for, where it has any."""
    if not asked or sum(len(use.doses) for use in own) < 2 or own[0].name not in {use.name for use in asked.drugs}:
        return own
    for asks, pattern, wanted in _ASKED:
        if asks.search(asked.lower):
            spans = {d[:2] for use in own for d in use.doses if _is(d[:2], pattern, source) == wanted}
            of_spans = [use for use in own if not use.doses or any(dose[:2] in spans for dose in use.doses)]
            own = [_with_doses(use, spans) for use in of_spans] if spans else own
    return own


def _with_doses(use: DrugUse, spans: set[tuple[int, int]]) -> DrugUse:
    """The use with its doses at these spans, and the frequencies behind these."""
    doses = [dose for dose in use.doses if dose[:2] in spans]
    others = [dose.start for dose in use.doses if dose[:2] not in spans]
    times = [f for f in use.frequencies if _last([d.start for d in doses], f[0]) >= _last(others, f[0])]
    return replace(use, doses=doses, frequencies=times or use.frequencies)


def _last(starts: list[int], before: int) -> int:
    return max((start for start in starts if start < before), default=-1)


def _is(span: tuple[int, int], pattern: re.Pattern[str], source: Reading) -> bool:
    """Whether a dose of the note is what a pattern of `_ASKED` tells."""
    if pattern is _AS_NEEDED:
        return bool(pattern.match(source.lower, span[1]))
    return bool(pattern.search(source.lower, max(0, span[0] - _BEFORE), span[0]))
