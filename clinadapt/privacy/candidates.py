"""The sentences of a note in which a word may identify somebody; in the others the tagger has nothing to look for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from clinadapt.privacy.context import cue_before, is_generic_place, is_listed, is_word_only
from clinadapt.privacy.features import Token, day_kind
from clinadapt.privacy.mentions import names_by_itself
from clinadapt.privacy.word_lists import cities


def open_sentences(words: Sequence[Token], texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """First token, and the one after the last, of sentences with a word or number that may identify somebody; sentences
    side by side are one.

    Args:
        words: tokens of a note, of `tagged_tokens`.
        texts: of `texts_of`: what patterns found is known by its type.
    """
    first = last = start = 0
    for end in _ends(texts):
        if any(_may_identify(words, texts, index, start) for index in range(start, end)):
            if last < start:
                if last > first:
                    yield first, last
                first = start
            last = end
        start = end
    if last > first:
        yield first, last


def _ends(texts: Sequence[str]) -> Iterator[int]:
    """The token after the last of each sentence; a line ends one too."""
    for index, text in enumerate(texts[:-1]):
        if text[0] == "\n" or (text == "." and index and len(texts[index - 1]) > 2 and len(texts[index + 1]) > 1
                               and texts[index + 1][0].isupper()):  # fmt: skip
            yield index + 1
    if texts:
        yield len(texts)


def _may_identify(words: Sequence[Token], texts: Sequence[str], index: int, start: int) -> bool:
    """Whether a token may be in the span of an identifier, in a sentence that begins with the token `start`."""
    where = _where(texts[index])
    if where == "inside":
        return index > start
    if where == "joined":
        return _is_joined(words, index)
    return where == "anywhere" or (where == "after a cue" and cue_before(words, index))


@lru_cache(maxsize=30_000)
def _where(text: str) -> str:
    """Where a token may be in the span of an identifier; empty: nowhere."""
    if text[0].isdigit():
        return "joined" if len(text) < 3 or (not text.isdigit() and not _may_be_day(text)) else "anywhere"
    if not text[0].isalpha():
        return ""
    lower = text.lower()
    if text[0].islower():
        listed, alone = is_listed(text), names_by_itself(text)
        return "anywhere" if listed and alone else "after a cue" if alone or listed else ""
    if not is_word_only(lower) or lower in cities():
        return "anywhere"
    return "" if is_generic_place(lower) else "inside"


def _may_be_day(pair: str) -> bool:
    """Whether two numbers and the sign between them may be a day and a month; a decimal is where its parts tell so."""
    first, sign, second = re.split(r"(\D)", pair)
    kind = day_kind(first, second)
    return sign in "/-" or (sign == "." and (kind in ("dm", "md") or (kind != "" and len(second) == 2)))


def _is_joined(words: Sequence[Token], index: int) -> bool:
    """Whether a number is written together with another, or with letters before it."""
    before = words[index - 1].text if index and words[index - 1].end == words[index].start else ""
    after = words[index + 1].text if index + 1 < len(words) and words[index + 1].start == words[index].end else ""
    return before[:1].isalpha() or before in ("-", "/") or after in ("-", "/")
