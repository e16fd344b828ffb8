"""Drug mentions by generic name, from the lists of `drug_names` and the name stems of INN and USAN."""

from __future__ import annotations

import re
from functools import cache, lru_cache

from clinadapt.clinical.drug_names import generics_by_name
from clinadapt.clinical.lexicon import load_lexicon
from clinadapt.clinical.mention import Mention

_WORD = re.compile(r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*")


def drugs(text: str) -> set[str]:
    """Generic names of the drugs in a text, in lower case."""
    return {mention.value for mention in drug_mentions(text)}


def drug_mentions(text: str) -> list[Mention]:
    """Drugs in text order; a brand that combines two drugs yields two mentions of the same span."""
    names, max_words = generics_by_name(), _max_words()
    words = [(match.start(), match.end(), match[0].lower()) for match in _WORD.finditer(text)]
    mentions, index = [], 0
    while index < len(words):
        start, end, word = words[index]
        length, generics = 1, names.get(word, ())
        for count in range(max_words.get(word, 1), 1, -1):
            phrase = text[start : words[min(index + count, len(words)) - 1][1]]
            if phrase.lower() in names:
                length, end, generics = count, start + len(phrase), names[phrase.lower()]
                break
        mentions += [Mention(start, end, generic) for generic in generics or _generics_by_stem(word)]
        index += length
    return mentions


@cache
def _max_words() -> dict[str, int]:
    """First word of a name -> number of words of the longest name that begins so."""
    max_words: dict[str, int] = {}
    for name in generics_by_name():
        first, *rest = name.split()
        max_words[first] = max(max_words.get(first, 1), 1 + len(rest))
    return max_words


@lru_cache(maxsize=50_000)
def _generics_by_stem(word: str) -> tuple[str, ...]:
    lexicon = load_lexicon("drugs.yaml")
    has_stem = word.endswith(tuple(lexicon["suffixes"])) or word.startswith(tuple(lexicon["prefixes"]))
    return (word,) if has_stem and len(word) > 6 and word.isalpha() and word not in lexicon["no_drug"] else ()
