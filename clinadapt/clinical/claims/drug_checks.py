"""Claims about drugs held against the note."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace

from clinadapt.clinical.claims.asked_doses import uses_as_asked
from clinadapt.clinical.claims.checked import CheckedClaim, each_once, verdict
from clinadapt.clinical.claims.drug_status import SWITCHED
from clinadapt.clinical.claims.drug_uses import DrugUse, has_short_form, shorthand_mentions
from clinadapt.clinical.claims.kinds import Claim
from clinadapt.clinical.claims.quantities import Quantity, same
from clinadapt.clinical.claims.reading import Reading, read
from clinadapt.clinical.claims.reckoned_doses import TOTAL, is_daily_course, is_of_a_day, reckoned
from clinadapt.clinical.mention import Mention

_ADVISED = re.compile(r"\b(?:advi[cs]e\w*|is to|are to|should|will|suggest\w*|recommend\w*|plan\w*)\b")
_GOES_ON = re.compile(r"continu|remain|stay|resum|keep|kept|carr|goe?s? on|went on|home on|discharged on")
_REPLY = re.compile(r"\W*(?:yes|no)\b\W*(?:(?:it|this|that) )?|\W*it ")
_TAKEN_NOW = re.compile(r"(?:tak(?:es|ing)|receiv(?:es|ing)|already|(?:is|are|now|currently) on)\Z|\balready ")
_WAS_GIVEN = re.compile(
    r"\b(?:was|were|been) (?:given|administered)\Z|\b(?:received|treated with)\Z"
)  # and may be no more
_GIVEN_BEFORE = re.compile(r"convert|switch|chang|complet|finish")
_IS_STOPPED = re.compile(r"\b(?:has|have|had|was|were)(?: now| already)?(?: been)? [a-z]+\Z")
_HELD = re.compile(r"with?held|held|hold|on hold|omit|avoid")  # also before it was begun
_NOW = re.compile(r"\b(?:now|currently|at present|presently|today)\b")
_EARLIER = re.compile(r"\b(?:previously|formerly|from|initially|was|were|before) (?:about )?\Z")
_FOR_GOOD = re.compile(r"\b(?:permanent|for good|indefinite|definitive|for ever|forever)")
_PAUSED = re.compile(r"\b(?:resum|restart|held\b|hold\b|paus|withh|temporar|until\b)")
_MORNING = re.compile(r"morning|mane|breakfast|\bom\b|a\.? ?m\b")
_NIGHT = re.compile(r"night|evening|bedtime|nocte|supper|\bon\b|h\.? ?s\b|p\.? ?m\b")
# What a list of such drugs begins with, and how many characters before a drug it may begin
_LISTED = {
    "stopped": re.compile(r"\bstop|discontinu|\bheld\b|\bhold|\bd/c|\bpaus|withh|ceas|off\b"),
    "allergy": re.compile(r"\ball|intoler|reaction"),
}
_ALLERGIC = re.compile(r"\b(?<!not )allerg(?:ic|y|ies)\b")
_BARRED = re.compile(r"(?:can(?:not|['’]t)|unable to) take\b")
_SOME_ALLERGY = re.compile(
    r"\b(?:latex|peanut|nut|egg|shellfish|food|bee|wasp|contrast|plaster|dust|milk) allergy\b|"
    r"\b(?<!not )(?<!never )allergic(?: to)?:? ?(?!to\b|any|no\b|nil\b|none|rhinitis|conjunctivitis|asthma|"
    r"reaction|eczema|"
    r"dermatitis|disorder|type)[a-z]+|\ball(?:ergy|ergies)? ?: ?(?!no\b|nil\b|none|nk|unknown|denies|neg|[^a-z])[a-z]+"
)
_LIST = 300
_NEAR = 30  # characters between a drug and a dose without a unit
_INFUSION = re.compile(r"infus|drip")
_RATE = re.compile(r"/ ?(?:h|hr|hour|min|minute)\b|\bper (?:hour|minute)\b|\bgtt\b")
_NO_ALLERGIES = re.compile(
    r"\b(?:nk(?:d|m)?a|(?:no|denies|denied|without)(?: any)?(?: known)?(?: (?:drug|medication|medicine))? allergies"
    r"|not allergic to any(?:thing| (?:drugs|medications|medicines)))\b(?!,? (?:to|except|other|besides|apart|but)\b)"
)
_DENIED_ALLERGY = re.compile(r"\b(?:nk(?:d|m|f)?a|(?:no|not|denies|denied|without|nil|never)\b[^.\n]{0,40}\ballerg)")


def check_drugs(stated: Reading, source: Reading, asked: Reading | None, asked_status: str) -> Iterator[CheckedClaim]:
    """Drugs with their details; `asked_status`: what the question says of the drugs that it asks for, `active`,
    `stopped` or `allergy`."""
    uses: dict[str, list[DrugUse]] = {}
    for use in source.drugs if stated.drugs or (asked and asked.drugs) else ():
        uses.setdefault(use.name, []).append(use)

    def check(use: DrugUse) -> Iterator[CheckedClaim]:
        own = uses.get(use.name, [])
        if not own or has_short_form(use.name):
            own = [*own, *source.uses_of(shorthand_mentions(source.lower, use.name))]
        yield verdict(Claim("drug", use.start, use.end, use.name), [(u.start, u.end) for u in own], [])
        if own:
            yield from _drug_details(use, uses_as_asked(own, source, asked), stated, source)
            if not use.status and _is_of_other_status(own, asked_status, source):
                claim = Claim("status", use.start, use.end, f"{use.name} {asked_status}")
                yield verdict(claim, [], [(u.start, u.end) for u in own])

    yield from each_once(stated.drugs, _content, check)
    if asked and not stated.drugs and len({(use.start, use.end) for use in asked.drugs}) == 1:
        name = asked.drugs[0].name
        own = uses.get(name) or source.uses_of(shorthand_mentions(source.lower, name))
        asks_total = bool(TOTAL.search(asked.lower))
        yield from _of_asked_drug(stated, name, uses_as_asked(own, source, asked) if own else [], source, asks_total)
        if asks_total:
            yield from _of_one_dose(stated, name, own, source)
    yield from _no_allergies(stated, source)


def _is_of_other_status(own: list[DrugUse], asked: str, source: Reading) -> bool:
    """Whether a drug of the note is none of those that the question asks for: all that it says of it is otherwise, and
    of another drug it says what is asked."""
    statuses = [use.status.value if use.status else "" for use in own]
    if asked == "active":
        return all(status in ("stopped", "denied") for status in statuses)
    of_others = asked == "allergy" and _ALLERGIC.search(source.lower)  # to eggs
    if not asked or not (of_others or any(use.status and use.status.value == asked for use in source.drugs)):
        return False
    listed = [_LISTED[asked].search(source.lower, max(0, use.start - _LIST), use.start) for use in own]
    prescribed = [not before or (asked == "allergy" and use.doses) for use, before in zip(own, listed, strict=True)]
    return all(s == "active" or (s == "" and given) for s, given in zip(statuses, prescribed, strict=True))


def _of_asked_drug(
    stated: Reading, name: str, own: list[DrugUse], source: Reading, asks_total: bool
) -> Iterator[CheckedClaim]:
    """Dose, route, frequency and status of a bare answer to a question about one drug, which the note has `own`: read
    as if the drug's name stood before it, "7.5 mg by mouth twice daily"."""
    if not own:
        return
    reply = _REPLY.match(stated.lower)
    rest = reply.end() if reply else 0
    named, before = read(f"{name} {stated.text[rest:]}{' in total' * asks_total}"), len(name) + 1 - rest
    (use,) = named.uses_of([Mention(0, len(name), name)])
    use = replace(use, doses=[dose for dose in use.doses if dose.dimension])  # a bare number may be anything
    for each in _drug_details(use, own, named, source):
        if each.outcome != "not found":
            start, end = each.claim[1:3] if each.claim.start or not use.status else use.status[:2]
            yield each._replace(claim=each.claim._replace(start=start - before, end=end - before))


def _of_one_dose(stated: Reading, name: str, own: list[DrugUse], source: Reading) -> Iterator[CheckedClaim]:
    """A bare dose that the note has as one of several of a drug, where the question asks for their total."""
    given = [dose for use in own for dose in use.doses if dose.dimension]
    doses = [dose for dose in stated.quantities if dose.dimension == given[0].dimension] if len(given) > 1 else []
    if len(doses) == 1 and not TOTAL.search(source.lower) and any(same(doses[0], each) for each in given):
        claim = Claim("dose", doses[0].start, doses[0].end, f"{name} {doses[0]} in total")
        yield verdict(claim, [], [each[:2] for each in given])


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
    of_drugs = [(use.start, use.end) for use in source.drugs if use.status and use.status.value == "allergy"]
    others = (match.span() for match in _SOME_ALLERGY.finditer(source.lower))
    for span in (*of_drugs[:1], *others):
        yield CheckedClaim(Claim("status", *denied.span(), "no allergies"), "contradicted", span)
        return


def _drug_details(use: DrugUse, own: list[DrugUse], stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    yield from _dose(use, own, stated, source)
    for route in use.routes[:1]:
        given_routes = [r for u in own for r in u.routes]
        fits = [r[:2] for r in given_routes if r.value == route.value]
        if not fits and not given_routes and (route.value == "oral" or _runs(stated, route, own, source)):
            continue
        claim = Claim("route", route.start, route.end, f"{use.name} {route.value}")
        yield verdict(claim, fits, [r[:2] for r in given_routes])
    yield from _frequency(use, own, stated, source)
    if use.status and use.status.value != "open" and not SWITCHED.match(stated.lower, use.status.start):
        yield from _status(use, own, stated, source)


def _dose(use: DrugUse, own: Sequence[DrugUse], stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    """The first dose, held against those of a drug; where it has none, against any quantity."""
    for dose in use.doses[:1]:
        given = [q for u in own for q in u.doses]
        written = [q for q in given if q.dimension and q.number == dose.number]
        fits = [q[:2] for q in written or given if _is_same_dose(q, dose)]
        if not fits and given and not any(q.dimension for q in given):
            fits = _without_unit(dose, own, source)
        if not given:
            fits = [q[:2] for q in source.quantities if same(q, dose)] or _without_unit(dose, own, source)
        fits = fits or reckoned(dose, own, stated, source)
        yield verdict(Claim("dose", dose.start, dose.end, f"{use.name} {dose}"), fits, [q[:2] for q in given])


def _is_same_dose(one: Quantity, other: Quantity) -> bool:
    """Whether two doses are equal; one may have no unit."""
    return same(one, other) or ("" in (one.dimension, other.dimension) and one.number == other.number)


def _without_unit(dose: Quantity, own: Sequence[DrugUse], source: Reading) -> list[tuple[int, int]]:
    """Spans of the number of a dose behind its drug in the note: "gabapentin for pain, 300 tds"."""
    return [
        q[:2]
        for q in source.quantities
        if not q.dimension
        and q.number == dose.number
        and any(0 <= q.start - use.end <= _NEAR or _is_later(q, use, source) for use in own)
    ]


def _is_later(dose: Quantity, use: DrugUse, source: Reading) -> bool:
    """Whether a number follows the dose without a unit of a drug in its sentence: "0.25 weekly, now 0.5 weekly"."""
    return bool(use.doses) and use.end < dose.start < source.sentence_at(use.start)[1]


def _runs(stated: Reading, route: Mention, own: Sequence[DrugUse], source: Reading) -> bool:
    """Whether a drug is called an infusion of which the note tells how fast it runs."""
    is_infusion = _INFUSION.match(stated.lower, route.start)
    return bool(is_infusion) and any(_RATE.search(source.lower, *source.sentence_at(use.start)) for use in own)


def _frequency(use: DrugUse, own: Sequence[DrugUse], stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    """The first frequency, held against those of a drug: how often, and whether in the morning or at night."""
    for start, end, times in use.frequencies[:1]:
        given = [f for u in own for f in u.frequencies]
        alike = source.frequencies if start < use.start and not given else given  # "weekly paclitaxel"
        fits = [f[:2] for f in alike if abs(f[2] - times) < 0.02]
        if not fits and times == 1 and any(is_of_a_day(dose, own, stated) for dose in use.doses[:1]):
            continue
        if not given and times == 1 and is_daily_course(own, source):
            continue
        parts = [(_part_of_day(source.lower[f[0] : f[1]]), f[:2]) for f in given]
        if (part := _part_of_day(stated.lower[start:end])) and part not in {other for other, _ in parts}:
            fits = [] if any(other for other, _ in parts) else fits
        claim = Claim("frequency", start, end, f"{use.name} {times:.3g} a day{part and f' ({part})'}")
        yield verdict(claim, fits, [f[:2] for f in given])


def _part_of_day(frequency: str) -> str:
    morning, night = _MORNING.search(frequency), _NIGHT.search(frequency)
    return "" if bool(morning) == bool(night) else "morning" if morning else "night"


def _status(use: DrugUse, own: list[DrugUse], stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    status = use.status.value if use.status else ""
    claim = Claim("status", use.start, use.end, f"{use.name} {status}")
    given = [(u, u.status.value if u.status else "") for u in own]
    accepted = {
        "active": ("active", "", "planned", "to stop"),
        "planned": ("active", "", "planned", "open"),
        "stopped": ("stopped", "to stop"),
        "to stop": ("stopped", "to stop"),
        "denied": ("denied", "stopped", "allergy", "open"),
        "allergy": ("allergy",),
        "tolerated": ("active", "", "planned", "to stop", "open", "stopped", "denied", "tolerated"),
    }
    before = stated.lower[max(0, use.status.start - 16) : use.status.end] if use.status else ""
    if status == "active" and _TAKEN_NOW.search(before):
        accepted["active"] = ("active", "", "to stop")
    if status == "stopped" and _IS_STOPPED.search(before):
        accepted["stopped"] = ("stopped",)
    if use.status and _HELD.match(stated.lower, use.status.start):
        accepted["stopped"] = ("stopped", "denied")
    if status == "active" and _WAS_GIVEN.search(before):
        given = [
            (u, "" if s == "stopped" and u.status and _GIVEN_BEFORE.match(source.lower, u.status.start) else s)
            for u, s in given
        ]
    if status == "allergy":
        given = [
            (u, status if s == "denied" and u.status and _BARRED.match(source.lower, u.status.start) else s)
            for u, s in given
        ]
    for_good = status == "stopped" and _FOR_GOOD.search(stated.lower, *stated.sentence_at(use.start))
    if for_good and (paused := [u for u in own if _PAUSED.search(source.lower, *source.sentence_at(u.start))]):
        yield verdict(claim, [], [(u.start, u.end) for u in paused])
        return
    lasting = bool(_GOES_ON.match(stated.lower, use.status.start)) if use.status else False
    ended = status == "active" and any(s in ("stopped", "denied") for _, s in given)
    fits = [
        (u.start, u.end)
        for u, s in given
        if s in accepted[status] and (s or not ended or (not lasting and (u.doses or u.frequencies)))
    ]
    statuses = [s for _, s in given if s]
    is_advised = lasting and _ADVISED.search(stated.lower, *stated.sentence_at(use.start))
    if lasting and statuses and statuses[-1] in ("stopped", "denied", *(("to stop",) if is_advised else ())):
        fits = []
    if status == "denied" and not fits and all(s == "" for _, s in given) and not any(u.doses for u, _ in given):
        return
    yield verdict(claim, fits, [(u.start, u.end) for u, _ in given])


def check_routes(stated: Reading, source: Reading, covered: set[tuple[int, int]]) -> Iterator[CheckedClaim]:
    """Routes that belong to no drug of the lexicon, but for those at the spans `covered`."""
    own = covered | {route[:2] for use in stated.drugs for route in use.routes}

    def check(route: Mention) -> Iterator[CheckedClaim]:
        fits = [each[:2] for each in source.routes if each.value == route.value]
        against = [each[:2] for each in source.routes]
        yield verdict(Claim("route", route.start, route.end, route.value), fits, against)

    others = [route for route in stated.routes if route[:2] not in own]
    if others and source.routes:
        yield from each_once(others, lambda route: (route.value, route.end - route.start), check)


def check_frequencies(
    stated: Reading, source: Reading, asked: Reading | None, covered: set[tuple[int, int]]
) -> Iterator[CheckedClaim]:
    """Frequencies that belong to no drug of the lexicon, but for those at the spans `covered`."""
    own = covered | {f[:2] for u in stated.drugs for f in u.frequencies}
    others = [frequency for frequency in stated.frequencies if frequency[:2] not in own]
    said = [*source.frequencies, *(f for u in source.drugs for f in u.frequencies)] if others else []
    known: dict[float, list[tuple[int, int]]] = {}
    for start, end, times in others:
        if times not in known:
            known[times] = [f[:2] for f in said if abs(f[2] - times) < 0.02]
            if _NOW.search(stated.lower) or (asked and _NOW.search(asked.lower)):
                earlier = [f for f in known[times] if _EARLIER.search(source.lower, max(0, f[0] - 20), f[0])]
                known[times] = [f for f in known[times] if f not in earlier]
        yield verdict(Claim("frequency", start, end, f"{times:.3g} a day"), known[times], [])
