"""Drug mentions by generic name, from the lists of `drug_names` and the name stems of INN and USAN."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache

from clinadapt.clinical.drug_names import generics_by_name
from clinadapt.clinical.lexicon import load_lexicon
from clinadapt.clinical.mention import Mention, ascii_lower

_WORD = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_WHOLE_WORD = re.compile(rf"(?<![a-z0-9])(?<![a-z0-9]-){_WORD.pattern}")


def drugs(text: str) -> set[str]:
    """Generic names of the drugs in a text, in lower case."""
    return {mention.value for mention in drug_mentions(text)}


def drug_mentions(text: str) -> list[Mention]:
    """Drugs in text order; a brand that combines two drugs yields two mentions of the same span."""
    lower = ascii_lower(text)
    mentions: list[Mention] = []
    behind = 0  # the last mention
    for start, end, (generics, most) in _first_words(lower):
        if start < behind:
            continue
        for phrase_end in reversed(_word_ends(lower, end, most - 1)):
            if phrase := generics_by_name().get(lower[start:phrase_end]):
                end, generics = phrase_end, phrase
                break
        mentions += [Mention(start, end, generic) for generic in generics]
        behind = end if generics else behind
    return mentions


def _first_words(lower: str) -> Iterator[tuple[int, int, tuple[tuple[str, ...], int]]]:
    """(start, end, entry) of the words that a name begins with. Few do, so that only these are located."""
    written = _WORD.findall(lower)
    end = 0
    for word, entry in zip(written, map(_entry, written), strict=True):
        if entry is None:
            continue
        start = lower.index(word, end)
        while not (match := _WHOLE_WORD.match(lower, start)) or match[0] != word:
            start = lower.index(word, start + 1)
        end = start + len(word)
        yield start, end, entry


def _word_ends(lower: str, end: int, count: int) -> list[int]:
    """Where the next `count` words behind a position end."""
    ends: list[int] = []
    while len(ends) < count and (match := _WORD.search(lower, ends[-1] if ends else end)):
        ends.append(match.end())
    return ends


@lru_cache(maxsize=100_000)
def _entry(word: str) -> tuple[tuple[str, ...], int] | None:
    """Generic names of a word in lower case, and the number of words of the longest name that begins with it; None for
    a word that is in no name."""
    generics, most = _generics(word) or _generics_of_parts(word), _max_words().get(word, 1)
    return (generics, most) if generics or most > 1 else None


@cache
def _max_words() -> dict[str, int]:
    """First word of a name -> number of words of the longest name that begins so."""
    max_words: dict[str, int] = {}
    for name in generics_by_name():
        first, *rest = name.split()
        max_words[first] = max(max_words.get(first, 1), 1 + len(rest))
    return max_words


def _generics(word: str) -> tuple[str, ...]:
    return generics_by_name().get(word, ()) or _generics_by_stem(word)


def _generics_of_parts(word: str) -> tuple[str, ...]:
    """The drugs of a combination, as piperacillin-tazobactam; none where a part is no drug, as in aspirin-induced."""
    parts = [_generics(part) for part in word.split("-")]
    return tuple(dict.fromkeys(generic for part in parts for generic in part)) if len(parts) > 1 and all(parts) else ()


def _generics_by_stem(word: str) -> tuple[str, ...]:
    lexicon = load_lexicon("drugs.yaml")
    has_stem = word.endswith(tuple(lexicon["suffixes"])) or word.startswith(tuple(lexicon["prefixes"]))
    return (word,) if has_stem and len(word) > 6 and word.isalpha() and word not in lexicon["no_drug"] else ()
