"""Identifiers in the forms of shorthand, lists and messages, as rules: days as `30/6`, streets without a number, names
beside relations and labels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache

from clinadapt.privacy.chart_forms import chart_words, is_relation, may_be_called
from clinadapt.privacy.context import is_generic_place, may_be_name
from clinadapt.privacy.features import Token, text_at
from clinadapt.privacy.medical_names import names_a_thing
from clinadapt.privacy.mentions import names_by_itself
from clinadapt.privacy.patterns import is_street_word
from clinadapt.privacy.spans import Span
from clinadapt.privacy.word_lists import (
    cities,
    clinical_words,
    cue_classes,
    employers,
    english_rank,
    eponyms,
    family_names,
    given_names,
)

_STREETS = frozenset(["street", "st", "avenue", "ave", "road", "rd", "lane", "ln", "boulevard", "blvd", "crescent",
                      "terrace", "parkway", "pkwy", "highway", "close", "villas", "cottages", "mews", "gardens",
                      "grove"])  # fmt: skip
_PATIENT = frozenset(["pt", "patient", "client", "donor", "rec", "recipient", "resident", "employee", "seen", "saw"])
_FROM = frozenset(["in", "at", "near", "from", "to"])
_LABELS = frozenset(["label", "person_label", "name_label"])
_ON = frozenset(["on", "off", "at", "near", "from", "in", "along", "under", "onto"])
_NO_STREET = frozenset(["the", "a", "this", "his", "her", "my", "our", "main", "side"])
_SCALES = frozenset(["score", "scale", "pain", "strength", "power", "vision", "va", "pc", "ps", "peep", "cpap", "bipap",
                     "ipap", "grade", "gcs", "mmse", "moca", "pressure", "bp", "od", "os", "ou", "ratio", "visit",
                     "session", "cycle", "week"])  # fmt: skip
_UNITS = frozenset(["h", "hr", "hrs", "hourly", "mg", "ml", "mcg", "mm", "cm", "of", "x", "g", "units", "tabs",
                    "murmur", "days", "weeks", "months"])  # fmt: skip
_DATED = frozenset(
    ["elos", "edd", "edc", "tci", "lmp", "doa", "doi", "dos", "rtc", "wr", "picc", "appt", "mri", "ct", "echo"]
)
_AGED = frozenset(["y", "yo", "yr", "yrs", "m", "f", "mo", "mth", "mths", "years"])
_BORN = frozenset(["dob", "born", "geb", "b"])
_WORKS = frozenset(["works", "worked", "working", "nursery", "school", "sch", "college", "employer", "employed", "taxi",
                    "sacked", "volunteers", "attends", "pharmacy", "chemist", "carers", "childcare"])  # fmt: skip
_AT_WORK = frozenset(["at", "for", "in", "with", "w", "from", "by", "nights", "the", ":", "-", "@"])
_EMPLOYED = frozenset(["at", "for", "with", "by", "from", "the", ":", "@"])
_TRADES = frozenset(["warehouse", "factory", "depot", "plant", "store", "shop", "branch", "butchers", "mine", "site",
                     "buses", "bus", "coaches", "lorries", "vans", "trucks", "trains", "taxis", "office"])  # fmt: skip
_PAYERS = frozenset(["medicare", "medicaid", "blue", "private", "tricare", "nhs"])  # of too many to identify anybody
_JOBS = _WORKS | frozenset(["job", "shift", "shifts", "drives", "driver", "drove", "retired", "summers", "boss",
                            "manager", "return", "back", "quit", "fired", "left", "ex", "employee", "leave", "career",
                            "years", "cleaner", "tills", "placement", "via", "rented", "optician"])  # fmt: skip
_TOWN_HEADS = frozenset(["Las", "Los", "San", "Santa", "El", "La", "New", "Fort", "Port", "Mount", "Bad", "Le", "Saint",
                         "St", "North", "South", "East", "West"])  # fmt: skip


def shorthand_spans(text: str, words: Sequence[Token]) -> Iterator[Span]:
    """Identifiers by their forms; they may overlap."""
    for index, token in enumerate(words):
        kind = _kind(token.text)
        if kind == "number":
            yield from _day(words, index)
        elif kind == "street":
            yield from _street(words, index)
        elif kind == "relation":
            yield from _relative(text, words, index)
            if token.text.lower() in chart_words("occupations"):
                yield from _workplace(text, words, index)
        elif kind == "works":
            yield from _workplace(text, words, index)
        elif kind == "initial":
            yield from _after_initial(text, words, index)
        elif kind == "lives" or (kind == "from" and text_at(words, index + 1) in _TOWN_HEADS):
            yield from _town(words, index)
        elif kind == "capital":
            yield from _family_first(text, words, index)
            yield from _given_initial_family(text, words, index)
            yield from _whose(words, index)
            yield from _words_that_name(text, words, index)
            yield from _before_age(words, index)
            if token.text.lower() in _employer_starts():
                yield from _employer(words, index)
        elif kind == "patient":
            yield from _patient(text, words, index)


@cache
def _employer_starts() -> frozenset[str]:
    return frozenset(name.split()[0] for name in employers())


@lru_cache(maxsize=30_000)
def _kind(word: str) -> str:
    """Which rule a word may begin; empty for none."""
    if word[0].isdigit():
        return "number" if len(word) < 3 else ""
    if not word[0].isalpha():
        return ""
    lower = word.lower()
    if len(word) == 1:
        return "initial"
    if lower in _STREETS:
        return "street"
    if is_relation(lower):
        return "relation"
    if lower in _WORKS or lower in chart_words("occupations"):
        return "works"
    if "lives" in cue_classes().get(lower, ()):
        return "lives"
    if word in _FROM:
        return "from"
    if lower in _PATIENT:
        return "patient"
    return "capital" if word[0].isupper() else ""


def _day(words: Sequence[Token], index: int) -> Iterator[Span]:
    """`30/6`, `1/19`: a day beyond 12 and a month, which are no share, grade or pressure."""
    if text_at(words, index + 1) != "/" or not text_at(words, index + 2).isdigit():
        return
    first, last = words[index], words[index + 2]
    if last.start - first.end != 1 or len(last.text) > 2:
        return
    low, high = sorted((int(first.text), int(last.text)))
    if not 0 < low <= 12 < high <= 31 or (high in (14, 16, 18, 24) and int(last.text) in (12, high) and low != 1):
        return
    before, after = words[index - 1] if index else None, words[index + 3] if index + 3 < len(words) else None
    joined = before is not None and before.end == first.start and before.text not in "(~-–,;@"
    if joined or (after is not None and after.start == last.end and (after.text[0].isalnum() or after.text in "/-%")):
        return
    words_before = {token.text.lower() for token in words[max(0, index - 2) : index]}
    if text_at(words, index + 3).lower() in _UNITS or not words_before.isdisjoint(_SCALES):
        return
    named = "title" in cue_classes().get(text_at(words, index - 2 - (text_at(words, index - 2) == ".")).lower(), ())
    if before is not None and before.text.lower() not in _DATED and not named and _names_a_score(before.text):
        return
    yield Span(first.start, last.end, "DATE")


def _names_a_score(word: str) -> bool:
    """Whether a number after a word is a result: `Barthel 13/20`, `ACE 8/15`, `Epworth 7/24`."""
    lower = word.lower()
    capitals = word.isupper() and 1 < len(word) < 7
    rare = word[0].isupper() and not names_by_itself(lower) and english_rank(lower) > 3000 and not _is_listed(lower)
    return lower in eponyms() or lower in chart_words("no_names") or capitals or rare


def _is_heading(words: Sequence[Token], index: int) -> bool:
    """Whether two words in capitals begin a line or a sentence and end it, or a label follows: `IRIS DAY DOB`."""
    given, family, after = (words[at].text for at in (index, index + 1, index + 2))
    begins = index == 0 or words[index - 1].text[0] in ".\n"
    labelled = "field" in cue_classes().get(after.lower(), ()) or after in ("HN", "NHS", "WARD", "CHI")
    ends = after == "." or after[0] == "\n" or labelled
    return begins and ends and given.isupper() and family.isupper() and len(given) > 2


def _is_listed(lower: str) -> bool:
    return lower in given_names() or lower in family_names()


def _street(words: Sequence[Token], index: int) -> Iterator[Span]:
    """`Wexcombe High Street`, `Bay St`, and `fulton ave` after `on`: a street without the number of a house."""
    head, first = words[index].text, index
    capital = head[0].isupper()
    while index - first < 3 and _is_street_name(words, first - 1, capital):
        first -= 1
    lower = [token.text.lower() for token in words[first:index] if token.text[0].isalpha()]
    if not lower or head == "ST" or (head == "St" and text_at(words, index + 1)[:1].isupper()):
        return
    if not capital and (text_at(words, first - 1) not in _ON or not all(names_by_itself(word) for word in lower)):
        return
    if all(word in eponyms() or word in clinical_words() for word in lower):
        return
    yield Span(words[first].start, words[index].end, "STREET")


def _is_street_name(words: Sequence[Token], index: int, capital: bool) -> bool:
    word, lower = text_at(words, index), text_at(words, index).lower()
    if len(word) < 3 or not word[0].isalpha() or lower in _NO_STREET or lower in _ON:
        return False
    return word[0].isupper() == capital and (not capital or english_rank(lower) >= 60)


def _relative(text: str, words: Sequence[Token], index: int) -> Iterator[Span]:
    """`cousin Faisal`, `gf amber`, `mum of Tobi`: a name beside the word for a relative."""
    appositive = text_at(words, index + 2)
    if (
        text_at(words, index + 1) == "," == text_at(words, index + 3)
        and appositive.istitle()
        and _is_own(appositive.lower())
    ):
        yield Span(words[index + 2].start, words[index + 2].end, "NAME")  # `her mother, Hope, was`
    at = index + 1 + (text_at(words, index + 1) in ("of", "to"))
    if at >= len(words) or text[words[at - 1].end : words[at].start] != " ":
        return
    name = words[at]
    lower = name.text.lower()
    if len(lower) < 3 or not name.text.isalpha():
        return
    frequent = given_names().get(lower, 99_999) < 1000 and english_rank(lower) > 3000
    known = lower in clinical_words() or lower in cue_classes() or lower in eponyms()
    capital = name.text[0].isupper() and name.text[1:].islower()
    rare = may_be_name(name.text) or english_rank(lower) > 12_000
    if not known and ((capital and rare) or frequent):
        yield Span(name.start, name.end, "NAME")


def _workplace(text: str, words: Sequence[Token], index: int) -> Iterator[Span]:
    """`works in Supermac's`, `Nursery Busy Bees`, `fell at Motel 6`: a firm or a school of no word for its trade; after
    an occupation where a word as `for` follows: `driver for Velnuk`."""
    at = index + 1
    while at < len(words) and at - index < 4 and words[at].text.lower() in _AT_WORK:
        at += 1
    last = at
    while last < len(words) and last - at < 4 and _is_of_firm(words[last].text, last == at):
        if last > at and text[words[last - 1].end : words[last].start] != " ":
            break
        last += 1
    own = [word.text.lower() for word in words[at:last]]
    known = [word in clinical_words() or word in eponyms() or word in cue_classes() for word in own]
    if not own or (all(known) if len(own) > 2 else known[0]):
        return
    before = words[at - 1].text.lower()
    if before == "in" and text_at(words, last) not in ("'", "’"):
        return  # a town
    owned = text_at(words, last).lower() in _TRADES
    told = before in _EMPLOYED or (owned and before.startswith("dr"))  # `drives Stagecoach buses`
    if words[index].text.lower() not in _WORKS and (not told or own[0] in _PAYERS):
        return
    known_firm = own[0] in employers() or " ".join(own) in employers()
    if len(own) > 1 or owned or known_firm or names_by_itself(own[0]) or english_rank(own[0]) > 8000:
        yield Span(words[at].start, words[last - 1].end, "EMPLOYER")


def _is_of_firm(word: str, is_first: bool) -> bool:
    """Whether a word may belong to the name of a firm: one with a capital, or a short one in capitals alone."""
    if word[0].isupper() and word[1:].islower():
        return True
    lower = word.lower()
    return word.isupper() and is_first and 2 < len(word) < 6 and lower not in chart_words("no_initials")


def _employer(words: Sequence[Token], index: int) -> Iterator[Span]:
    """`did two summers at Boots`, `back to Amazon`, `Target warehouse`: a large employer where somebody works."""
    lower, last = words[index].text.lower(), index
    for length in (3, 2, 1):
        after = words[index : index + length]
        if " ".join(token.text.lower() for token in after) in employers() and after[0].text[0].isupper():
            last = index + length - 1
            break
    else:
        return
    before = text_at(words, index - 1).lower()
    around = {token.text.lower() for token in words[max(0, index - 8) : index]}
    owned = text_at(words, last + 1).lower() in _TRADES
    plain = english_rank(lower) > 20_000 and before in _EMPLOYED | {"via"}
    if owned or plain or (not around.isdisjoint(_JOBS) and before in _AT_WORK | _WORKS | {"to"}):
        yield Span(words[index].start, words[last].end, "EMPLOYER")


def _patient(text: str, words: Sequence[Token], index: int) -> Iterator[Span]:
    """`Pt Ottoline Greaves`: a given name and a family name after the word for a patient."""
    if index + 2 >= len(words) or text[words[index].end : words[index + 1].start] != " ":
        return
    given, family = words[index + 1], words[index + 2]
    capitals = all(
        len(word.text) > 2 and word.text[0].isupper() and word.text[1:].islower() for word in (given, family)
    )
    if capitals and text[given.end : family.start] == " " and may_be_name(family.text) and _is_no_frequent(given.text):
        yield Span(given.start, family.end, "NAME")


def _is_own(lower: str) -> bool:
    """Whether a word between commas after a relation is a name: neither `However` nor `Deceased`."""
    known = lower in clinical_words() or lower in cue_classes()
    return english_rank(lower) > 300 and not known and (lower in given_names() or names_by_itself(lower))


def _is_no_frequent(word: str) -> bool:
    lower = word.lower()
    return english_rank(lower) > 3000 and lower not in clinical_words() and lower not in cue_classes()


def _whose(words: Sequence[Token], index: int) -> Iterator[Span]:
    """`Robin's mother`: a name in the genitive before a relation."""
    if text_at(words, index + 1) not in ("'", "’") or text_at(words, index + 2) != "s":
        return
    lower, after = words[index].text.lower(), text_at(words, index + 3).lower()
    listed = given_names().get(lower, 99_999) < 2500 or may_be_name(words[index].text)
    if is_relation(after) and listed and lower not in cue_classes():
        yield Span(words[index].start, words[index].end, "NAME")


def _before_age(words: Sequence[Token], index: int) -> Iterator[Span]:
    """`Jayden 6y`, `Liam (dob 3/3/99)`: a given name before an age or a birth date."""
    after, last = text_at(words, index + 1), text_at(words, index + 2).lower()
    begins = index == 0 or words[index - 1].text[0] in ".\n"
    listed = begins and last == "," and len(after) == 2 and words[index].text.lower() in given_names()
    aged = after.isdigit() and len(after) < 4 and (last in _AGED or listed)
    if not aged and not (after == "(" and last in _BORN):
        return
    if may_be_called(words[index].text.lower()):
        yield Span(words[index].start, words[index].end, "NAME")


def _words_that_name(text: str, words: Sequence[Token], index: int) -> Iterator[Span]:
    """`Will Hart, her nephew`, `May Rivers is`: two words that name somebody together, for the second has a capital."""
    if index + 2 >= len(words) or text[words[index].end : words[index + 1].start] != " ":
        return
    given, family, after = words[index].text, words[index + 1].text, words[index + 2].text
    plain = given.istitle() and family.istitle() and (after.islower() or after in ",.;")
    if len(family) < 3 or not (plain or _is_heading(words, index)):
        return
    lower = family.lower()
    frequent_given = 2500 if given.isupper() else 800
    named = given_names().get(given.lower(), 99_999) < frequent_given and family_names().get(lower, 99_999) < 5000
    frequent = english_rank(lower) < 800 and not given.isupper()
    known = lower in clinical_words() or lower in cue_classes() or frequent
    if named and not known and not names_a_thing(words, index + 2):
        yield Span(words[index].start, words[index + 1].end, "NAME")


def _after_initial(text: str, words: Sequence[Token], index: int) -> Iterator[Span]:
    """`A Qureshi,` and `h. abernethy`: an initial and a family name that is no word."""
    letter, name = words[index].text, text_at(words, index + 1)
    dotted = name == "."
    at = index + 1 + dotted
    name = text_at(words, at)
    lower = name.lower()
    if len(lower) < 4 or lower not in family_names() or not names_by_itself(lower) or letter in "IiLR":
        return
    if letter.isupper() and not dotted:
        ends = text_at(words, at + 1) in ("", ",", ";", ")", "|", "/") or text_at(words, at + 1)[0] == "\n"
        plain = name[0].isupper() and name[1:].islower() and text[words[index].end : words[at].start] == " "
        if not plain or (letter == "A" and not ends):
            return
    elif not (letter.islower() and dotted and name.islower()):
        return
    yield Span(words[index].start, words[at].end, "NAME")


def _town(words: Sequence[Token], index: int) -> Iterator[Span]:
    """`lives Minot`, `live in elizabethtown`, `from Las Cruces`: a town that no list need have."""
    at = index + 1 + (text_at(words, index + 1) in _FROM)
    word = text_at(words, at)
    if not word.isalpha() or len(word) < 3:
        return
    last = at
    if word in _TOWN_HEADS and text_at(words, at + 1)[:1].isupper():
        last = at + 1
    unknown = names_by_itself(word.lower()) or word.lower() in cities() or english_rank(word.lower()) > 20_000
    if last > at or (unknown and not is_generic_place(word.lower()) and not is_street_word(word.lower())):
        yield Span(words[at].start, words[last].end, "CITY")


def _family_first(text: str, words: Sequence[Token], index: int) -> Iterator[Span]:
    """`Hargreaves, Ptolemy`: a family name and a given name where a line, a field or a sentence begins."""
    if text_at(words, index + 1) != "," or index + 2 >= len(words):
        return
    before, given = text_at(words, index - 1), words[index + 2]
    in_row = before == "," and words[index - 1].end == words[index].start and given.start == words[index + 1].end
    labelled = before == ":" and not _LABELS.isdisjoint(cue_classes().get(text_at(words, index - 2).lower(), ()))
    if (before and before[0] not in ".\n:|;=" and not in_row) or text[words[index].end : given.start] not in (
        ", ",
        ",",
    ):
        return
    family, own = words[index].text.lower(), given.text.lower()
    if len(own) < 3 or not (in_row or _is_listed(family) or _is_listed(own)):
        return
    if own in clinical_words() or family in clinical_words() or not given.text[0].isupper():
        return
    both = may_be_name(words[index].text) and (in_row or may_be_name(given.text))
    if not labelled and not both:
        return
    initial = re.fullmatch(r"[A-Z]", text_at(words, index + 3)) is not None
    yield Span(words[index].start, words[index + 2 + initial].end, "NAME")


def _given_initial_family(text: str, words: Sequence[Token], index: int) -> Iterator[Span]:
    """`Olive S. Tender`: a given name, an initial and a family name, whatever word that is."""
    if len(text_at(words, index + 1)) != 1 or text_at(words, index + 2) != "." or index + 3 >= len(words):
        return
    given, initial, family = words[index], words[index + 1].text, words[index + 3]
    plain = len(family.text) > 2 and family.text[0].isupper() and family.text.lower() not in cue_classes()
    alike = given.text.isupper() == family.text.isupper()
    listed = given_names().get(given.text.lower(), 99_999) < 2500 and given.text.lower() not in clinical_words()
    if initial.isupper() and plain and alike and listed and text[given.end : family.start] == f" {initial}. ":
        yield Span(given.start, family.end, "NAME")
