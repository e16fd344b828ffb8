"""Words of a text with their stems, and names of a lexicon found among them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache, partial
from itertools import accumulate
from typing import NamedTuple

from clinadapt.clinical.mention import ascii_lower

_WORD = re.compile(r"([a-z]+(?:['’]s\b)?|\d+)")
_STOP = """a an the of in on at to for with and or but is are was were be been has have had do does did not no
he she his her him it its they their this that these those there then than as by from into after before during
about which who patient pt note also any some other all each per day daily very will would can could may might
should s t i you we my your me our us so if when where what how why"""
# A name with "the" stands for any of them: blood in the urine, blood in your urine
_DETERMINERS = dict.fromkeys(
    ("the", "a", "an", "his", "her", "my", "your", "our", "their", "this", "that", "thes", "thos"), "the"
)
_SPELLED = re.compile(r"[A-Z](?<!\w.)(?: [A-Z])+\b")  # D V T, as transcripts write what is spelled out
_BRITISH_OUR = re.compile(r"(?<=\w{3})our(?=s?$)")
_BRITISH_ISE = re.compile(r"(?<=\w{4}[iy])s(?=(?:e[sd]?|ing|ation)$)")
_BRITISH_RE = re.compile(r"(?<=\w{2}[bt])re(?=s?$)")
_FRACTURE = re.compile(  # "# left clavicle", "R radius # 6/52"; not "# of packs"
    r"#(?= ?(?:[a-z](?!f\b)|\d+(?:st|nd|rd|th)\b))|(?<=[a-z] )#(?= \d+/(?:52|12|7)\b| ?[.,;)]|\s*(?:\n|\Z))"
)


_IRREGULAR = {  # a form -> its verb
    "torn": "tear", "bled": "bleed", "admission": "admitt", "seen": "see", "saw": "see", "fell": "fall",
    "fallen": "fall", "woke": "wake", "woken": "wake", "grew": "grow", "grown": "grow", "ate": "eat", "eaten": "eat",
    "slept": "sleep", "bitten": "bite", "biting": "bite",
}  # fmt: skip
# Endings of nouns and adjectives that are made of verbs and nouns, the longest first, and how much must be left
_DERIVED = [
    ("ization", 4), ("ation", 4), ("ition", 4), ("iz", 4), ("at", 5), ("ion", 4), ("ment", 4), ("ance", 5),
    ("ence", 5), ("age", 4), ("ive", 5), ("al", 4), ("um", 4),
]  # fmt: skip
_SHORT = {"sx": "symptoms", "hx": "history", "rh": "rhesus", "inj": "injection"}


class Word(NamedTuple):
    """A word: its span in the text, in characters, and its stem in lower case."""

    start: int
    end: int
    stem: str


_word = partial(tuple.__new__, Word)  # twice as fast as the constructor


def words(text: str) -> list[Word]:
    """Words of a text in order."""
    lower = ascii_lower(text)
    parts = _WORD.split(lower)  # gap, word, gap, ..., gap; faster than match objects
    ends = list(accumulate(map(len, parts)))
    found = list(map(_word, zip(ends[0:-1:2], ends[1::2], map(stem, parts[1::2]), strict=True)))
    extra = [Word(*match.span(), _spelled(match[0])) for match in _SPELLED.finditer(text)]
    if extra:
        covered = {position for word in extra for position in range(word.start, word.end)}
        found = [word for word in found if word.start not in covered]
    if "#" in lower:
        extra += [Word(*match.span(), stem("fracture")) for match in _FRACTURE.finditer(lower)]
    return sorted([*found, *extra]) if extra else found


def _spelled(letters: str) -> str:
    """`mri` of "M R I"; a pronoun behind the letters is none of them: "C T I had"."""
    joined = letters.replace(" ", "").lower()
    return joined.removesuffix("i") if joined not in ("mri", "uti", "uri") else joined


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """A word in lower case in American spelling, without the endings of plural, -ing and -ed."""
    word = _SHORT.get(word) or _IRREGULAR.get(word) or re.sub(r"['’]s$", "", word)
    word = _american(word)
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-2] if word.endswith(("ses", "xes", "ches", "shes")) else word[:-1]
    for ending in ("ing", "ed"):
        if len(word) > len(ending) + 3 and word.endswith(ending):
            return word[: -len(ending)]
    return word.removesuffix("e") if len(word) > 4 else word


@lru_cache(maxsize=100_000)
def root(stem_of_word: str) -> str:
    """What a verb, its noun and its adjective have in common: `transfus` of transfused and transfusion."""
    for ending, least in _DERIVED:
        if stem_of_word.endswith(ending) and len(stem_of_word) - len(ending) >= least:
            return stem_of_word[: -len(ending)]
    return stem_of_word


def _american(word: str) -> str:
    """A British word as Americans write it: oedema, haemorrhage, tumour, catheterised, centre, sulphate."""
    if len(word) > 5:  # not toes and shoes
        word = word.replace("ae", "e").replace("oe", "e").replace("sulph", "sulf")
    return _BRITISH_RE.sub("er", _BRITISH_ISE.sub("z", _BRITISH_OUR.sub("or", word)))


STOP_WORDS = frozenset(each for word in _STOP.split() for each in (word, stem(word)))


class Names:
    """Names of things, by the stems of their words.

    Args:
        names: thing -> its names.
    """

    def __init__(self, names: Mapping[str, Iterable[str]]) -> None:
        self._things: dict[tuple[str, ...], str] = {}
        for thing, alternatives in names.items():
            for name in (thing, *alternatives):
                self._things.setdefault(tuple(canonical(words(name))), thing)
        self._longest: dict[str, int] = {}
        for key in self._things:
            self._longest[key[0]] = max(self._longest.get(key[0], 1), len(key))

    def find(self, stems: list[str]) -> list[tuple[int, int, str]]:
        """(index of the first word, index behind the last, thing) of the longest names, in order.

        Args:
            stems: of the words of a text, as of `canonical`.
        """
        mentions, behind = [], 0
        for index in [i for i, first in enumerate(stems) if first in self._longest]:
            if index < behind:
                continue
            for count in range(min(self._longest[stems[index]], len(stems) - index), 0, -1):
                if thing := self._things.get(tuple(stems[index : index + count])):
                    behind = index + count
                    mentions.append((index, behind, thing))
                    break
        return mentions


def canonical(text_words: Iterable[Word]) -> list[str]:
    """Stems, with one word for all determiners."""
    return [_DETERMINERS.get(stem, stem) for _, _, stem in text_words]


def with_names(lexicon: Mapping[str, str]) -> dict[str, list[str]]:
    """Lexicon entries `thing: name, name` as thing -> names."""
    return {
        str(thing): [n.strip() for n in str(names or "").split(",") if n.strip()] for thing, names in lexicon.items()
    }
