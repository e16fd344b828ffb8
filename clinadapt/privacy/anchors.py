"""Where in a text an expression can match: tried there alone, it takes a small part of the time of a search through the
whole text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from clinadapt.privacy.features import Token

NUMBER = "a number, and a bracket or a plus before it"
NEAR_NUMBER = "a word or number shortly before a number"
STREET_NUMBER = "a capital before a German street and its number"
STATE = "a capital before a state"
DOMAIN = "a word or number before the end of a domain"
LINE_END = "a word or number shortly before the end of a line"
_DISTANCES = {NEAR_NUMBER: 24, STREET_NUMBER: 110, STATE: 90, DOMAIN: 164, LINE_END: 12}  # characters
_STREETS = ("straße", "strasse", "str", "weg", "platz", "allee", "gasse", "ring", "damm", "ufer")

Anchor = str  # one of the above, or heads: how the first word begins, as "^apt|flat"


def heads(alternatives: str) -> Anchor:
    """How the first word of what an expression of alternatives matches begins, in small letters."""
    return "^" + "|".join(first_words(alternatives))


def first_words(alternatives: str) -> list[str]:
    """The first words of alternatives."""
    found = re.findall(r"(?:^|\||\(\?:|\)\?)([^\W\d_]+)(\??)", alternatives)
    return sorted({word[:-1] if optional else word for word, optional in found} - {""})


class AnchorKinds:
    """The kinds of anchors that expressions have."""

    def __init__(self, anchors: Iterable[Anchor], states: set[str], domains: set[str]) -> None:
        """
        Args:
            anchors: of the expressions.
            states: the abbreviations of states, in capitals, and the first words of their names, in small letters.
            domains: the ends of domains.
        """
        self.states, self.domains = states, domains
        self._heads: dict[str, list[tuple[Anchor, frozenset[str], tuple[str, ...]]]] = {}  # by their first letter
        for anchor in sorted({anchor for anchor in anchors if anchor[0] == "^"}):
            words = anchor[1:].split("|")
            for letter in sorted({word[0] for word in words}):
                longer = tuple(word for word in words if len(word) > 1 and word[0] == letter)
                self._heads.setdefault(letter, []).append((anchor, frozenset(words), longer))
        self.of_word = lru_cache(maxsize=30_000)(self._of_word)

    def _of_word(self, word: str) -> list[Anchor]:
        """The anchors that a word begins or is an end of; of heads, those one of which it begins with; a head of one
        letter is a whole word."""
        lower = word.lower()
        heads_of_letter = self._heads.get(lower[0], ())
        found = [anchor for anchor, words, longer in heads_of_letter if lower.startswith(longer) or lower in words]
        ends = {
            STATE: word in self.states or lower in self.states,
            DOMAIN: lower in self.domains,
            STREET_NUMBER: lower.endswith(_STREETS),
        }
        return [*found, *(kind for kind, is_end in ends.items() if is_end)]


class Anchors:
    """The places of one text where expressions are tried."""

    def __init__(self, text: str, words: Sequence[Token], kinds: AnchorKinds) -> None:
        """`words`: tokens of the text."""
        self._text, self._words = text, words
        self._places: dict[Anchor, list[int]] = {}
        self._ends: dict[str, list[int]] = {kind: [] for kind in _DISTANCES}
        ends = self._ends
        street = False
        for start, _, word in words:
            if word[0].isalpha():
                street = False
                for anchor in kinds.of_word(word):
                    if anchor == STREET_NUMBER:  # if a number follows
                        street = True
                    elif anchor not in ends:
                        self._places.setdefault(anchor, []).append(start)
                    elif anchor != DOMAIN or text[start - 1 : start] == ".":
                        ends[anchor].append(start)
            elif word[0].isdigit():
                ends[NEAR_NUMBER].append(start)
                if street:
                    ends[STREET_NUMBER].append(start)
                street = False
            elif word[0] == "\n":
                ends[LINE_END].append(start)
        ends[LINE_END].append(len(text))
        before = (start - back for start in ends[NEAR_NUMBER] for back in (1, 2) if start >= back)
        self._places[NUMBER] = sorted({*ends[NEAR_NUMBER], *(place for place in before if text[place] in "(+")})

    def _before(self, kind: str) -> list[int]:
        """Starts of the words and numbers, or of those with a capital, that are at most so many characters before one
        of the ends of a kind, or there."""
        ends, distance, capital = self._ends[kind], _DISTANCES[kind], kind in (STATE, STREET_NUMBER)
        if not ends:
            return []
        following = iter([*ends, len(self._text) + distance + 1])
        end, result = next(following), []
        for start, _, word in self._words:
            while end < start:
                end = next(following)
            if end - start <= distance and (word[0].isupper() if capital else word[0].isalnum() or word[0] == "*"):
                result.append(start)
        return result

    def matches(self, anchor: Anchor, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
        """Matches of an expression, from left to right, that do not overlap."""
        if anchor in _DISTANCES and anchor not in self._places:
            self._places[anchor] = self._before(anchor)
        end = 0
        for place in self._places.get(anchor, ()):
            if place >= end and (match := pattern.match(self._text, place)):
                yield match
                end = match.end()
