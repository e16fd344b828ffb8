"""Claims about drugs held against the note."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence

from clinadapt.clinical.claims.checked import CheckedClaim, each_once, verdict
from clinadapt.clinical.claims.drug_uses import DrugUse, shorthand_mentions
from clinadapt.clinical.claims.kinds import Claim
from clinadapt.clinical.claims.quantities import Quantity, same
from clinadapt.clinical.claims.reading import Reading
from clinadapt.clinical.mention import Mention

_GOES_ON = re.compile(r"continu|remain|stay|resum|goe?s? on|went on")
_NO_ALLERGIES = re.compile(
    r"\b(?:nk(?:d|m)?a|(?:no|denies|denied|without)(?: any)?(?: known)?(?: (?:drug|medication|medicine))? allergies"
    r"|not allergic to any(?:thing| (?:drugs|medications|medicines)))\b(?!,? (?:to|except|other|besides|apart|but)\b)"
)
_DENIED_ALLERGY = re.compile(r"\b(?:nk(?:d|m|f)?a|(?:no|not|denies|denied|without|nil|never)\b[^.\n]{0,40}\ballerg)")


def check_drugs(stated: Reading, source: Reading, asked: Reading | None, taken: bool) -> Iterator[CheckedClaim]:
    """Drugs with their details; `taken`: whether the answer lists what is taken, as it was asked for."""
    uses: dict[str, list[DrugUse]] = {}
    for use in source.drugs if stated.drugs or (asked and asked.drugs) else ():
        uses.setdefault(use.name, []).append(use)

    def check(use: DrugUse) -> Iterator[CheckedClaim]:
        own = uses.get(use.name) or source.uses_of(shorthand_mentions(source.lower, use.name))
        yield verdict(Claim("drug", use.start, use.end, use.name), [(u.start, u.end) for u in own], [])
        if own:
            yield from _drug_details(use, own, stated, source)
            if taken and not use.status and all(u.status and u.status.value in ("stopped", "denied") for u in own):
                claim = Claim("status", use.start, use.end, f"{use.name} active")
                yield verdict(claim, [], [(u.start, u.end) for u in own])

    yield from each_once(stated.drugs, _content, check)
    if asked and not stated.drugs and len(names := {use.name for use in asked.drugs}) == 1:
        yield from _of_asked_drug(stated, names.pop(), uses)
    yield from _no_allergies(stated, source)


def _of_asked_drug(stated: Reading, name: str, uses: dict[str, list[DrugUse]]) -> Iterator[CheckedClaim]:
    """Dose and frequency of a bare answer: "7.5 mg twice daily", to a question about one drug."""
    own = uses.get(name, [])
    if any(use.doses for use in own):
        yield from _dose([q for q in stated.quantities if q.dimension in ("mass", "units")], name, own)
    if any(use.frequencies for use in own):
        yield from _frequency(stated.frequencies, name, own)


def _content(use: DrugUse) -> Hashable:
    """What a drug is stated to be, and how far from its name that stands."""
    place = use.start
    dose = [(q.start - place, q.end - q.start, str(q)) for q in use.doses[:1]]
    others = [(part[0] - place, part[1] - part[0], part[2]) for part in (*use.routes[:1], *use.frequencies[:1])]
    return use.name, use.end - place, (*dose, *others), use.status and use.status.value


def _no_allergies(stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    """That there are no allergies, where the note has an allergy to a drug and denies none."""
    if not (denied := _NO_ALLERGIES.search(stated.lower)) or _DENIED_ALLERGY.search(source.lower):
        return
    for use in source.drugs:
        if use.status and use.status.value == "allergy":
            claim = Claim("status", *denied.span(), "no allergies")
            yield CheckedClaim(claim, "contradicted", (use.start, use.end))
            return


def _drug_details(use: DrugUse, own: list[DrugUse], stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    yield from _dose(use.doses, use.name, own, source)
    for route in use.routes[:1]:
        given_routes = [r for u in own for r in u.routes]
        fits = [r[:2] for r in given_routes if r.value == route.value]
        if not fits and not given_routes and route.value == "oral":
            continue
        claim = Claim("route", route.start, route.end, f"{use.name} {route.value}")
        yield verdict(claim, fits, [r[:2] for r in given_routes])
    yield from _frequency(use.frequencies, use.name, own)
    if use.status and use.status.value != "open":
        yield from _status(use, own, stated)


def _dose(
    doses: Sequence[Quantity], name: str, own: Sequence[DrugUse], source: Reading | None = None
) -> Iterator[CheckedClaim]:
    """The first dose, held against those of a drug; where it has none and `source` is given, against any quantity."""
    for dose in doses[:1]:
        given = [q for u in own for q in u.doses]
        fits = [q[:2] for q in given if same(q, dose)]
        if source and not given:
            fits = [q[:2] for q in source.quantities if same(q, dose)]
        yield verdict(Claim("dose", dose.start, dose.end, f"{name} {dose}"), fits, [q[:2] for q in given])


def _frequency(
    frequencies: Sequence[tuple[int, int, float]], name: str, own: Sequence[DrugUse]
) -> Iterator[CheckedClaim]:
    """The first frequency, held against those of a drug."""
    for start, end, times in frequencies[:1]:
        given = [f for u in own for f in u.frequencies]
        fits = [f[:2] for f in given if abs(f[2] - times) < 0.02]
        yield verdict(Claim("frequency", start, end, f"{name} {times:.3g} a day"), fits, [f[:2] for f in given])


def _status(use: DrugUse, own: list[DrugUse], stated: Reading) -> Iterator[CheckedClaim]:
    status = use.status.value if use.status else ""
    claim = Claim("status", use.start, use.end, f"{use.name} {status}")
    given = [(u, u.status.value if u.status else "") for u in own]
    accepted = {
        "active": ("active", ""),
        "stopped": ("stopped",),
        "denied": ("denied", "stopped"),
        "allergy": ("allergy",),
    }
    lasting = bool(_GOES_ON.match(stated.lower, use.status.start)) if use.status else False
    ended = status == "active" and any(s in ("stopped", "denied") for _, s in given)
    fits = [
        (u.start, u.end)
        for u, s in given
        if s in accepted[status] and (s or not ended or (not lasting and (u.doses or u.frequencies)))
    ]
    statuses = [s for _, s in given if s]
    if lasting and statuses and statuses[-1] in ("stopped", "denied"):
        fits = []
    if status == "denied" and not fits and all(s == "" for _, s in given) and not any(u.doses for u, _ in given):
        return
    yield verdict(claim, fits, [(u.start, u.end) for u, _ in given])


def check_routes(stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    """Routes that belong to no drug of the lexicon."""
    own = {route[:2] for use in stated.drugs for route in use.routes}

    def check(route: Mention) -> Iterator[CheckedClaim]:
        fits = [each[:2] for each in source.routes if each.value == route.value]
        against = [each[:2] for each in source.routes]
        yield verdict(Claim("route", route.start, route.end, route.value), fits, against)

    others = [route for route in stated.routes if route[:2] not in own]
    if others and source.routes:
        yield from each_once(others, lambda route: (route.value, route.end - route.start), check)


def check_frequencies(stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    """Frequencies that belong to no drug of the lexicon."""
    own = {f[:2] for u in stated.drugs for f in u.frequencies}
    others = [frequency for frequency in stated.frequencies if frequency[:2] not in own]
    said = [*source.frequencies, *(f for u in source.drugs for f in u.frequencies)] if others else []
    known: dict[float, list[tuple[int, int]]] = {}
    for start, end, times in others:
        if times not in known:
            known[times] = [f[:2] for f in said if abs(f[2] - times) < 0.02]
        yield verdict(Claim("frequency", start, end, f"{times:.3g} a day"), known[times], [])
