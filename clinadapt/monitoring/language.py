"""The language of a note, by its function words, or by its script where that tells."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import cache, lru_cache
from importlib.resources import files

import yaml

UNKNOWN = "unknown"
_READ = 4_000  # characters
_LEAST = 3  # function words; a list of values has none
_WORD = re.compile(r"[^\W\d_]+")
# First word of a letter's Unicode name -> code of the script's main language
_SCRIPTS = {
    "CYRILLIC": "ru", "GREEK": "el", "ARABIC": "ar", "HEBREW": "he", "DEVANAGARI": "hi", "THAI": "th",
    "HANGUL": "ko", "HIRAGANA": "ja", "KATAKANA": "ja", "CJK": "zh",
}  # fmt: skip


@cache
def _function_words() -> dict[str, frozenset[str]]:
    text = (files("clinadapt.monitoring") / "language.yaml").read_text(encoding="utf-8")
    # YAML reads a bare no or on as a truth value
    return {code: frozenset(map(str, words)) for code, words in yaml.load(text, yaml.BaseLoader).items()}


def languages() -> tuple[str, ...]:
    """Every value of `language`."""
    return (*_function_words(), *dict.fromkeys(_SCRIPTS.values()), UNKNOWN)


def language(note: str) -> str:
    """ISO 639-1 code of a note's language, or UNKNOWN where nothing tells. For one script, as Cyrillic, its most
    common language stands for all."""
    words = _WORD.findall(note[:_READ].lower())
    letters = Counter(_script(letter) for word in words for letter in word)
    script = max(letters, key=lambda name: letters[name], default="")
    if script in _SCRIPTS:
        return "ja" if letters["HIRAGANA"] + letters["KATAKANA"] and script == "CJK" else _SCRIPTS[script]
    counts = {code: sum(word in known for word in words) for code, known in _function_words().items()}
    best = max(counts, key=lambda code: counts[code])
    return best if counts[best] >= _LEAST else UNKNOWN


@lru_cache(maxsize=4096)
def _script(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0]
