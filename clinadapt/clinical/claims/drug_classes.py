"""Classes of drugs, "a statin", held against the drugs of the note and against the classes that it names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from clinadapt.clinical.claims.checked import CheckedClaim, verdict
from clinadapt.clinical.claims.drug_uses import DrugUse
from clinadapt.clinical.claims.kinds import Claim
from clinadapt.clinical.claims.reading import Reading
from clinadapt.clinical.lexicon import load_lexicon
from clinadapt.clinical.mention import Mention

_GIVEN = ("active", "planned")
_NOT_GIVEN = ("stopped", "denied", "allergy")
_LASTS = re.compile(r"continu|remain|still|stay")


@cache
def _classes() -> tuple[re.Pattern[str], dict[str, tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]]]:
    """A pattern of all names, and class -> (its names, its drugs, those often given for something else)."""
    classes = {
        name: (
            re.compile(rf"(?<![\w-])(?:{entry['named']})(?![\w-])"),
            re.compile(entry["drugs"]),
            re.compile(entry.get("also", r"(?!)")),
        )
        for name, entry in load_lexicon("drug_classes.yaml").items()
    }
    return re.compile("|".join(named.pattern for named, _, _ in classes.values())), classes


def check_drug_classes(stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    """What an answer says is given, not given or an allergy."""
    anything, classes = _classes()
    if source.turns or not anything.search(stated.lower):
        return
    for name, (named, drugs, also) in classes.items():
        mentions = [Mention(*match.span(), name) for match in named.finditer(stated.lower)]
        for use in stated.uses_of(mentions) if mentions else ():
            if use.status and use.status.value in (*_GIVEN, *_NOT_GIVEN):
                of_class = [Mention(*match.span(), name) for match in named.finditer(source.lower)]
                given = use.status.value in _GIVEN
                own = source.uses_of(of_class) + [
                    each for each in source.drugs if drugs.search(each.name) or (given and also.search(each.name))
                ]
                lasts = bool(_LASTS.match(stated.lower, use.status.start))
                yield from _of_class(use, use.status.value, own, lasts)


def _of_class(use: DrugUse, status: str, own: list[DrugUse], lasts: bool) -> Iterator[CheckedClaim]:
    """One statement; where the note has some drugs of a class that fit, it is supported. `lasts`: given as before."""
    claim = Claim("status", use.start, use.end, f"{use.name} {status}")
    given = [each.status.value if each.status else "" for each in own]
    spans = [(each.start, each.end) for each in own]
    if status in _GIVEN:
        fits = [span for span, value in zip(spans, given, strict=True) if value not in _NOT_GIVEN]
        fits = [] if lasts and "stopped" in given and "active" not in given else fits
        yield verdict(claim, fits, spans)
    elif status == "allergy":
        if spans and "allergy" not in given:
            yield verdict(claim, [], spans)
    elif spans and all(value in ("active", "planned") for value in given):
        yield verdict(claim, [], spans)
