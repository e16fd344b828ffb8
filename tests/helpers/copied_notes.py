"""Notes as hospitals copy them: a generator of pairs (note, copy) by kind of copy."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

from clinadapt.clinical.abbreviations import abbreviate, abbreviation_lexicon, abbreviation_mentions

_OTHER_SEX = {"he": "she", "she": "he", "his": "her", "her": "his", "man": "woman", "woman": "man", "male": "female",
              "female": "male", "gentleman": "lady", "lady": "gentleman"}  # fmt: skip


def copied_forward(note: str, others: list[str], rng: Random) -> str:
    """The note within three other notes of its length."""
    words = " ".join(rng.sample(others, min(12, len(others)))).split()[: 3 * len(note.split())]
    half = len(words) // 2
    return f"{' '.join(words[:half])}\n{note}\n{' '.join(words[half:])}"


def last_quarter(note: str, others: list[str], rng: Random) -> str:
    """The last quarter of the note."""
    words = note.split()
    return " ".join(words[-len(words) // 4 :])


def another_person(note: str, others: list[str], rng: Random) -> str:
    """Another name and sex, and other numbers."""
    note = re.sub(r"\b(Mr|Mrs|Ms)\. \w+", lambda m: "Ms. Okafor" if m[1] == "Mr" else "Mr. Lindqvist", note)
    note = re.sub(
        r"\b(?:" + "|".join(_OTHER_SEX) + r")\b", lambda m: _OTHER_SEX[m[0].lower()], note, flags=re.IGNORECASE
    )
    return re.sub(r"\d", lambda _: str(rng.randrange(10)), note)


def reordered(note: str, others: list[str], rng: Random) -> str:
    """The sentences in another order."""
    sentences = re.split(r"(?<=[.!?])\s+", note)
    rng.shuffle(sentences)
    return " ".join(sentences)


def abbreviated(note: str, others: list[str], rng: Random) -> str:
    """Abbreviations written out, and long forms abbreviated."""
    result, position = "", 0
    for mention in abbreviation_mentions(note, 0, len(note)):
        if mention.start >= position:
            result += note[position : mention.start] + mention.expansion
            position = mention.end
    return abbreviate(result + note[position:], set(abbreviation_lexicon()))


KINDS: dict[str, Callable[[str, list[str], Random], str]] = {
    kind.__name__: kind for kind in (copied_forward, last_quarter, another_person, reordered, abbreviated)
}
