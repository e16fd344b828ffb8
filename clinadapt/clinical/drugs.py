"""Drugs of a text by their generic names, from drugs.yaml."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib import resources
from typing import Any

import yaml

from clinadapt.clinical.mention import Mention

_WORD = re.compile(r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*")


def drugs(text: str) -> set[str]:
    """Generic names of the drugs of a text, in lower case."""
    return {fact for _, _, fact in drug_mentions(text)}


def drug_mentions(text: str) -> list[Mention]:
    """Drugs in the order of the text; a brand of two drugs is two mentions of the same characters."""
    names, longest = _drug_names()
    words = [(match.start(), match.end(), match[0].lower()) for match in _WORD.finditer(text)]
    mentions, at = [], 0
    while at < len(words):
        start, end, word = words[at]
        used, generics = 1, names.get(word, ())
        for count in range(longest.get(word, 1), 1, -1):
            phrase = text[start : words[min(at + count, len(words)) - 1][1]]
            if phrase.lower() in names:
                used, end, generics = count, start + len(phrase), names[phrase.lower()]
                break
        mentions += [Mention(start, end, generic) for generic in generics or _by_stem(word)]
        at += used
    return mentions


@cache
def _drug_names() -> tuple[dict[str, tuple[str, ...]], dict[str, int]]:
    """Name in lower case -> generic names; first word -> words of the longest name that begins so."""
    words = lexicon()
    names: dict[str, tuple[str, ...]] = {generic.lower(): (generic.lower(),) for generic in words["generic"]}
    for generic, brands in words["generic"].items():
        names |= {brand.strip().lower(): (generic.lower(),) for brand in brands.split(",") if brand.strip()}
    names |= {brand.lower(): tuple(mixed.split(", ")) for brand, mixed in words["mixed"].items()}
    longest: dict[str, int] = {}
    for name in names:
        first, *rest = name.split()
        longest[first] = max(longest.get(first, 1), 1 + len(rest))
    return names, longest


@lru_cache(maxsize=50_000)
def _by_stem(word: str) -> tuple[str, ...]:
    words = lexicon()
    like = (word.endswith(tuple(words["suffixes"])) or word.startswith(tuple(words["prefixes"]))) and len(word) > 6
    return (word,) if like and word.isalpha() and word not in words["no_drug"] else ()


@cache
def lexicon() -> dict[str, Any]:
    """drugs.yaml."""
    words: dict[str, Any] = yaml.safe_load(resources.files(__package__).joinpath("drugs.yaml").read_text("utf-8"))
    return words
