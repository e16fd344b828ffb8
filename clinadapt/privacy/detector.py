"""Find what identifies a patient in a text: patterns, context rules and the tagger, united; and each name wherever else
it stands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile

from clinadapt.privacy.candidates import open_sentences
from clinadapt.privacy.capitals import (
    are_frequent,
    are_in_capitals,
    are_words,
    as_read,
    is_function_word,
    may_be_own,
    parts_in_capitals,
)
from clinadapt.privacy.chart_forms import chart_words, form_spans, name_forms
from clinadapt.privacy.context import (
    context_spans,
    cue_before,
    is_generic_place,
    is_listed,
    is_word_only,
    names_no_patient,
    widened,
)
from clinadapt.privacy.cue_patterns import anchors_of, cue_spans
from clinadapt.privacy.features import Token, tagged_tokens, text_at, texts_of, token_range, tokens
from clinadapt.privacy.initials import initials_spans
from clinadapt.privacy.letter_forms import after_names, before_codes, letter_spans
from clinadapt.privacy.medical_names import is_of_a_thing, is_pair, names_a_thing
from clinadapt.privacy.mentions import Mentions
from clinadapt.privacy.patterns import STATES, is_street_word, pattern_spans
from clinadapt.privacy.shorthand_forms import shorthand_spans
from clinadapt.privacy.span_edges import trimmed
from clinadapt.privacy.spans import PLACES, Span, united
from clinadapt.privacy.tagger import Tagged, tagger
from clinadapt.privacy.word_lists import (
    cities,
    clinical_words,
    cue_classes,
    english_rank,
    eponyms,
    family_names,
    given_names,
    is_clinical,
)

_WORDS = ("NAME", "INITIALS", "EMPLOYER", "CITY")
_SURE = 4.0  # a margin of the tagger; at 3, numbers of images are dates
_SURE_OF = (*_WORDS, "DATE")
_DAY = re.compile(
    r"(?:3[01]|[12]\d|0?[1-9])/(?:1[0-2]|0?[1-9])|\d{1,2}(?i:st|nd|rd|th)|(?:1[0-2]|0?[1-9])[/-](?:3[01]|[12]\d|0?[1-9])(?:[/-]\d{2,4})?|[^\d]{3,}\d{0,4}|\d{1,4}[^\d]{3,}\d{0,4}"
)
_RANGE = re.compile(r"\d{1,2}-\d{1,2}")  # of a count; as dates, patterns find it
_SCALE = re.compile(r"\d{1,2}/(?:1[3-9]|[2-9]\d|100)$")  # after its name: `Berg 44/56`
# Of a sign or a score, after its name: `Ortolani neg.`, `Alvarado 8`
_RESULT = re.compile(r"(?:(?:neg(?:ative)?|pos(?:itive)?|ok|intact)(?=[.,;)/]|$)|\+|[IV]{2,4}\b|\d{1,2}[.,;)])")
_RESULTS = frozenset(["+", "neg", "negative", "pos", "positive"])
_TIMES = ("/7", "/52", "/12")  # of days, weeks and months: `in 6/52`
_WITHIN = frozenset(["in", "x", "every", "over"])
_CODES = frozenset(["cpt", "icd", "drg", "hcpcs", "snomed", "loinc", "opcs"])  # of diseases and procedures
_HOURS = re.compile(
    r"(?:[A-Za-z]{0,6})(?:[01]\d|2[0-3])[0-5][05](?:[-–](?:[01]\d|2[0-4])[0-5]\d)?"
)  # `0700-1900`, `DTV 1800`
_COUNTS = re.compile(r"\d{1,3}(?:[-/]\d{1,3}){1,3}")
_COUNTED = frozenset(["stages", "stage", "nodes", "cores", "views", "quadrants", "lobes", "digits", "fingers", "toes",
                      "joints", "pulses", "sections", "levels", "vessels", "slices", "murmur"])  # fmt: skip
_UNITS = frozenset(["cc", "ml", "mg", "mcg", "g", "kg", "mm", "cm", "units", "min", "mins", "hrs", "h"])
_SENT = frozenset(["transfer", "transferred", "transferring", "txfr", "accepted", "repat", "admitted", "adm", "alert"])
_AT = frozenset(["at", "in", "for", "from", "outside", "near", "by", "works", "work", "school", "nursery", "w"])
_PREPOSITIONS = frozenset(["by", "to", "on", "over", "of", "in", "from"])
_BEFORE_NOUNS = _PREPOSITIONS | {"each", "either", "per"}
_NOBODY = frozenset(["no", "yes", "none", "nil", "self", "unknown", "pending"])  # after a label
_SHARES = ("1/2", "1/4", "3/4", "1/3", "2/3")
_GRADES = ("/5", "/10")
_GRADED = frozenset({"pain", "strength", "power", "motor", "scale", "severity", "score", "discomfort"})
_NAMED = ("NAME", "HOSPITAL", "EMPLOYER", "CITY", "STREET", "OTHERID", "MRN")  # looked for wherever else they stand


def identifiers(text: str, known: Sequence[str] = ()) -> list[Span]:
    """Identifiers of a text, disjoint and in its order.

    The time is linear in the length of the text, whatever it holds.

    Args:
        text: a note, an instruction or an answer.
        known: what a hospital knows to identify the patient, as the name; found wherever it stands.
    """
    written, text = text, as_read(text)
    words = tokens(text)
    anchors = anchors_of(text, words)
    as_written = pattern_spans(written) if written != text else ()  # `JMB:tkp`
    found = united([*pattern_spans(text, anchors), *as_written])
    found = [span for span in found if not _is_no_town(words, span)]
    joined = tagged_tokens(text)
    texts = texts_of(joined, found)
    told_by_context = tagger().spans(text, joined, texts, open_sentences(joined, texts))
    parts = [Tagged(part, each.margin) for each in told_by_context for part in parts_in_capitals(words, each.span)]
    tagged = [each.span for each in parts if _is_sure(words, each) or not _is_false(words, each.span)]
    if written != text:
        tagged = [span for span in tagged if not _is_of_medicine(words, span)]
    told = (
        *cue_spans(text, anchors),
        *context_spans(text, words),
        *form_spans(text, words),
        *shorthand_spans(text, words),
        *letter_spans(text, words),
        *initials_spans(words),
    )
    spans = united([*found, *tagged, *told])
    beside = (*name_forms(text, words, spans), *before_codes(text, spans), *after_names(text, spans))
    spans = united([*spans, *widened(text, words, spans), *beside])
    spans = [whole for span in spans if not _is_no_name(words, span) and (whole := trimmed(words, span))]
    spans = [span for span in spans if span.type != "STREET" or not _is_no_street(words, span)]
    mentions = Mentions()
    for value in known:
        mentions.add_known(value)
    for span in spans:
        if span.type in _NAMED:
            mentions.add(text[span.start : span.end], span.type)
    return united([*spans, *mentions.spans(text, words)])


def _is_no_name(words: Sequence[Token], span: Span) -> bool:
    """Whether a span has only words of charts that name nobody, without a title, a label or a relation before it."""
    if span.type not in _WORDS:
        return False
    first, last = token_range(words, span)
    own = {token.text.lower() for token in words[first:last] if token.text[0].isalpha() and token.text not in "LRs"}
    if own and (own <= _NOBODY or all(is_function_word(token.text) for token in words[first:last])):
        return True
    if not own or cue_before(words, first):
        return False
    return own <= chart_words("no_names") or is_of_a_thing(words, first) or _describes(words, first, last)


def _is_of_medicine(words: Sequence[Token], span: Span) -> bool:
    """Whether a name without a word for a name before it has a word of medicine: `ureteral stone` in small letters."""
    first, last = token_range(words, span)
    is_name = span.type == "NAME" and not cue_before(words, first)
    return is_name and any(is_clinical(token.text.lower()) for token in words[first:last])


def _is_no_town(words: Sequence[Token], span: Span) -> bool:
    """Whether words before a state name no town, so that the state may be a word: `BOWELS OK.`, `PMH: HTN, MI, CVA.`"""
    first, last = token_range(words, span)
    own = [token.text.lower() for token in words[first:last] if len(token.text) > 1]
    behind = last + (text_at(words, last) == ",")
    if span.type != "CITY" or text_at(words, behind) not in STATES or text_at(words, behind + 1).isdigit():
        return False
    if behind > last:  # `Hope, AR` is one
        return all(word in clinical_words() or word in chart_words("no_initials") for word in own)
    return not any(may_be_own(word) or is_listed(word) for word in own)


def _is_no_street(words: Sequence[Token], span: Span) -> bool:
    """Whether what stands between a number and a word as `Dr`, `St`, `VIEW` or `WAY` is no name: `900 ML. CT`, `1205 GP
    Dr`, `40 MG DAILY IN VIEW`, `3 MILES EACH WAY`."""
    first, last = token_range(words, span)
    letters = [token.text.lower() for token in words[first:last] if token.text[0].isalpha()]
    if len(letters) < 2 or not words[first].text[0].isdigit():
        return False
    *own, kind = letters
    before = own[:-1] if own[-1] == "the" else own  # `12 THE GROVE` is one, `4 BY THE WAY` is none
    if (len(own[0]) > 1 and own[0] in _UNITS) or (before and before[-1] in _BEFORE_NOUNS):
        return is_street_word(kind)
    others = (_UNITS, clinical_words(), chart_words("no_names"))
    return kind in ("dr", "st", "ct") and all(any(word in each for each in others) for word in own)


def _describes(words: Sequence[Token], first: int, last: int) -> bool:
    """Whether words are adjectives of a word of medicine, among them or after them: `Frank haematuria`."""
    own = {token.text.lower() for token in words[first:last]}
    others = own - chart_words("adjectives")
    after = words[last].text.lower() if last < len(words) else ""
    return others < own and all(map(is_clinical, others)) and (bool(others) or is_clinical(after))


def _is_sure(words: Sequence[Token], tagged: Tagged) -> bool:
    """Whether the words around tell so much that the rules of `_is_false` are not asked: of no word of medicine or name
    of a thing, and of no date without figures or of such as a range, a share or a grade has."""
    first, last = token_range(words, tagged.span)
    own = [token.text.lower() for token in words[first:last]]
    joined = "".join(own)
    if are_in_capitals(words, first, last) and (are_words(words, first, last) or are_frequent(words, first, last)):
        return False
    if last == first + 1 and _begins_a_field(words, first) and are_frequent(words, first, last):
        return False
    if tagged.margin < _SURE or tagged.span.type not in _SURE_OF:
        return False
    if tagged.span.type == "DATE":
        figures = any(word[0].isdigit() for word in own)
        return figures and joined not in _SHARES and not joined.endswith(_GRADES) and not _RANGE.fullmatch(joined)
    medical = names_a_thing(words, last) or is_pair(words, first, last)
    return not medical and not any(word in eponyms() or is_clinical(word) for word in own)


def _is_false(words: Sequence[Token], span: Span) -> bool:
    """Whether what the tagger found is hardly what it takes it for."""
    first, last = token_range(words, span)
    letters = [token.text for token in words[first:last] if token.text[0].isalpha()]
    if span.type == "INITIALS":
        return not letters or any(not letter.isupper() or is_word_only(letter.lower()) for letter in letters)
    if span.type in PLACES:
        return _is_no_place(words, span.type, first, last)
    if span.type == "DATE":
        date = "".join(token.text for token in words[first:last])
        before = {token.text.lower() for token in words[max(0, first - 10) : first]}
        if last < len(words) and words[last].text.lower() in _COUNTED:
            return True
        if date.endswith(_TIMES) and text_at(words, first - 1).lower() in _WITHIN:
            return True
        graded = date.endswith(_GRADES) and not before.isdisjoint(_GRADED)
        return graded or date in _SHARES or _RANGE.fullmatch(date) is not None or not _DAY.fullmatch(date)
    if span.type == "STREET":
        named = len(letters) > 1 and any(is_street_word(letter.lower()) for letter in letters)
        measured = first + 1 < last and words[first + 1].text.lower() in _UNITS
        return measured or (not named and not words[first].text[0].isdigit())
    if span.type == "NAME":
        after = "".join(token.text for token in words[last : last + 3])
        if len(letters) == 1 and (_is_hardly_a_name(words, first, after) or _is_acronym(words, first, last)):
            return True
        return names_no_patient(words, first, last)
    return _is_no_number(words, span.type, first, last)


def _is_no_place(words: Sequence[Token], kind: str, first: int, last: int) -> bool:
    """Whether words are abbreviations, degrees or words of medicine, without a name of a place."""
    letters = [token.text for token in words[first:last] if token.text[0].isalpha()]
    lower = {letter.lower() for letter in letters}
    if are_in_capitals(words, first, last) and are_words(words, first, last):
        return True
    unknown = lower - cities()
    medical = lower <= eponyms() - cities() or (len(letters) < 3 and bool(unknown) and unknown <= clinical_words())
    sent = {token.text.lower() for token in words[max(0, first - 3) : first]}
    if (kind != "HOSPITAL" and medical) or (_is_acronym(words, first, last) and sent.isdisjoint(_SENT)):
        return True
    if len(letters) == 1 and (names_a_thing(words, last) or text_at(words, last).lower() in _RESULTS):
        return True  # `Ottawa criteria`, `Ottawa +`
    if is_pair(words, first, last):
        return True
    small = sum(letter.islower() for letter in letters)
    if kind == "EMPLOYER" and len(letters) == 2 and letters[1] in ("s", "S") and sent.isdisjoint(_AT):
        return True  # `Scarpa's`
    if max(map(len, letters), default=0) < 2 or (letters[0][0].isupper() and small > 0.6 * len(letters)):
        return True  # `L4`, and capitals that drew in the rest of a sentence
    if all("academic_degree" in cue_classes().get(letter, ()) for letter in lower):
        return True
    return all(letter.islower() or is_generic_place(letter.lower()) for letter in letters)


def _is_no_number(words: Sequence[Token], kind: str, first: int, last: int) -> bool:
    """Whether the figures are too few to identify anybody, a count, or a part of `B12 412` or `5/325 1-2`."""
    digits = sum(len(token.text) for token in words[first:last] if token.text[0].isdigit())
    before, after = words[first - 1] if first else None, words[first + 1] if first + 1 < last else None
    if before and before.text.lower() in _CODES:
        return True
    if after and len(words[first].text) == 1 and len(after.text) < 3 and after.text[0].isdigit():
        digits -= len(after.text) if after.start == words[first].end else 0  # `B12 412`
    if before and after and before.end == words[first].start and words[first].end < after.start:
        return True
    if kind in ("OTHERID", "MRN", "PHONE") and _HOURS.fullmatch("".join(token.text for token in words[first:last])):
        return True
    plain = takewhile(_is_plain, (token.text for token in words[first:last]))
    figures = "".join(token.text for token in words[first + len(list(plain)) : last])  # `HR 110-120`
    return digits < (3 if kind == "VEHICLE" else 4) or _COUNTS.fullmatch(figures.rstrip("-/")) is not None


def _is_plain(word: str) -> bool:
    return word[0].isalpha() and (is_clinical(word.lower()) or english_rank(word.lower()) < 5000)


def _is_acronym(words: Sequence[Token], first: int, last: int) -> bool:
    """Whether a span is a short word in capitals among others in small letters, and in no list of names: `DVLA`."""
    letters = [token.text for token in words[first:last] if token.text[0].isalpha()]
    before = cue_classes().get(words[first - 1].text.lower(), ()) if first else ()
    if (
        len(letters) != 1
        or len(letters[0]) > 5
        or not letters[0].isupper()
        or "title" in before
        or "relation" in before
    ):
        return False
    lower = letters[0].lower()
    around = [token.text for token in words[max(0, first - 8) : last + 8] if len(token.text) > 2]
    return lower not in given_names() and lower not in family_names() and any(word.islower() for word in around)


def _is_hardly_a_name(words: Sequence[Token], first: int, after: str) -> bool:
    """Whether a word has the result of a scale after it, or is a frequent one that few people are called, without a
    title, a label or a relation before it: `Severe`."""
    if _SCALE.match(after):
        return True
    lower = words[first].text.lower()
    following = words[first + 1].text if first + 1 < len(words) else ""
    if lower.endswith("s") and lower not in given_names() and english_rank(lower) < 8000 and following in _PREPOSITIONS:
        return not cue_before(words, first)  # `Burns to hands`
    most = 25_000 if are_in_capitals(words, first, first + 1) or _begins_a_field(words, first) else 6000
    frequent = english_rank(lower) < most and lower not in given_names() and family_names().get(lower, 99_999) > 5000
    return (frequent or _RESULT.match(after) is not None) and not cue_before(words, first)


def _begins_a_field(words: Sequence[Token], index: int) -> bool:
    """Whether a word is the first of a line or stands after a colon: `Neck: Supple`."""
    return text_at(words, index - 1)[:1] in (":", "\n")
