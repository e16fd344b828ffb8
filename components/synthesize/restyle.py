"""Restyling of a text as a clinical note: headers, abbreviations and typos of real notes; facts stay the same."""

from __future__ import annotations

import re
from random import Random

from clinadapt.clinical.abbreviations import abbreviate, abbreviation_lexicon
from clinadapt.clinical.drugs import drug_mentions
from clinadapt.clinical.sections import parse_sections, section_lexicon, sentence_spans

LAYOUTS = (("\n\n", ": "), ("\n", ": "), ("\n\n", ":\n"), ("\n", ":\n"), (" ", ": "))  # between sections, after headers
ABBREVIATION_RATES = (0.0, 0.3, 0.6, 0.9)  # share of the known abbreviations that an author uses
SORTED = 0.3  # share of the reports in prose that are sorted under headers
# Section of a sentence in a report without headers, by the first pattern that matches
SECTION_PATTERNS = (
    (
        "physical examination",
        re.compile(r"\b(?:on (?:physical )?exam|examination|vital signs|blood pressure|BP \d)", re.I),
    ),
    (
        "laboratory",
        re.compile(r"\b(?:laborator|hemoglobin|creatinine|white blood cell|potassium|sodium|troponin)", re.I),
    ),
    ("past medical history", re.compile(r"\b(?:past medical|history of|medical history)\b", re.I)),
    ("medications", re.compile(r"^(?:his|her|home|current) medications?\b|^medications?\b", re.I)),
    ("disposition", re.compile(r"\b(?:discharged|follow-up|follow up|was transferred home)\b", re.I)),
    (
        "hospital course",
        re.compile(r"\b(?:was admitted|underwent|was treated|was started|was given|operat|surgery)", re.I),
    ),
)
SECTION_ORDER = (
    "history of present illness", "past medical history", "medications", "physical examination", "laboratory",
    "hospital course", "disposition",
)  # fmt: skip


def restyle(text: str, rng: Random) -> str:
    """Rewrite a text, with or without headers, as a note in another style."""
    between, after_header = rng.choice(LAYOUTS)
    sections = _sections(text) if rng.random() < SORTED or len(parse_sections(text)) >= 2 else [("", "", text)]
    upper_case = between == " " or rng.random() < 0.7
    bodies = []
    for name, header, body in sections:
        if name:
            header = rng.choice([h for h in section_lexicon()[name]["headers"] if len(h) > 1])
        if header:
            body = f"{_in_case(header, upper_case)}{after_header}{body}"
        bodies.append(body)
    rate = rng.choice(ABBREVIATION_RATES)
    shorts = {short for short in abbreviation_lexicon() if rng.random() < rate}
    return _add_typos(abbreviate(between.join(bodies), shorts), rng)


def _in_case(header: str, upper_case: bool) -> str:
    if upper_case:
        return header.upper()
    return header.capitalize() if header.isupper() and len(header) > 3 else header


def _sections(text: str) -> list[tuple[str, str, str]]:
    """(name, header, body) of each section; sentences of a text without headers are sorted by `SECTION_PATTERNS`."""
    sections = parse_sections(text)
    if len(sections) >= 2:
        preamble = text[: sections[0].header_start].strip()
        bodies = [(section.name, section.header, text[section.start : section.end]) for section in sections]
        return ([("", "", preamble)] if preamble else []) + bodies
    by_section: dict[str, list[str]] = {name: [] for name in SECTION_ORDER}
    for number, span in enumerate(sentence_spans(text, 0, len(text))):
        sentence = text[slice(*span)]
        names = [name for name, pattern in SECTION_PATTERNS if pattern.search(sentence)] if number else []
        by_section[names[0] if names else SECTION_ORDER[0]].append(sentence)
    return [(name, name.upper(), " ".join(sentences)) for name, sentences in by_section.items() if sentences]


def _add_typos(text: str, rng: Random) -> str:
    """Add typos to lower-case words of six letters or more: none in a third of the notes, none in or into a drug."""
    if rng.random() < 0.35:
        return text
    drugs = {text[mention.start : mention.end] for mention in drug_mentions(text)}
    parts = re.split(r"(\s+)", text)
    for _ in range(1 + rng.randrange(1 + len(parts) // 200)):
        i = rng.randrange(len(parts))
        word = parts[i]
        if len(word) >= 6 and word.isascii() and word.isalpha() and word.islower() and word not in drugs:
            k = rng.randrange(1, len(word) - 2)
            typo = rng.choice((word[k + 1] + word[k], word[k + 1], word[k] + word[k] + word[k + 1]))
            misspelled = word[:k] + typo + word[k + 2 :]
            parts[i] = word if drug_mentions(misspelled) else misspelled
    return "".join(parts)
