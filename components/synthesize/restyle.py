"""A note in another hand: headers, abbreviations and slips of real notes; never another fact."""

from __future__ import annotations

import re
from random import Random

from clinadapt.clinical import abbreviations
from clinadapt.clinical.drugs import drug_mentions
from clinadapt.clinical.sections import known, parse, sentences

LAYOUTS = (("\n\n", ": "), ("\n", ": "), ("\n\n", ":\n"), ("\n", ":\n"), (" ", ": "))  # between sections, after headers
# Where the sentences of a report without headers belong, by their first words or what they speak of, in this order
PLACES = (
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
ORDER = ("history of present illness", "past medical history", "medications", "physical examination", "laboratory",
         "hospital course", "disposition")  # fmt: skip


def restyled(text: str, rng: Random) -> str:
    """A note from a text with or without headers."""
    parts = [(name or header, name, body) for name, header, body in _parts(text)]
    between, after = rng.choice(LAYOUTS)
    capitals = between == " " or rng.random() < 0.7
    written = []
    for header, name, body in parts:
        if name:
            header = rng.choice([h for h in known()[name]["headers"] if len(h) > 1])
        if header:
            header = (
                header.upper() if capitals else header.capitalize() if header.isupper() and len(header) > 3 else header
            )
            body = f"{header}{after}{body}"
        written.append(body)
    habit = rng.choice((0.0, 0.3, 0.6, 0.9))
    wanted = {short for short in abbreviations.listed() if rng.random() < habit}
    return _slips(abbreviations.shortened(between.join(written), wanted), rng)


def _parts(text: str) -> list[tuple[str, str, str]]:
    """(name, header, body) of each section; of a text without headers by what its sentences speak of."""
    sections = parse(text)
    if len(sections) >= 2:
        head = text[: sections[0].header_start].strip()
        return ([("", "", head)] if head else []) + [(s.name, s.header, text[s.start : s.end]) for s in sections]
    sorted_: dict[str, list[str]] = {name: [] for name in ORDER}
    for number, (start, end) in enumerate(sentences(text, 0, len(text))):
        sentence = text[start:end]
        found = [name for name, pattern in PLACES if pattern.search(sentence)] if number else []
        sorted_[found[0] if found else ORDER[0]].append(sentence)
    return [(name, name.upper(), " ".join(told)) for name, told in sorted_.items() if told]


def _slips(text: str, rng: Random) -> str:
    """Typing slips in some plain words, one in a hundred at most; none in a third of the notes, none in a drug."""
    if rng.random() < 0.35:
        return text
    drugs = {text[mention.start : mention.end] for mention in drug_mentions(text)}
    parts = re.split(r"(\s+)", text)
    for _ in range(1 + rng.randrange(1 + len(parts) // 200)):
        i = rng.randrange(len(parts))
        word = parts[i]
        if len(word) >= 6 and word.isascii() and word.isalpha() and word.islower() and word not in drugs:
            k = rng.randrange(1, len(word) - 2)
            slip = rng.choice((word[k + 1] + word[k], word[k + 1], word[k] + word[k] + word[k + 1]))
            slipped = word[:k] + slip + word[k + 2 :]
            parts[i] = word if drug_mentions(slipped) else slipped
    return "".join(parts)
