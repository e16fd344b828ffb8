"""Names, places and ages in the forms of charts, lists and messages: `Novak, A.`, `Dave S /`, `St Mary's`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache

from clinadapt.privacy.capitals import are_in_capitals, may_be_own
from clinadapt.privacy.context import cue_before, full_name_from, is_generic_place, is_word_only
from clinadapt.privacy.features import Token, text_at, token_range
from clinadapt.privacy.mentions import names_by_itself
from clinadapt.privacy.spans import Span
from clinadapt.privacy.word_lists import (
    cities,
    clinical_words,
    cue_classes,
    english_rank,
    eponyms,
    family_names,
    given_names,
    is_clinical,
    large_towns,
    own_list,
)

_PLACES = {
    "schools": "EMPLOYER",
    "homes": "HOSPITAL",
    "practices": "HOSPITAL",
    "units": "HOSPITAL",
    "firms": "EMPLOYER",
}
_BETWEEN = frozenset(["bin", "binti", "binte", "bint", "ibn"])  # a name and that of a father
PARTICLES = frozenset(["de", "da", "di", "du", "van", "von", "der", "den", "la", "le", "el", "al", "dos", "del"])
_SAINT = frozenset(["St", "ST", "Saint", "SAINT"])
_NO_SAINT = frozenset(["wort", "vitus", "jude", "elevation", "depression", "segment", "changes"])
_AFTER_NAME = re.compile(
    r"(?: ?\([^()\n\d]{1,40}\))?(?:, ?(?:rm|room|bed|bay|flat) ?\w{1,4})?(?:, ?| ?\()(9\d|1[0-2]\d)"
    r"(?=[,;.)](?!\d)|$|\n| ?(?i:yo|y/o|yrs?|years)\b| (?i:who|with|lives|from|admitted|known)\b|"
    r" on (?:the |his |her )?\d?\d(?:st|nd|rd|th)\b)"
)
_TITLED = re.compile(r"\b(?:Dr|Mr|Mrs|Ms|Miss|Prof|DR|MR|MRS|MS|MISS|PROF)\.? $")
_SEEN_ON = re.compile(r",? (\d{1,2}[/.]\d{1,2})(?=[.,;)](?!\d)|$|\n)")  # after a name with a title: `Ms Osmond 9/1.`
_IS_OLD = re.compile(
    r",?(?: (?:is|was|turned|turns|has turned|will be|now|just))?(?: (?:now|just|aged?|almost|nearly))? (9\d|1[0-2]\d)"
    r"(?=[,;.)](?!\d)|$|\n| ?(?i:yo|y/o|[mf])\b)"
)
_WRITTEN_BY = re.compile(r"[ \t]{1,4}([A-Z]{2,3}/[A-Za-z]{2,3})(?=[ \t]{0,3}(?:\n|$))")  # after a date: `GB/MT`
_CODE = re.compile(  # after a name: `I. Petrov V 440 812`, `Leonard Ashe 551-204`
    r"(?:,? | ?[(\[])#?"
    r"(?P<id>(?:[A-Z]{1,3}[ -]?)?\d{2,4}[ -]\d{3,4}(?:[ -]\d{2,4})?|(?:[A-Z]{1,2}[ -]?)?\d{6,10}[A-Z]?)"
    r"(?![\w%/-]|[.:,]\d| ?(?:mg|ml|units|days|weeks|hrs|am|pm|kg|cm)\b)"
)
_TYPIST = re.compile(r"(?:,? ?(?:MD|DO|RN|NP|M\.D\.))? ?/ ?([a-z]{2,3})(?![\w/])")  # `Hsu/hh`
_EXTENSION = re.compile(r",? ?(?i:x|ext\.?|extension) ?(\d{1,6})(?!\d)")
_WHO = re.compile(r"(?<![^\W_])([A-Z][a-zà-ÿ]{2,20}) (?:on |at )?\(?$")
_HOUSE = re.compile(r"(?:^|\n|[,;(])[ \t]*((?:[A-Z][\w'’-]{1,20} ?){1,4}), $")
_TOWN = re.compile(
    r"(?:, ?| |\n)([A-Z][a-zà-ÿ]{2,20}(?: [A-Z][a-zà-ÿ]{2,20}){0,2}|[A-Z]{3,20})"
    r"(?:,|,? (?:[A-Z]{2} )?(\d{5,6}(?:-\d{4})?)\b|[.)]?(?:$|\n|(?=\. )))"
)
_KIN = frozenset({"relation", "role"})
_RELATIVES = frozenset(["baby", "infant", "child", "pt", "patient"])  # beside those of the lists


@cache
def chart_words(kind: str) -> frozenset[str]:
    """A list of charts.yaml, in lower case."""
    return frozenset(own_list("charts.yaml")[kind].split())


def form_spans(text: str, words: Sequence[Token]) -> Iterator[Span]:
    """Names and places by their forms; they may overlap."""
    before = ""
    for index, token in enumerate(words):
        role = _role(token.text)
        if role == "capital":
            yield from _by_word_before(words, index, before)
        elif role == "initial":
            yield from _family_and_initial(text, words, index)
        elif role == "head":
            yield from _of_place(words, index)
        elif role == "town":
            yield from _town(text, words, index, before)
        elif role == "saint":
            yield from _saint(words, index)
        elif role == "label" and text_at(words, index + 1) == ":":
            yield from full_name_from(words, index + 2)
        elif role == "between":
            yield from _with_father(text, words, index)
        elif role == "particle":
            yield from _with_particle(words, index)
        before = token.text


@lru_cache(maxsize=30_000)
def _role(word: str) -> str:
    """Which rule a word may begin; empty for none."""
    if not word[0].isalpha():
        return ""
    lower = word.lower()
    if len(word) == 1:
        return "initial" if word.isupper() else ""
    if lower in _BETWEEN:
        return "between"
    if lower in PARTICLES:
        return "particle"
    if word[0].islower():
        return ""
    if word in _SAINT:
        return "saint"
    if lower in ("hospital", "infirmary") or any(lower in chart_words(kind) for kind in (*_PLACES, "short_schools")):
        return "head"
    if lower in chart_words("labels"):
        return "label"
    return "town" if lower in cities() else "capital"


def _of_place(words: Sequence[Token], index: int) -> Iterator[Span]:
    """What the last word of a place's name tells, as of a school or a home."""
    lower = words[index].text.lower()
    if lower in ("hospital", "infirmary"):
        yield from _for_whom(words, index)
    elif lower in chart_words("short_schools"):
        yield from _short_school(words, index)
    else:
        yield from _place_to(words, index, next(kind for name, kind in _PLACES.items() if lower in chart_words(name)))


def _town(text: str, words: Sequence[Token], index: int, before: str) -> Iterator[Span]:
    """`Chicago 60647`, and a town after `in`."""
    token = words[index]
    if re.fullmatch(r"\d{5,6}", text_at(words, index + 1)) and text[token.end] in " ,":
        yield Span(token.start, token.end, "CITY")
        yield Span(*words[index + 1][:2], "ZIP")
    else:
        yield from _by_word_before(words, index, before)


def _by_word_before(words: Sequence[Token], index: int, before: str) -> Iterator[Span]:
    """What the word before one with a capital tells: a town after `in`, a relative."""
    token = words[index]
    if before in ("in", "from", "near", "IN", "FROM", "NEAR", "AT"):
        in_capitals = (
            token.text.isupper() and token.text.lower() in cities() and english_rank(token.text.lower()) > 20_000
        )
        if in_capitals or (before.islower() and _is_unknown_place(token.text)):
            yield Span(token.start, token.end, "CITY")
    elif before == "at" and _is_unknown_place(token.text):
        yield Span(token.start, token.end, "HOSPITAL")
    elif before == "(":
        if _is_relative(words, index - 2) and _may_be_given(token.text.lower()):
            yield Span(token.start, token.end, "NAME")
    elif before.lower() in chart_words("relatives") and names_by_itself(token.text.lower()):
        yield Span(token.start, token.end, "NAME")


def _is_relative(words: Sequence[Token], index: int) -> bool:
    lower = text_at(words, index).lower()
    return lower in _RELATIVES or is_relation(lower)


def is_relation(lower: str) -> bool:
    """Whether a word tells how somebody is related to another: `mother`, `gf`."""
    return lower in chart_words("relatives") or not _KIN.isdisjoint(cue_classes().get(lower, ()))


def may_be_called(lower: str) -> bool:
    """Whether a lower-case word is a given name, or no word and no town."""
    return lower in given_names() or (names_by_itself(lower) and lower not in large_towns())


def _may_be_given(lower: str) -> bool:
    return lower in given_names() or names_by_itself(lower) or (english_rank(lower) > 12_000 and len(lower) > 2)


def _is_unknown_place(word: str) -> bool:
    """Whether a word after `in` is a town, or in no list of frequent words."""
    lower = word.lower()
    if len(word) < 4 or not word[1:].islower() or lower in eponyms():
        return False
    rare = english_rank(lower) > 20_000 and not is_generic_place(lower)
    return lower in cities() or names_by_itself(lower) or rare


def _family_and_initial(text: str, words: Sequence[Token], index: int) -> Iterator[Span]:
    """`Ruiz, A.`: a family name, and an initial after a comma."""
    if index < 2 or words[index - 1].text != "," or not _ends_a_name(words, index + 1):
        return
    family = words[index - 2]
    lower = family.text.lower()
    if not family.text[0].isupper() or len(lower) < 3 or text[family.end : words[index].start] != ", ":
        return
    known = lower in family_names() and english_rank(lower) > 3000 and lower not in clinical_words() | eponyms()
    if known or names_by_itself(lower):
        yield Span(family.start, words[index + (text_at(words, index + 1) == ".")].end, "NAME")


def _ends_a_name(words: Sequence[Token], index: int) -> bool:
    """Whether a point, the end of a line, a bracket, a number or a label of another field stands at an index."""
    word = text_at(words, index)
    return (
        word in (".", "", "(", "|", ";")
        or word[0] == "\n"
        or word[0].isdigit()
        or "field" in cue_classes().get(word.lower(), ())
    )


def _saint(words: Sequence[Token], index: int) -> Iterator[Span]:
    """`St. Brendan's Regional`, `St Mary's`: a hospital, by the saint in the genitive."""
    at = index + 1 + (text_at(words, index + 1) == ".")
    saint = text_at(words, at)
    genitive = text_at(words, at + 1) in ("'", "’") and text_at(words, at + 2) in ("s", "S")
    others = {saint.lower(), text_at(words, at + 3).lower()}
    if len(saint) < 3 or not saint[0].isupper() or not genitive or not others.isdisjoint(_NO_SAINT):
        return
    last = at + 2
    while "hospital" in cue_classes().get(text_at(words, last + 1).lower(), ()) and words[last + 1].text[0].isupper():
        last += 1
    yield Span(words[index].start, words[last].end, "HOSPITAL")


def _with_father(text: str, words: Sequence[Token], index: int) -> Iterator[Span]:
    """`Abdul-Rahman bin Yusof`."""
    if not text_at(words, index - 1)[:1].isupper() or not text_at(words, index + 1)[:1].isupper():
        return
    first = index - 1
    while first > 1 and words[first - 1].text == "-" and words[first - 2].text[0].isupper():
        first -= 2
    if text[words[index - 1].end : words[index + 1].start].strip() == words[index].text:
        yield Span(words[first].start, words[index + 1].end, "NAME")


def _with_particle(words: Sequence[Token], index: int) -> Iterator[Span]:
    """`de Souza` after a title, a label or a relation, and `Abd al-Rahman`."""
    last = index
    if words[index].text in ("al", "el") and text_at(words, index + 1) == "-" and index:
        before, after = words[index - 1], text_at(words, index + 2)
        if before.text[0].isupper() and after[:1].isupper() and before.text[0].isalpha():
            yield Span(before.start, words[index + 2].end, "NAME")
    while text_at(words, last + 1).lower() in PARTICLES and last - index < 3:
        last += 1
    family = text_at(words, last + 1)
    told = cue_before(words, index) or text_at(words, index - 1).lower() in chart_words("titles")
    if family[:1].isupper() and told and not is_word_only(family.lower()):
        yield Span(words[index].start, words[last + 1].end, "NAME")


def _place_to(words: Sequence[Token], head: int, kind: str) -> Iterator[Span]:
    """The capitalised words before a school or a home, one of which is its own."""
    first = _first_of_place(words, head)
    first += words[first].text in ("Attends", "Attended", "Visited", "Works", "Student", "Pupil")
    own = [token.text.lower() for token in words[first:head] if len(token.text) > 1 and token.text[0].isalpha()]
    own = [word for word in own if word not in chart_words("plain_places")]
    last = words[head].text.lower()
    if last in chart_words("practices") or last in chart_words("units"):  # `Interventional Cardiology` is none
        rare = 15_000 if last in chart_words("units") else 100_000
        own = [word for word in own if _may_name_a_place(word, rare)]
    if are_in_capitals(words, first, head + 1) and not any(map(may_be_own, own)):
        return
    if own and not all(is_generic_place(word) for word in own):
        yield Span(words[first].start, words[head].end, kind)


def _short_school(words: Sequence[Token], head: int) -> Iterator[Span]:
    """`Hannah More Primary`, where no word follows that it might be an adjective of."""
    after = text_at(words, head + 1)
    if after[:1].isalpha() and after not in ("in", "on", "since", "from", "at", "and", "with"):
        return
    first = _first_of_place(words, head)
    own = [token.text.lower() for token in words[first:head] if len(token.text) > 1 and token.text[0].isalpha()]
    if any(word in given_names() or word in cities() or names_by_itself(word) for word in own):
        yield Span(words[first].start, words[head].end, "EMPLOYER")


def _may_name_a_place(word: str, rare: int) -> bool:
    """Whether a lower-case word is a town or a name, or one of English that is rarer than a rank."""
    if word in clinical_words():
        return False
    named = word in cities() or word in family_names() or names_by_itself(word)
    return named or (english_rank(word) > rare and not is_clinical(word))


def _for_whom(words: Sequence[Token], head: int) -> Iterator[Span]:
    """`Royal Hospital for Sick Children`: a hospital by what it is for."""
    last, first = head + 1, _first_of_place(words, head)
    while last - head < 4 and text_at(words, last + 1)[:1].isupper():
        last += 1
    if text_at(words, head + 1).lower() in ("for", "of") and last > head + 1 and first < head:
        yield Span(words[first].start, words[last].end, "HOSPITAL")


def _first_of_place(words: Sequence[Token], head: int) -> int:
    """Index of the first of the words that belong to the name of a place which ends at `head`."""
    first = head
    while first > 0 and head - first < 6 and _belongs(words, first - 1):
        first -= 1
    while first < head and not words[first].text[0].isalpha():
        first += 1
    return first


def _belongs(words: Sequence[Token], index: int) -> bool:
    """Whether a word before "School" may belong to its name: a capital that is no word as THE or FROM, or a sign that
    ends no sentence."""
    word = words[index].text
    if word == ".":
        return len(text_at(words, index - 1)) < 3 or text_at(words, index - 1) == "Mt"
    return word in ("'", "’", "s", "&", "-") or (word[0].isupper() and english_rank(word.lower()) >= 60)


def name_forms(text: str, words: Sequence[Token], spans: Iterable[Span]) -> Iterator[Span]:
    """What stands beside what was found: after a name the initial of a family name, or an age over 89; after a street
    a town and its code."""
    starts = {token.start: index for index, token in enumerate(words)}
    for span in spans:
        yield from _beside(text, span)
        town = _TOWN.match(text, span.end) if span.type in ("STREET", "OTHERID") else None
        if town and (town[2] or span.type == "STREET") and _may_be_town(town[1]):
            yield Span(*town.span(1), "CITY")
            if town[2]:
                yield Span(*town.span(2), "ZIP")
        elif span.type == "DATE":
            if initials := _WRITTEN_BY.match(text, span.end):
                yield Span(*initials.span(1), "INITIALS")
        elif span.type == "NAME":
            if typist := _TYPIST.match(text, span.end):
                yield Span(*typist.span(1), "INITIALS")
            if code := _CODE.match(text, span.end):
                yield Span(*code.span("id"), "MRN")
            yield from _other_part(text, words, span, starts)
            if (day := _SEEN_ON.match(text, span.end)) and _TITLED.search(text, max(0, span.start - 6), span.start):
                yield Span(*day.span(1), "DATE")
            if age := _AFTER_NAME.match(text, span.end) or _IS_OLD.match(text, span.end):
                yield Span(*age.span(1), "AGE90")
            if text[span.end : span.end + 1] == " " and (index := starts.get(span.end + 1)):
                yield from _initial_after(text, words, span, index)


def _other_part(text: str, words: Sequence[Token], span: Span, starts: Mapping[int, int]) -> Iterator[Span]:
    """The other part of `VANDERMEER, JOOST` where only one was found: before a comma or after it."""
    if (first := starts.get(span.start)) is None:
        return
    if first > 1 and words[first - 1].text == "," and text[words[first - 1].end : span.start] in ("", " "):
        family = words[first - 2]
        begins = first < 3 or words[first - 3].text[0] in "\n.:;"
        if begins and family.text[0].isupper() and names_by_itself(family.text.lower()):
            yield Span(family.start, span.end, "NAME")
    after = token_range(words, span)[1]
    if text_at(words, after) == "," and text_at(words, after + 1).isupper() and words[after - 1].text.isupper():
        given = words[after + 1]
        if (
            len(given.text) > 2
            and may_be_called(given.text.lower())
            and text[words[after].end : given.start] in ("", " ")
        ):
            yield Span(span.start, given.end, "NAME")


def _beside(text: str, span: Span) -> Iterator[Span]:
    """The extension of a telephone and who answers it, and the name of a house before its street."""
    who = _WHO.search(text, max(0, span.start - 24), span.start) if span.type == "PHONE" else None
    if who and may_be_called(who[1].lower()):
        yield Span(*who.span(1), "NAME")
    if span.type == "PHONE" and (extension := _EXTENSION.match(text, span.end)):
        yield Span(*extension.span(1), "PHONE")
    elif span.type == "STREET" and (house := _HOUSE.search(text, max(0, span.start - 60), span.start)):
        yield Span(*house.span(1), "STREET")


def _may_be_town(name: str) -> bool:
    lower = name.lower()
    frequent = 20_000 if name.isupper() else 300
    return lower in cities() or (lower not in clinical_words() and english_rank(lower) > frequent)


def _initial_after(text: str, words: Sequence[Token], span: Span, index: int) -> Iterator[Span]:
    """`Dave S /`, `Yolanda R.`: a name with the initial at an index, which ends a part of a list or a line."""
    letter, after = words[index].text, text_at(words, index + 1)
    if (
        len(letter) == 2
        and letter.isupper()
        and not is_clinical(letter.lower())
        and english_rank(letter.lower()) > 3000
    ):
        known = letter.lower() in cue_classes() or letter.lower() in chart_words("no_names")
        if not known and (after in ("", "/", ",", ";", ")") or re.fullmatch(r"\n+|[MF]|\d{2}", after)):
            yield Span(span.start, words[index].end, "NAME")
    ends = after in ("", ".", "/", ",", ";", ")", "|") or after[0] == "\n"
    is_name = text[span.start : span.end].split()[-1][0].isupper()
    if len(letter) == 1 and letter.isupper() and letter != "I" and ends and is_name:
        yield Span(span.start, words[index + (after == ".")].end, "NAME")
