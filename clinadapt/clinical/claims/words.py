"""Words of a text with their stems, and names of a lexicon found among them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from clinadapt.clinical.mention import ASCII_LOWER

_WORD = re.compile(r"[a-z]+(?:['’]s\b)?|\d+")
_STOP = """a an the of in on at to for with and or but is are was were be been has have had do does did not no
he she his her him it its they their this that these those there then than as by from into after before during
about which who patient pt note also any some other all each per day daily very will would can could may might
should s t i you we my your me our us so if when where what how why"""
STOP_WORDS = frozenset(_STOP.split())


class Word(NamedTuple):
    """A word: its span in the text, in characters, and its stem in lower case."""

    start: int
    end: int
    stem: str


def words(text: str) -> list[Word]:
    """Words of a text in order."""
    lower = text.translate(ASCII_LOWER)
    return [Word(*match.span(), stem(match[0])) for match in _WORD.finditer(lower)]


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """A word in lower case without the endings of plural, -ing and -ed."""
    word = re.sub(r"['’]s$", "", word)
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-2] if word.endswith(("ses", "xes", "ches", "shes")) else word[:-1]
    for ending in ("ing", "ed"):
        if len(word) > len(ending) + 3 and word.endswith(ending):
            return word[: -len(ending)]
    return word.removesuffix("e") if len(word) > 4 else word


class Names:
    """Names of things, by the stems of their words.

    Args:
        names: thing -> its names.
    """

    def __init__(self, names: Mapping[str, Iterable[str]]) -> None:
        self._things: dict[tuple[str, ...], str] = {}
        for thing, alternatives in names.items():
            for name in (thing, *alternatives):
                self._things.setdefault(tuple(word.stem for word in words(name)), thing)
        self._longest: dict[str, int] = {}
        for key in self._things:
            self._longest[key[0]] = max(self._longest.get(key[0], 1), len(key))

    def find(self, text_words: list[Word]) -> list[tuple[int, int, str]]:
        """(index of the first word, index behind the last, thing) of the longest names, in order."""
        mentions, index = [], 0
        longest, end = self._longest, len(text_words)
        while index < end:
            most = longest.get(text_words[index].stem)
            if most is None:
                index += 1
                continue
            for count in range(min(most, end - index), 0, -1):
                key = tuple(word.stem for word in text_words[index : index + count])
                if thing := self._things.get(key):
                    mentions.append((index, index + count, thing))
                    index += count
                    break
            else:
                index += 1
        return mentions


def with_names(lexicon: Mapping[str, str]) -> dict[str, list[str]]:
    """Lexicon entries `thing: name, name` as thing -> names."""
    return {
        str(thing): [n.strip() for n in str(names or "").split(",") if n.strip()] for thing, names in lexicon.items()
    }
