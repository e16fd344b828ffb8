"""Drugs that a question asks for by their class or purpose: "lisinopril" to "Which statin is recommended?"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import NamedTuple

from clinadapt.clinical.claims.asked_things import is_bare, places
from clinadapt.clinical.claims.checked import CheckedClaim
from clinadapt.clinical.claims.drug_uses import DrugUse
from clinadapt.clinical.claims.kinds import Claim
from clinadapt.clinical.claims.quantities import same
from clinadapt.clinical.claims.reading import Reading, read
from clinadapt.clinical.claims.words import stem
from clinadapt.clinical.lexicon import load_lexicon

# "Which oral antibiotic", "What is her new statin?"; not "What is the statin for?", "Which drug replaced statins?"
_ASKED = (
    r"\W*(?:what|which)(?: (?!(?:is|was|are|were|do|does|did|has|have|had|will|should|to|for|from|with|without|than|"
    r"besides?|except|beyond|before|after|against|replac\w+|followed)\b)[a-z-]+){{0,2}} (?:{0})"
    r"(?!-|\w| (?:allerg|dose|level|reaction|side|resist|sensitiv|symptom|test|score|plan|clinic))|"
    r"\W*(?:what|which) (?:is|was|are|were) (?:the |his |her |their )(?:[a-z-]+ )?(?:{0})"
    r"(?: (?:used|given|prescribed|started|recommended|taken|he|she)[^?]*)?\?"
)
_ASKED_FOR = (
    r"\W*(?:what|which)\b[^?]*\b(?:given|giv(?:e|ing)|us(?:e|es|ed|ing)|tak(?:e|es|ing|en)|prescri\w+|start(?:ed)?|"
    r"medic\w+|drugs?|tablets?|infusions?|receiv\w+|on|had)\b[^?]*\bfor (?:the |his |her |their |any )?(?:{0})\b"
)
_FOR = re.compile(
    r"\W*(?:what|which)\b[^?]*\b(?:given|us(?:e|es|ed|ing)|tak(?:e|es|ing)|prescri\w+|started|receiv\w+|on|medic\w+|"
    r"drugs?|tablets?)\b[^?]*?\bfor (?P<of>[^?,;]+)"
)
_GIVEN_FOR = re.compile(r"[^.;,\n]{0,40}?\b(?:for|against) (?:the |his |her |their |any )?(?:[a-z]+ )?\Z")
_LONGEST = 300  # characters of a question that may ask for drugs
_JOINS = re.compile(r" ?[/+-] ?")
_UNSAID = frozenset(
    map(
        stem,
        ["day", "week", "tablet", "once", "dose", "used", "following", "given", "prescribed", "medication", "sc", "po"],
    )
)


class _Group(NamedTuple):
    """Drugs of a class or a purpose: how a question asks for them, their names, how a note may call them and the names
    of those that may be meant, too."""

    name: str
    asked: re.Pattern[str]
    drugs: re.Pattern[str]
    called: re.Pattern[str]
    akin: re.Pattern[str]


@cache
def _groups() -> list[_Group]:
    groups = []
    for name, entry in load_lexicon("drug_classes.yaml").items():
        akin = "|".join(filter(None, (entry.get("also"), entry.get("akin")))) or "(?!)"
        groups.append(_group(name, [_ASKED.format(entry["named"])], entry["drugs"], [entry["named"]], akin))
    for name, entry in load_lexicon("drug_purposes.yaml").items():
        by_name = [entry["asked"]] if "asked" in entry else []
        asked = [_ASKED_FOR.format(entry["for"]), *map(_ASKED.format, by_name)]
        groups.append(_group(name, asked, entry["drugs"], [entry["for"], *by_name], "(?!)"))
    return groups


def _group(name: str, asked: list[str], drugs: str, called: list[str], akin: str) -> _Group:
    return _Group(name, *(re.compile(p) for p in ("|".join(asked), drugs, "|".join(called), akin)))


@lru_cache(maxsize=256)
def _asked_groups(question: str) -> list[_Group]:
    """The groups of drugs that a question, in lower case, asks for; with those that it names besides: "for his diabetes
    and blood pressure"."""
    groups = [group for group in _groups() if group.asked.match(question)]
    return groups + [group for group in _groups() if groups and group not in groups and group.called.search(question)]


def check_asked_drugs(stated: Reading, source: Reading, asked: Reading) -> Iterator[CheckedClaim]:
    """The drugs of a bare answer, which are to be of the class that is asked for; or its dose."""
    question = asked.lower[:_LONGEST]
    groups = _asked_groups(question)
    purpose = _FOR.match(question) if not groups and stated.drugs else None
    if not (groups or purpose) or source.turns or any(stated.context.negated) or not _is_bare(stated, asked):
        return
    if purpose:
        yield from _for_another(purpose["of"], stated, source)
        return
    own = [use for use in source.drugs if _fits(use.name, groups)]
    if not stated.drugs:
        yield from _dose(groups, own, stated, source)
        return
    for uses in _together(stated):
        names = {use.name for use in uses}
        if any(_fits(n, groups) or not _is_known(n) or _is_called(n, groups, source) for n in names):
            continue
        spans = [_span(each) for each in own or source.drugs if own or each.name in names]
        if spans:
            claim = Claim("drug", uses[0].start, uses[-1].end, f"{uses[0].name} as {groups[0].name}")
            yield CheckedClaim(claim, "contradicted", spans[0])


def _for_another(purpose: str, stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    """The first drug of a bare answer, where the note gives others, "for" what is asked, and speaks of it apart from
    this."""
    around = places(read(purpose), source)
    given = [
        use
        for use in source.drugs
        for start, _ in around
        if use.end < start and _GIVEN_FOR.fullmatch(source.lower, use.end, start)
    ]
    names = {use.name for use in stated.drugs}
    if not given or any(use.name in names for use in given):
        return
    sentences = {source.sentence_at(start) for start, _ in around}
    own = [use for use in source.drugs if use.name in names]
    if own and not any(source.sentence_at(use.start) in sentences for use in own):
        use = stated.drugs[0]
        claim = Claim("drug", use.start, use.end, f"{use.name} as asked")
        yield CheckedClaim(claim, "contradicted", _span(given[0]))


def _dose(groups: list[_Group], own: list[DrugUse], stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    """A bare dose that the note has of other drugs alone, where it has one of the drugs that are asked for."""
    given = [dose for use in own for dose in use.doses]
    for dose in stated.quantities[:1] if given else ():
        of_others = [
            each
            for use in source.drugs
            if use not in own and not _is_called(use.name, groups, source)
            for each in use.doses
            if same(each, dose) and each.dimension == dose.dimension
        ]
        if dose.dimension and of_others and not any(same(each, dose) for each in given):
            claim = Claim("dose", dose.start, dose.end, f"{groups[0].name} {dose}")
            yield CheckedClaim(claim, "contradicted", given[0][:2])


def _fits(name: str, groups: list[_Group]) -> bool:
    return any(group.drugs.search(name) or group.akin.search(name) for group in groups)


def _is_known(name: str) -> bool:
    """Whether a drug is of any class or purpose, so that it is known to be of no other."""
    return any(group.drugs.search(name) for group in _groups())


def _is_called(name: str, groups: list[_Group], source: Reading) -> bool:
    """Whether the note has a drug in a sentence with the class or purpose that is asked for, and none of that there."""
    for use in source.drugs:
        span = source.sentence_at(use.start)
        if use.name == name and any(group.called.search(source.lower, *span) for group in groups):
            inside = [each.name for each in source.drugs if span[0] <= each.start < span[1]]
            if not any(_fits(each, groups) for each in inside):
                return True
    return False


def _together(stated: Reading) -> Iterator[list[DrugUse]]:
    """The drugs of an answer; those of one name or joined by a slash together."""
    uses: list[DrugUse] = []
    for use in stated.drugs:
        if uses and not (use.start <= uses[-1].start or _JOINS.fullmatch(stated.lower, uses[-1].end, use.start)):
            yield uses
            uses = []
        uses.append(use)
    if uses:
        yield uses


def _span(use: DrugUse) -> tuple[int, int]:
    return use.start, use.end


def _is_bare(stated: Reading, asked: Reading) -> bool:
    """Whether an answer says hardly more than drugs with their doses, routes and frequencies."""
    parts = [*map(_span, stated.drugs), *(q[:2] for q in stated.quantities), *(f[:2] for f in stated.frequencies)]
    parts += [route[:2] for route in stated.routes]
    return is_bare(stated, asked, parts, _UNSAID)
