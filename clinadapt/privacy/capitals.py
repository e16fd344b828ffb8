"""Texts whose capitals tell nothing: those in capitals, and those in small letters, read as if in capitals."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from clinadapt.privacy.features import Token, token_range
from clinadapt.privacy.spans import PLACES, Span
from clinadapt.privacy.word_lists import (
    cities,
    clinical_words,
    cue_classes,
    employers,
    english_rank,
    english_words,
    eponyms,
    family_names,
    given_names,
    is_clinical,
)

_WORDS = re.compile(r"[^\W\d_]{2,}")
_FEWEST = 8  # words by which a text is judged
_AROUND = 6  # tokens on either side
_MOST = 3  # words of the name of a place without its kind
_FREQUENT = 150  # rank of a word as WAS, IS, THE


def as_read(text: str) -> str:
    """A text as rules and tagger read it, of the same length: in capitals, where it has none but of abbreviations."""
    words = _WORDS.findall(text)
    if len(words) < _FEWEST or sum(map(str.islower, words)) < 0.6 * len(words):
        return text
    if sum(word[0].isupper() and not word.isupper() for word in words) > 0.02 * len(words):
        return text
    read = text.upper()
    return read if len(read) == len(text) else "".join(map(_capital, text))


def _capital(letter: str) -> str:
    capital = letter.upper()
    return capital if len(capital) == 1 else letter


def are_in_capitals(words: Sequence[Token], first: int, last: int) -> bool:
    """Whether words[first:last] stand in capitals among others in capitals."""
    around = [token.text for token in words[max(0, first - _AROUND) : last + _AROUND] if len(token.text) > 2]
    letters = [word for word in around if word[0].isalpha()]
    own = all(token.text.isupper() for token in words[first:last] if token.text[0].isalpha())
    return own and len(letters) > 2 and sum(map(str.isupper, letters)) > 0.8 * len(letters)


def is_function_word(word: str) -> bool:
    """Whether a word in capitals is one as WAS, IS, THE."""
    lower = word.lower()
    listed = lower in given_names() or lower in family_names()
    return word.isupper() and len(word) > 1 and english_rank(lower) < _FREQUENT and not listed


def may_be_own(lower: str) -> bool:
    """Whether a lower-case word may be the own one of a place: a town, a rarer name, or a word of no list."""
    if lower in clinical_words() or lower in eponyms() - cities():
        return False
    named = lower in given_names() or lower in family_names()
    if lower in cities() or (named and english_rank(lower) > 3000):
        return True
    return len(lower) > 3 and lower not in english_words() and not is_clinical(lower) and lower not in cue_classes()


def parts_in_capitals(words: Sequence[Token], span: Span) -> Iterator[Span]:
    """The parts of a place in capitals between words as WHO and WITH, which drew in the rest of a sentence; the whole
    where it has the kind of a place, and any other span."""
    first, last = token_range(words, span)
    if span.type not in PLACES or not are_in_capitals(words, first, last) or _has_kind(words, first, last):
        yield span
        return
    start = first
    for index in range(first, last + 1):
        if index == last or is_function_word(words[index].text) or words[index].text == ".":
            if start < index:
                yield Span(words[start].start, words[index - 1].end, span.type)
            start = index + 1


def _has_kind(words: Sequence[Token], first: int, last: int) -> bool:
    kinds = {"hospital", "firm", "street"}
    return any(not kinds.isdisjoint(cue_classes().get(token.text.lower(), ())) for token in words[first:last])


def are_frequent(words: Sequence[Token], first: int, last: int) -> bool:
    """Whether all words[first:last] are of English and no given names."""
    own = [token.text.lower() for token in words[first:last] if token.text[0].isalpha()]
    return bool(own) and all(english_rank(word) < 25_000 and word not in given_names() for word in own)


def are_words(words: Sequence[Token], first: int, last: int) -> bool:
    """Whether words[first:last], in capitals, are of English or medicine: not the name and the kind of a place."""
    own = [token.text for token in words[first:last] if token.text[0].isalpha() and len(token.text) > 1]
    lower = [word.lower() for word in own]
    if " ".join(lower) in employers() or _has_kind(words, first, last):
        return False
    return len(own) > _MOST or any(map(is_clinical, lower)) or not any(map(may_be_own, lower))
