"""Paraphrasing: the sentence that mentions a term, its abbreviations expanded and its medical terms in plain words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import NamedTuple

from clinadapt.clinical.abbreviations import abbreviation_mentions
from clinadapt.clinical.drugs import drugs
from clinadapt.clinical.lexicon import load_lexicon
from clinadapt.clinical.sections import one_line
from clinadapt.privacy.word_lists import english_rank, english_words
from components.synthesize.parsed_note import ParsedNote
from components.synthesize.teacher import Subject, Triple
from components.synthesize.unanswerable import not_mentioned

TASK = "Paraphrasing"

MAX_TRIPLES = 2
MAX_SENTENCES = 30
CHANGED = 0.2  # share of a sentence's words that a paraphrase replaces
_WORDS = re.compile(r"\w+")

# Words before an abbreviation or a term that would not fit its replacement: "an MRI" cannot become "a magnetic
# resonance imaging", pulmonary edema is no swelling
_BLOCKS_EXPANSION = re.compile(r"(?:\b(?:an?|normal|recent|previous|every|each)|\(|/|-) ?$")
_BLOCKS_SIMPLIFICATION = re.compile(
    r"\b(?:pulmonary|portal|intracranial|ocular|orthostatic|gestational|macular|cerebral|vasogenic|nocturnal|"
    r"temporal|oral|sinus|ventricular|supraventricular|paroxysmal|negative|positive) "
    r"\w+$|\b(?:be|been|is|are|was|were|no|the|an?|any|as|well|previously) (?:revealed|demonstrated)$",
    re.IGNORECASE,
)
# An adjective that does not fit `inflammation of pouches in the bowel`
_OF_ONE_WORD = re.compile(r"\b(?!chronic |critical )[a-z]+(?:ed|al|ic|oid|ous|ar|ary) $", re.IGNORECASE)
_MISREAD = re.compile(r"\beyes?\b.*\binject|\binject.*\beyes?\b")  # red eyes, which got no injection
# Shorthand that a paraphrase for lay readers must not contain
_SHORTHAND = re.compile(
    r"\b[A-Z]{2,}\b|\b(?!X-ray)[A-Z]-[A-Za-z]|\b[LR]\b|\b(?:[a-z]\. ?){2,}|\b[A-Z]/[A-Z]\b|^\d+[.)]|\b[A-Z] \d|"
    r"SpO2|____|\w/(?=[\s\w])|\bq\.|"
    r"\b(?:dx|hx|tx|rx|[Pp]t|wks|yrs|post-?op|pre-?op|meds|exam|bilat|temp)\b|[+#@]|\b[A-Z]{1,3}\d|\bx \d"
)
_LONG = 7  # letters
_COMMON = 40_000  # rank of the rarest English word that a lay reader knows
# A list of drugs or of results, which no plain words explain
_LIST = re.compile(r"\d ?(?:mg|mcg|g|units?|mL)\b.*\d ?(?:mg|mcg|g|units?|mL)\b|(?:\d[^\d]+){4}\d")
# Without one a sentence is a list of findings, which no plain words make readable
_VERB = re.compile(
    r"\b(?:is|are|was|were|been|has|have|had|does|did|will|would|should|can|could|may|might|shows|reveals|den(?:y|ies)|"
    r"reports|states|complains|takes|took|gave|seems|appears|continues|underwent|presents|feels|felt|began|became|"
    r"\w{3,}ed)\b"
)
_PLAINER = (
    'Put the sentence that mentions "{}" into plain words, without abbreviations.',
    'What does the note say about "{}"? Say it in plainer words.',
    'Rewrite for the patient what the note says about "{}".',
    'Explain in everyday words the sentence with "{}".',
    'Paraphrase for a lay reader the statement about "{}".',
)
_WRITTEN_OUT = (
    'Rewrite the sentence that mentions "{}" without abbreviations.',
    'Write out the sentence with "{}", its abbreviations in full.',
    'Put what the note says about "{}" into full words, without abbreviations.',
)
_LEVELS = re.compile(r"\b(?:grade|stage|type|class|status) [IVX\d]|\d ?%")


class Replacement(NamedTuple):
    """A span of the text and what replaces it; `kind`: abbreviation, medical term, or style, which changes the tone
    alone."""

    start: int
    end: int
    new: str
    kind: str


def generate(note: ParsedNote) -> Iterator[Triple]:
    """One triple per sentence whose paraphrase is no echo; the sentence is named by a term that occurs nowhere else."""
    sentences = [
        (replacements, start, end)
        for start, end in note.sentences
        if (replacements := _replacements(note.text, start, end))
    ]
    note.rng.shuffle(sentences)
    sentences.sort(key=lambda sentence: -min(len(sentence[0]), 3))
    count = 0
    for replacements, start, end in sentences[:MAX_SENTENCES]:
        paraphrase = _replaced(note.text, start, end, replacements)
        terms = [each for each in replacements if each.kind != "style" and _is_only_mention(note.text, each)]
        unfit = any(pattern.search(paraphrase) for pattern in (_LIST, _SHORTHAND, _MISREAD))
        if unfit or not terms or count == MAX_TRIPLES:
            continue
        in_plain_words = any(each.kind == "medical" for each in replacements)
        if _has_unknown_word(paraphrase, in_plain_words):
            continue
        count += 1
        term = note.rng.choice(terms)
        name = note.text[term.start : term.end]
        yield Triple(
            note.choose(*(wording.format(name) for wording in (_PLAINER if in_plain_words else _WRITTEN_OUT))),
            paraphrase,
            TASK,
            spans=((start, end),),
            subject=Subject(
                "|".join(rf"(?<!\w){re.escape(form)}" for form in (name, term.new)), not_mentioned(f'"{name}"')
            ),
        )


def _has_unknown_word(paraphrase: str, in_plain_words: bool) -> bool:
    """Whether a paraphrase holds a cut word (`abdo`) or, in plain words, a long one that is rare; drugs may stand."""
    terms, plain = _single_words()
    return any(
        word not in english_words() and word not in terms
        if len(word) < _LONG
        else in_plain_words and english_rank(word) > _COMMON and word not in plain and not drugs(word)
        for word in re.findall(r"(?<![\w'])[a-z]{3,}(?![\w'])", paraphrase)
    )


def _is_only_mention(text: str, term: Replacement) -> bool:
    name = re.escape(text[term.start : term.end])
    return len(re.findall(rf"(?<!\w){name}(?!\w)", text, re.IGNORECASE)) == 1


def _replacements(text: str, start: int, end: int) -> list[Replacement]:
    """Replacements in a sentence, in text order; none if one would not read well, two overlap, or they are too few."""
    sentence = text[start:end]
    words = len(_WORDS.findall(sentence))
    if not 5 <= words <= 40 or re.search('"|____|  ', sentence) or not _VERB.search(sentence):
        return []
    expansions = [
        Replacement(mention.start, mention.end, mention.expansion, "abbreviation")
        for mention in abbreviation_mentions(text, start, end)
    ]
    if any(_reads_badly(text, start, end, each) for each in expansions):
        return []
    plain_words, pattern = _plain_words()
    simplifications = [
        Replacement(match.start(), match.end(), *plain_words[match[0].lower()])
        for match in pattern.finditer(text, start, end)
        if not _BLOCKS_SIMPLIFICATION.search(text[max(start, match.start() - 18) : match.end()])
        and not (
            plain_words[match[0].lower()][0].startswith("inflammation of")
            and _OF_ONE_WORD.search(text, start, match.start())
        )
    ]
    replacements = sorted(expansions + simplifications)
    overlap = any(one.end > other.start for one, other in pairwise(replacements))
    telling = [each for each in replacements if each.kind != "style"]
    changed = sum(max(len(each.new.split()), len(text[each.start : each.end].split())) for each in telling)
    return [] if overlap or len(replacements) < 2 or changed < CHANGED * words else replacements


def _reads_badly(text: str, start: int, end: int, expansion: Replacement) -> bool:
    """Whether an expansion does not fit its neighbors, or repeats one: `hemoglobin A1c`."""
    before, after = text[max(start, expansion.start - 24) : expansion.start], text[expansion.end : expansion.end + 24]
    neighbors = [*_WORDS.findall(before)[-2:], *_WORDS.findall(after[: end - expansion.end])[:2]]
    repeated = {word.lower() for word in neighbors} & set(expansion.new.lower().split())
    is_infinitive = expansion.new.startswith("to ")
    is_adverb = re.match(r"(?:by|as|at|in|on|once|twice|three|four|every) ", expansion.new)
    return bool(
        repeated
        or is_infinitive
        or (is_adverb and re.search(r"\b(?:the|his|her|of|with|and|or|for|to|on|an?|good) $", before))
        or (expansion.new == "as needed" and re.match(r" (?!for\b|and\b|or\b|if\b|when\b)[a-z]", after))
        or (expansion.new == "white blood cell" and not after.startswith(" count"))
        or after[:2] == " ("
        or _BLOCKS_EXPANSION.search(before)
        or _LEVELS.search(before)
    )


def _replaced(text: str, start: int, end: int, replacements: list[Replacement]) -> str:
    """A sentence with its replacements, on one line, in correct case and with correct articles."""
    result, position = "", start
    for first, last, new, _ in replacements:
        if text[first].isupper() and (first == start or text[first + 1].islower()):
            new = new[0].upper() + new[1:]
        if last == end and text[last - 1] == ".":
            new += "."
        result += text[position:first]
        for one, several in (("is", "are"), ("was", "were")) if re.search(r"[^s]s$", new) else ():
            result = re.sub(rf"\b([Tt]here) {one} no $", rf"\1 {several} no ", result)
        result += new
        position = last
    return _correct_articles(one_line(result + text[position:end]))


@cache
def _plain_words() -> tuple[dict[str, tuple[str, str]], re.Pattern[str]]:
    """Word -> plain words, and the kind of replacement, medical or style; and a pattern of all words."""
    lexicon = load_lexicon("plain_words.yaml")
    plain_words = {word: (plain, kind) for kind in ("style", "medical") for word, plain in lexicon[kind].items()}
    alternatives = "|".join(sorted(plain_words, key=len, reverse=True))
    return plain_words, re.compile(rf"(?<![\w-])(?:{alternatives})(?![\w-])", re.IGNORECASE)


@cache
def _single_words() -> tuple[frozenset[str], frozenset[str]]:
    """The words of which the terms consist that are replaced, and those of their plain words."""
    plain_words, _ = _plain_words()
    terms = frozenset(word for term in plain_words for word in term.split())
    return terms, frozenset(word for plain, _ in plain_words.values() for word in re.findall(r"\w+", plain))


def _correct_articles(text: str) -> str:
    """`a` before consonants and `an` before vowels."""
    text = re.sub(r"\b([Aa]) (?=(?:[aeio]|un(?!i)|ur(?!i))[a-z])", r"\1n ", text)
    return re.sub(r"\b([Aa])n (?=[bcdfgjklmnpqrstvwxyz][a-z]{2}|hi|he)", r"\1 ", text)
