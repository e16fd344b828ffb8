"""What makes the notes of two writers differ: abbreviations, typing errors and other wordings."""

from __future__ import annotations

import re
from functools import cache
from random import Random

from clinadapt.data.builtin_cases.vocabulary import vocabulary


def abbreviate(text: str, rng: Random) -> str:
    """Abbreviate the long forms that this writer abbreviates: never, always, or only after the first mention."""
    habit = rng.choice((0.0, 0.2, 0.5, 0.8))
    short = {long: short for long, short in vocabulary()["long_forms"].items() if rng.random() < habit}
    introduced = {long for long, form in short.items() if form.isupper() and rng.random() < 0.35}

    def shorten(match: re.Match[str]) -> str:
        long = match[0]
        if long in introduced:
            introduced.remove(long)
            return f"{long} ({short[long]})"
        return short.get(long, long)

    return _long_forms().sub(shorten, text) if short else text


@cache
def _long_forms() -> re.Pattern[str]:
    return re.compile(r"\b(" + "|".join(sorted(vocabulary()["long_forms"], key=len, reverse=True)) + r")\b")


def add_typos(text: str, rng: Random) -> str:
    """Misspell about one word in eighty; a third of the notes have no typing error."""
    if rng.random() < 0.35:
        return text
    words = text.split(" ")
    for _ in range(1 + rng.randrange(1 + len(words) // 80)):
        i = rng.randrange(len(words))
        words[i] = _misspell(words[i], rng)
    return " ".join(words)


def _misspell(word: str, rng: Random) -> str:
    """Drop, double or swap a letter."""
    if len(word) < 6 or not word.isalpha() or not word.islower():
        return word
    i = rng.randrange(1, len(word) - 2)
    middle = rng.choice((word[i + 1] + word[i], word[i + 1], word[i] + word[i] + word[i + 1]))
    return word[:i] + middle + word[i + 2 :]


def paraphrase(text: str, rng: Random) -> str:
    """Replace a few words by synonyms, as if the note had been dictated a second time."""
    synonyms = vocabulary()["synonyms"]
    parts = re.split(r"(\W+)", text)
    replaceable = [i for i, word in enumerate(parts) if word in synonyms]
    for i in rng.sample(replaceable, min(len(replaceable), 2 + len(parts) // 240)):
        parts[i] = synonyms[parts[i]]
    return add_typos("".join(parts), rng)
