"""Names and places in the forms of letters and handovers, as rules: an address before its code, `ward Lister`, `Rm 4
Osei N`, `Nurse Hope`, `Aoife "Effy" Brady`, `Jo Ye-rin`, a town of several words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from clinadapt.privacy.chart_forms import chart_words, is_relation
from clinadapt.privacy.context import is_generic_place, may_be_name
from clinadapt.privacy.features import Token, text_at
from clinadapt.privacy.mentions import names_by_itself
from clinadapt.privacy.spans import Span
from clinadapt.privacy.word_lists import (
    clinical_words,
    cue_classes,
    english_rank,
    eponyms,
    family_names,
    given_names,
    is_clinical,
    longer_towns,
)

_BEDS = frozenset(["rm", "room", "bed", "bay", "cubicle", "chair", "cot", "side"])
_ROLES = frozenset(["rn", "lpn", "cna", "hca", "odp", "sn", "rmn", "hv", "cns", "sw", "ot", "mw", "cpn", "ccn", "sr"])
_GERMAN_ROLES = ("OA", "OÄ", "Oberarzt", "Oberärztin", "Chefarzt", "Chefärztin", "Assistenzarzt", "Stationsarzt")
_NEWBORN = frozenset(["baby", "infant", "twin", "newborn"])
_MODAL = frozenset(["will", "may", "can", "mark", "rob", "sue", "bill", "chase", "grant"])
_IN_TOWNS = frozenset(["upon", "on", "under", "le", "by", "super", "sub", "next"])
_STATES = frozenset(["new york", "british columbia", "orange county", "prince edward island", "new brunswick"])
_OPEN, _CLOSE = ("(", '"', "“"), (")", '"', "”")
_SYLLABLE = re.compile(
    r"(?:ch|sh|kk|tt|pp|ss|jj|[bcdghjkmnprsty])?[yw]?(?:ae|eo|eu|ee|oo|oe|ui|ou|[aeiou])h?(?:ng|ck|[nmlkptrg])?"
)
_PART = r"(?:\d{1,5}[A-Za-z]?(?:[-/]\d{1,4})?|[A-ZÀ-Þ][\w'’.-]{0,20})"
_JOINED = r"(?:y|yr|the|on|of|upon|in|le|de|by|under|am|an|der|im|na|an|bei|sur)"
_SEGMENT = re.compile(rf"{_PART}(?:[ -](?:{_PART}|{_JOINED})){{0,5}}")
_TOWN = re.compile(
    r"[A-ZÀ-Þ][\w'’.]{1,20}(?:[ -](?:[A-ZÀ-Þ][\w'’.]{1,20}|(?:upon|on|under|in|le|the|by|of|y|yr)(?=[ -]))){0,4}$"
)
_OTHER_NAME = re.compile(r" ?/ ?(?:Dr\.? |Mr\.? |Ms\.? )?([A-Z]\.? ?){0,2}([A-ZÀ-Þ][\w'’-]{2,20})(?![\w'’-])")
_PRACTICE = re.compile(
    r", ((?P<own>(?:[A-Z][\w'’-]{1,20} ){1,3})(?:Surgery|Practice|(?:Medical|Health) (?:Centre|Center|Ctr)))\b"
)
_GP = re.compile(r"\b(?:GP|PCP|gp)[ :,(]{1,3}(?:Dr\.? )?$")
_SITE = re.compile(r", ([A-Z][a-zà-ÿ'’-]{3,20}(?: [A-Z][a-zà-ÿ'’-]{2,20}){0,2})(?=[.,;)\n]|$)")
_BOUND = re.compile(r"[\n:;(]|\. (?=[A-Z])")


def letter_spans(text: str, words: Sequence[Token]) -> Iterator[Span]:
    """Names and places by their forms; they may overlap."""
    for index, token in enumerate(words):
        kind = _kind(token.text)
        if not kind:
            continue
        if kind == "ward":
            yield from _ward(text, words, index)
        elif kind == "bed":
            yield from _in_bed(text, words, index)
        elif kind == "who":
            yield from _who(text, words, index)
        elif kind == "given":
            yield from _with_nickname(text, words, index)
        elif kind == "hyphen":
            yield from _of_syllables(text, words, index)
            yield from _joined_town(text, words, index)
        elif kind == "town":
            yield from _with_nickname(text, words, index)
            yield from _longer_town(words, index, longer_towns()[token.text.lower()])


@lru_cache(maxsize=30_000)
def _kind(word: str) -> str:
    """Which rule a word may begin; empty for none."""
    if word == "-":
        return "hyphen"
    if not word[0].isalpha():
        return ""
    lower = word.lower()
    if lower in ("ward", "wards"):
        return "ward"
    if lower in _BEDS:
        return "bed"
    titled = not {"title", "role"}.isdisjoint(cue_classes().get(lower, ()))
    if (
        lower in _NEWBORN
        or is_relation(lower)
        or titled
        or lower in chart_words("titles")
        or lower in _ROLES
        or word in _GERMAN_ROLES
    ):
        return "who"
    if word[0].isupper() and lower in longer_towns():
        return "town"
    return "given" if word.istitle() and (lower in given_names() or english_rank(lower) > 60_000) else ""


def _is_beside(text: str, words: Sequence[Token], index: int) -> bool:
    """Whether one blank stands between a word and the next."""
    return index + 1 < len(words) and text[words[index].end : words[index + 1].start] == " "


def _is_own(lower: str) -> bool:
    """Whether a lower-case word is a name or an eponym, or in no list of frequent words."""
    if lower in clinical_words() or lower in cue_classes():
        return False
    listed = lower in given_names() or lower in family_names() or lower in eponyms()
    return (listed and english_rank(lower) > 2000) or names_by_itself(lower)


def _ward(text: str, words: Sequence[Token], index: int) -> Iterator[Span]:
    """`ward Lister`, `ward (Larkin)`."""
    at = index + 1 + (text_at(words, index + 1) in ("(", ":"))
    name = text_at(words, at)
    if len(name) < 3 or not name[0].isupper() or "\n" in text[words[index].end : words[at].start]:
        return
    if (name[1:].islower() or words[index].text.isupper()) and _is_own(name.lower()):
        yield Span(words[at].start, words[at].end, "HOSPITAL")


def _in_bed(text: str, words: Sequence[Token], index: int) -> Iterator[Span]:
    """`Rm 4 Osei N`, `bed 2: HAILU Saba`: a name after the number of a bed, with an initial."""
    at = index + 1
    while at - index < 5 and (text_at(words, at)[:1].isdigit() or text_at(words, at) in (":", "-", ".", ")", "–")):
        at += 1
    if at == index + 1 or not any(token.text[0].isdigit() for token in words[index + 1 : at]):
        return
    name = text_at(words, at)
    if len(name) < 3 or not name[0].isupper() or not _is_own(name.lower()):
        return
    last = at
    initial = text_at(words, at + 1)
    if _is_beside(text, words, at) and re.fullmatch(r"[A-Z]", initial) and not text_at(words, at + 2)[:1].isdigit():
        last = at + 1
    yield Span(words[at].start, words[last].end, "NAME")


def _who(text: str, words: Sequence[Token], index: int) -> Iterator[Span]:
    """`Nurse Hope`, `daughter Grace`, `Chaperone Rose.`: a given name that is a word too, after what somebody is."""
    at = index + 1
    name = text_at(words, at)
    lower = name.lower()
    if not name.istitle() or len(name) < 3 or not _is_beside(text, words, index):
        return
    if words[index].text in _GERMAN_ROLES:
        if names_by_itself(lower):
            yield Span(words[at].start, words[at].end, "NAME")
        return
    if lower not in given_names():
        return
    if is_clinical(lower) or lower in cue_classes():
        return
    after = text_at(words, at + 1)
    if lower in _MODAL and after.islower():
        return
    beside = _is_beside(text, words, at) and after.istitle() and len(after) > 2
    last = at + 1 if beside and (may_be_name(after) or after.lower() in family_names()) else at
    if last > at and (after.lower() in clinical_words() or after.lower() in cue_classes()):
        last = at
    yield Span(words[at].start, words[last].end, "NAME")


def _with_nickname(text: str, words: Sequence[Token], index: int) -> Iterator[Span]:
    """`Aoife (Effy) Brady`, `Ignatius "Iggy" Farrell`."""
    if text_at(words, index + 1) not in _OPEN or text_at(words, index + 3) not in _CLOSE:
        return
    nickname, family = text_at(words, index + 2), text_at(words, index + 4)
    if not nickname.istitle() or not family[:1].isupper() or len(family) < 2 or not (1 < len(nickname) < 16):
        return
    if is_clinical(nickname.lower()) or family.lower() in clinical_words() or family.lower() in cue_classes():
        return
    last = index + 4
    while last - index < 8 and text_at(words, last + 1) in ("-", "'", "’") and text_at(words, last + 2)[:1].isupper():
        last += 2
    if text[words[index].end : words[index + 1].start] == " ":
        yield Span(words[index].start, words[last].end, "NAME")


def _of_syllables(text: str, words: Sequence[Token], hyphen: int) -> Iterator[Span]:
    """`Jo Ye-rin`: a Korean name in Latin letters."""
    family, first, second = text_at(words, hyphen - 2), text_at(words, hyphen - 1), text_at(words, hyphen + 1)
    if not (first.istitle() and family.istitle() and second.isalpha()) or not second[1:].islower():
        return
    if text[words[hyphen - 1].end : words[hyphen + 1].start] != "-" or not _is_beside(text, words, hyphen - 2):
        return
    syllables = all(_SYLLABLE.fullmatch(part.lower()) for part in (family, first, second))
    if syllables and english_rank(family.lower()) > 200 and text_at(words, hyphen + 2) != "-":
        yield Span(words[hyphen - 2].start, words[hyphen + 1].end, "NAME")


def _longer_town(words: Sequence[Token], index: int, towns: Iterable[tuple[str, ...]]) -> Iterator[Span]:
    """`Baton Rouge`, `Newcastle-under-Lyme`: a town of several words, the first and the last with capitals."""
    around = [token for token in words[index : index + 10] if token.text != "-"]
    for town in towns:
        found = around[: len(town)]
        if tuple(token.text.lower() for token in found) != town or not found[-1].text[0].isupper():
            continue
        frequent = 2000 if found[0].text.isupper() else 300
        if not (" ".join(town) in _STATES or all(is_clinical(word) or english_rank(word) < frequent for word in town)):
            yield Span(found[0].start, found[-1].end, "CITY")
            return


def _joined_town(text: str, words: Sequence[Token], hyphen: int) -> Iterator[Span]:
    """`Stoke-on-Trent`, `Stow-on-the-Wold`."""
    first, last = hyphen - 1, hyphen + 3
    if text_at(words, hyphen + 1) not in _IN_TOWNS or first < 0 or last >= len(words):
        return
    if words[last].text == "the" and last + 2 < len(words):
        last += 2
    joined = re.fullmatch(r"[\w-]+", text[words[first].start : words[last].end])
    if joined and words[first].text.istitle() and words[last].text.istitle():
        yield Span(words[first].start, words[last].end, "CITY")


def before_codes(text: str, spans: Iterable[Span]) -> Iterator[Span]:
    """The town before a postal code, and the parts of the address before it."""
    for span in spans:
        if span.type != "ZIP":
            continue
        start = max(0, span.start - 110)
        line = text[start : span.start].rstrip(" ,\n")
        bounds = [match.end() for match in _BOUND.finditer(line)]
        begin = bounds[-1] if bounds else 0
        *parts, last = line[begin:].split(",")
        place = start + len(line) - len(last)
        town = _TOWN.search(last)
        if town is None or is_generic_place(town[0].lower()) or len(town[0]) < 3:
            continue
        yield Span(place + town.start(), place + town.end(), "CITY")
        for part in reversed(parts):
            place -= len(part) + 1
            own = part.strip()
            if not _SEGMENT.fullmatch(own) or all(is_clinical(word.lower()) for word in own.split()):
                break
            yield Span(place + part.index(own), place + part.index(own) + len(own), "STREET")


def after_names(text: str, spans: Iterable[Span]) -> Iterator[Span]:
    """After names another one behind a slash, and the practice of a GP: `Askew/N Velnadal`, `GP Dr Osei, Lockside`."""
    for span in spans:
        if span.type == "NAME":
            yield from _after_name(text, span)


def _after_name(text: str, span: Span) -> Iterator[Span]:
    if other := _OTHER_NAME.match(text, span.end):
        lower = other[2].lower()
        known = lower in clinical_words() or lower in cue_classes() or lower in chart_words("no_names")
        if not known and (other[1] or names_by_itself(lower)):
            yield Span(other.start(1) if other[1] else other.start(2), other.end(2), "NAME")
    practice = _PRACTICE.match(text, span.end)
    if practice and not all(map(_is_of_departments, practice["own"].lower().split())):
        yield Span(*practice.span(1), "HOSPITAL")
    site = _SITE.match(text, span.end) if _GP.search(text, max(0, span.start - 12), span.start) else None
    if site and not any(map(_is_of_departments, site[1].lower().split())):
        yield Span(*site.span(1), "HOSPITAL")


def _is_of_departments(lower: str) -> bool:
    """Whether a word stands in the names of departments: `Vascular Surgery`."""
    return is_clinical(lower) or lower in cue_classes() or lower in chart_words("plain_places")
