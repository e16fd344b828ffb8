"""Paraphrasing: a sentence with its abbreviations expanded and medical terms replaced by plain words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

from clinadapt.clinical.abbreviations import abbreviation_mentions
from clinadapt.clinical.lexicon import load_lexicon
from clinadapt.clinical.sections import one_line
from components.synthesize.parsed_note import ParsedNote
from components.synthesize.teacher import Triple

TASK = "Paraphrasing"

MAX_TRIPLES = 6
Replacement = tuple[int, int, str]  # start, end, new text

# Words before an abbreviation or a term that would not fit its replacement: "an MRI" cannot become "a magnetic
# resonance imaging"
_BLOCKS_EXPANSION = re.compile(r"(?:\b(?:an?|normal|recent|previous)|\() ?$")
_BLOCKS_SIMPLIFICATION = re.compile(r"\b(?:no|not|been|was|were|be|is|are|as|of|the|an?|and|or) $")
# Shorthand that a paraphrase for lay readers must not contain
_SHORTHAND = re.compile(
    r"\b[A-Z]{2,}\b|\b[A-Z]-spine|\b(?:[a-z]\. ?){2,}|\b[A-Z]/[A-Z]\b|^\d+[.)]|\b[A-Z] \d|SpO2|____|w/|\bq\.|"
    r"\b(?:dx|hx|tx|rx|pt|wks|yrs|post-?op|pre-?op|meds|exam)\b"
)


def generate(note: ParsedNote) -> Iterator[Triple]:
    """One triple per sentence, those with most replacements first (three count as many)."""
    sentences = [
        (replacements, start, end)
        for start, end in note.sentences
        if (replacements := _replacements(note.text, start, end))
    ]
    note.rng.shuffle(sentences)
    sentences.sort(key=lambda sentence: -min(len(sentence[0]), 3))
    for replacements, start, end in sentences[:MAX_TRIPLES]:
        paraphrase = _replaced(note.text, start, end, replacements)
        if not _SHORTHAND.search(paraphrase):
            sentence = one_line(note.text[start:end])
            yield Triple(
                note.choose(
                    f'Paraphrase without abbreviations, in plain words: "{sentence}"',
                    f'Say this in plainer words: "{sentence}"',
                    f'Rewrite this sentence for a reader who knows no medical shorthand: "{sentence}"',
                ),
                paraphrase,
                TASK,
                spans=((start, end),),
            )


def _replacements(text: str, start: int, end: int) -> list[Replacement]:
    """Replacements in a sentence, in text order; none when one of them would not read well or two overlap."""
    sentence = text[start:end]
    if not 5 <= len(sentence.split()) <= 40 or '"' in sentence or "____" in sentence:
        return []
    expansions = [
        (mention.start, mention.end, mention.expansion) for mention in abbreviation_mentions(text, start, end)
    ]
    if any(
        text[last : last + 2] == " (" or _BLOCKS_EXPANSION.search(text, max(start, first - 8), first)
        for first, last, _ in expansions
    ):
        return []
    plain_words, pattern = _plain_words()
    simplifications = [
        (match.start(), match.end(), plain_words[match[0].lower()])
        for match in pattern.finditer(text, start, end)
        if not _BLOCKS_SIMPLIFICATION.search(text, max(start, match.start() - 8), match.start())
    ]
    replacements = sorted(expansions + simplifications)
    overlap = any(one[1] > other[0] for one, other in pairwise(replacements))
    return [] if overlap else replacements


def _replaced(text: str, start: int, end: int, replacements: list[Replacement]) -> str:
    """A sentence with its replacements, on one line, in correct case and with correct articles."""
    result, position = "", start
    for first, last, new in replacements:
        if text[first].isupper() and (first == start or text[first + 1].islower()):
            new = new[0].upper() + new[1:]
        if last == end and text[last - 1] == ".":
            new += "."
        result += text[position:first] + new
        position = last
    return _correct_articles(one_line(result + text[position:end]))


@cache
def _plain_words() -> tuple[dict[str, str], re.Pattern[str]]:
    plain_words: dict[str, str] = load_lexicon("plain_words.yaml")
    alternatives = "|".join(sorted(plain_words, key=len, reverse=True))
    return plain_words, re.compile(rf"(?<![\w-])(?:{alternatives})(?![\w-])", re.IGNORECASE)


def _correct_articles(text: str) -> str:
    """`a` before consonants and `an` before vowels."""
    text = re.sub(r"\b([Aa]) (?=(?:[aeio]|un(?!i)|ur(?!i))[a-z])", r"\1n ", text)
    return re.sub(r"\b([Aa])n (?=[bcdfgjklmnpqrstvwxyz][a-z]{2}|hi|he)", r"\1 ", text)
