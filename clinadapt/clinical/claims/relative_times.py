"""Times told from the day of the note, held against it: yesterday is not tomorrow, last Tuesday not the next."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clinadapt.clinical.claims.checked import CheckedClaim, verdict
from clinadapt.clinical.claims.kinds import Claim
from clinadapt.clinical.claims.reading import Reading

_DAY = r"(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_TIME = re.compile(
    rf"\b(?:(?P<which>last|next) (?P<of>night|week|month|year|{_DAY})|yesterday|tomorrow|tonight)\b(?! of\b)"
)
_ONE = r"(?:a|one|1)"
# time -> (what else a note may write for it, what is the contrary)
_FIXED = {
    "yesterday": (rf"yest\b|{_ONE} day ago|last (?:night|evening)|the day before|\b(?:24|twenty-four) ?h", "tomorrow"),
    "last night": (r"yesterday|overnight|(?:last|yesterday) evening|\bnight", "tonight|tomorrow"),
    "tomorrow": (r"tmrw|tomm?or?row|in the morning|next day|\bin a day|\b(?:24|48) ?h|\b1 day\b|\b1/7", "yesterday"),
    "tonight": (r"this (?:evening|pm)|today|later|evening|nocte|at night|\bpm\b", "last night|yesterday"),
}
_UNITS = {"week": r"(?:weeks?|wks?|/52)", "month": r"(?:months?|mos?\b|/12)", "year": r"(?:years?|yrs?)"}
_SHORTER = {"week": r"7 days", "month": r"(?:4|four) weeks|30 days", "year": r"(?:12|twelve) months|(?:19|20)\d\d"}


def check_relative_times(stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    """What the note neither has nor may mean by a date is not found, unless it has the contrary."""
    for match in _TIME.finditer(stated.lower):
        same, contrary = _patterns(match)
        claim = Claim("date", *match.span(), match[0])
        fits = [m.span() for m in re.finditer(same, source.lower)]
        against = [m.span() for m in re.finditer(contrary, source.lower)]
        if fits or against or not (source.dates or source.months):
            yield verdict(claim, fits, against)


def _patterns(match: re.Match[str]) -> tuple[str, str]:
    """What a note may write for a time, and for its contrary."""
    if not match["which"] or match["of"] == "night":
        same, contrary = _FIXED.get(match[0], ("", "tonight"))
        return f"{match[0]}|{same}" if same else match[0], contrary
    which, other = ("last|previous|past", "next|coming") if match["which"] == "last" else ("next|coming", "last")
    if match["of"] in _UNITS:
        unit, shorter = _UNITS[match["of"]], _SHORTER[match["of"]]
        apart = rf"\b{_ONE} ?{unit} (?:ago|back|earlier|prior)|\b(?:{shorter})\b"
        if match["which"] == "next":
            apart = rf"\bin {_ONE} ?{unit}|\b(?:one|1) ?{unit}|\b(?:{shorter})\b"
        return rf"\b(?:{which}) {unit}|{apart}", rf"\b(?:{other}) {unit}"
    short = match["of"][:3]
    own = rf"\b(?:{which}) {short}|\b(?<!{(match['which'] == 'last' and 'next') or 'last'} ){short}"
    return own, rf"\b(?:{other}) {short}"
