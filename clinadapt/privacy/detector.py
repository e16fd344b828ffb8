"""Find what identifies a patient in a text: patterns, context rules and the tagger, united; and each name wherever else
it stands."""

from __future__ import annotations

import re
from collections.abc import Sequence

from clinadapt.privacy.candidates import open_sentences
from clinadapt.privacy.chart_forms import chart_words, form_spans, name_forms, trimmed
from clinadapt.privacy.context import (
    context_spans,
    cue_before,
    is_generic_place,
    is_word_only,
    names_no_patient,
    widened,
)
from clinadapt.privacy.cue_patterns import cue_spans
from clinadapt.privacy.features import Token, texts_of, token_range, tokens
from clinadapt.privacy.medical_names import names_a_thing
from clinadapt.privacy.mentions import Mentions
from clinadapt.privacy.patterns import pattern_spans
from clinadapt.privacy.shorthand_forms import shorthand_spans
from clinadapt.privacy.spans import Span, united
from clinadapt.privacy.tagger import tagger
from clinadapt.privacy.word_lists import (
    cities,
    clinical_words,
    cue_classes,
    english_rank,
    eponyms,
    family_names,
    given_names,
)

_PLACES = ("HOSPITAL", "EMPLOYER", "CITY")
_WORDS = ("NAME", "INITIALS", "EMPLOYER", "CITY")
_DAY = re.compile(
    r"(?:1[0-2]|0?[1-9])[/-](?:3[01]|[12]\d|0?[1-9])(?:[/-]\d{2,4})?|[^\d]{3,}\d{0,4}|\d{1,4}[^\d]{3,}\d{0,4}"
)
_RANGE = re.compile(r"\d{1,2}-\d{1,2}")  # of a count; as dates, patterns find it
_SCALE = re.compile(r"\d{1,2}/(?:1[3-9]|[2-9]\d|100)$")  # after its name: `Berg 44/56`
# Of a sign or a score, after its name: `Ortolani neg.`, `Alvarado 8`
_RESULT = re.compile(r"(?:(?:neg(?:ative)?|pos(?:itive)?|ok|intact)(?=[.,;)/]|$)|\+|[IV]{2,4}\b|\d{1,2}[.,;)])")
_COUNTS = re.compile(r"\d{1,3}(?:[-/]\d{1,3}){1,3}")
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
    words = tokens(text)
    found = united(pattern_spans(text, words))
    texts = texts_of(words, found)
    tagged = tagger().spans(text, words, texts, open_sentences(words, texts))
    tagged = [span for span in tagged if not _is_false(words, span)]
    told = (
        *cue_spans(text, words),
        *context_spans(text, words),
        *form_spans(text, words),
        *shorthand_spans(text, words),
    )
    spans = united([*found, *tagged, *told])
    spans = united([*spans, *widened(text, words, spans), *name_forms(text, words, spans)])
    spans = [whole for span in spans if not _is_no_name(words, span) and (whole := trimmed(words, span))]
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
    return bool(own) and own <= chart_words("no_names") and not cue_before(words, first)


def _is_false(words: Sequence[Token], span: Span) -> bool:
    """Whether what the tagger found cannot be what it takes it for."""
    first, last = token_range(words, span)
    letters = [token.text for token in words[first:last] if token.text[0].isalpha()]
    digits = sum(len(token.text) for token in words[first:last] if token.text[0].isdigit())
    if span.type == "INITIALS":
        return not letters or any(not letter.isupper() or is_word_only(letter.lower()) for letter in letters)
    if span.type in _PLACES:
        lower = {letter.lower() for letter in letters}
        medical = lower <= eponyms() - cities() or (len(letters) < 3 and lower <= clinical_words())
        if span.type != "HOSPITAL" and (medical or _is_acronym(words, first, last)):
            return True
        if len(letters) == 1 and names_a_thing(words, last):
            return True
        return all(letter.islower() or is_generic_place(letter.lower()) for letter in letters)
    if span.type == "DATE":
        date = "".join(token.text for token in words[first:last])
        before = {token.text.lower() for token in words[max(0, first - 10) : first]}
        graded = date.endswith(_GRADES) and not before.isdisjoint(_GRADED)
        return graded or date in _SHARES or _RANGE.fullmatch(date) is not None or not _DAY.fullmatch(date)
    if span.type == "STREET":
        return not words[first].text[0].isdigit()
    if span.type == "NAME":
        after = "".join(token.text for token in words[last : last + 3])
        if len(letters) == 1 and (_is_hardly_a_name(words, first, after) or _is_acronym(words, first, last)):
            return True
        return names_no_patient(words, first, last)
    figures = "".join(token.text for token in words[first:last])
    return digits < (3 if span.type == "VEHICLE" else 4) or _COUNTS.fullmatch(figures) is not None


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
    around = [token.text for token in words[max(0, first - 4) : last + 4] if len(token.text) > 2]
    return lower not in given_names() and lower not in family_names() and any(word.islower() for word in around)


def _is_hardly_a_name(words: Sequence[Token], first: int, after: str) -> bool:
    """Whether a word has the result of a scale after it, or is a frequent one that few people are called, without a
    title, a label or a relation before it: `Severe`."""
    if _SCALE.match(after):
        return True
    lower = words[first].text.lower()
    frequent = english_rank(lower) < 6000 and lower not in given_names() and family_names().get(lower, 99_999) > 5000
    return (frequent or _RESULT.match(after) is not None) and not cue_before(words, first)
