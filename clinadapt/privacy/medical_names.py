"""Names in the language of medicine, which name no patient: `Graves' disease`, `Child-Pugh`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile

from clinadapt.privacy.features import Token, text_at
from clinadapt.privacy.word_lists import cue_classes, eponym_pairs, medical_things

_CLASSES = frozenset(["type", "class", "grade", "stage", "level", "group", "zone", "category", "cat"])
_CLASS = re.compile(r"[IV]{1,3}[ABCabc]{0,2}|\d{1,2}[a-c]?")


def is_classified(words: Sequence[Token], index: int) -> bool:
    """Whether a class stands at an index: `Forrest IIb`, `Ellis class II`."""
    at = index + (text_at(words, index).lower() in _CLASSES)
    alone = at == index and len(text_at(words, at)) < 2
    return (
        _CLASS.fullmatch(text_at(words, at)) is not None
        and not alone
        and (at > index or not text_at(words, at)[0].isdigit())
    )


def names_a_thing(words: Sequence[Token], index: int) -> bool:
    """Whether a sign, a disease or an instrument stands at an index, or after one more word: `Huber needle`."""
    after = [token.text.lower() for token in words[index : index + 4] if token.text not in ("'", "’", "s", "-")]
    after = list(takewhile(lambda word: word[0] not in ".,;:\n", after))
    things = (word for word in after[:2] if "after_eponym" in cue_classes().get(word, ()) or word in medical_things())
    return any(things) or is_classified(words, index)


def is_pair(words: Sequence[Token], first: int, last: int) -> bool:
    """Whether each name among words[first:last] stands beside another as in the language of medicine: `Child-Pugh`."""
    around = range(max(0, first - 3), min(len(words), last + 3))
    names = [i for i in around if len(words[i].text) > 1 and words[i].text[0].isalpha() and words[i].text != "and"]
    places = {index: place for place, index in enumerate(names)}
    for index in (index for index in names if first <= index < last):
        beside = names[max(0, places[index] - 1) : places[index] + 2]
        partners = eponym_pairs().get(words[index].text.lower(), frozenset())
        if partners.isdisjoint(words[other].text.lower() for other in beside):
            return False
    return any(first <= index < last for index in names)


def is_of_a_thing(words: Sequence[Token], first: int) -> bool:
    """Whether a name stands as in `pouch of Douglas`: after a part of the body, a sign or a disease, and `of`."""
    if first < 2 or words[first - 1].text.lower() != "of":
        return False
    thing = words[first - 2].text.lower()
    return thing in medical_things() or "after_eponym" in cue_classes().get(thing, ())
