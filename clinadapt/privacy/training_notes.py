"""Notes that the tagger learns from: templates and invented people around notes of the built-in cases.

The same seed gives the same notes on every machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from clinadapt.data.builtin_cases import generate
from clinadapt.privacy.people import People
from clinadapt.privacy.spans import Span
from clinadapt.privacy.word_lists import own_list

_LABELS = {
    slot: kind
    for kind, slots in {
        "NAME": "full fullmid first last lastcaps lastfirst lastfirstcaps initlast lower koreanname lastinit "
                "lastii romkorean",
        "DATE": "date md dm", "OTHERID": "code", "VEHICLE": "plate", "INITIALS": "initials",
        "HOSPITAL": "hospital site", "EMPLOYER": "firm shop", "CITY": "city", "STREET": "street road",
        "PHONE": "phone", "ZIP": "zip",
    }.items()
    for slot in slots.split()
}  # fmt: skip
_SLOT = re.compile(r"\{([a-zA-Z]+)\}")


class LabelledNote(NamedTuple):
    """A text and the spans of its identifiers."""

    text: str
    spans: list[Span]


def training_notes(count: int, seed: int) -> Iterator[LabelledNote]:
    """Invented notes, in which every identifier is labelled; a quarter of them in capitals."""
    rng = Random(seed)
    templates = own_list("training_templates.yaml")
    lines = [line for note in generate(count // 2, seed) for line in re.split(r"(?<=\. )|\n+", note["transcription"])]
    for _ in range(count):
        people = People(rng)
        pieces = [rng.choice(templates["headers"])] if rng.random() < 0.6 else []
        for _ in range(rng.randint(2, 5)):
            pieces.append(rng.choice(templates["positives"]))
            pieces.append(rng.choice(templates["negatives"]))
            if rng.random() < 0.6:
                pieces.append(rng.choice(lines).strip().replace("{", "(").replace("[", "("))
        if rng.random() < 0.4:
            pieces.append(rng.choice(templates["footers"]))
        note = _filled(pieces, people, rng)
        text = note.text.upper() if rng.random() < 0.25 else note.text
        yield LabelledNote(text, note.spans) if len(text) == len(note.text) else note


def _filled(pieces: list[str], people: People, rng: Random) -> LabelledNote:
    text, spans = "", []
    for piece in pieces:
        if text:
            text += rng.choice((" ", " ", " ", "\n", "\n\n")) if "\n" not in piece else "\n\n"
        for part in re.split(r"(\{[a-zA-Z]+\})", _chosen(piece, rng)):
            if slot := _SLOT.fullmatch(part):
                value = people.value(slot[1])
                if slot[1] in _LABELS:
                    spans.append(Span(len(text), len(text) + len(value), _LABELS[slot[1]]))
                text += value
            else:
                text += part
    return LabelledNote(text, spans)


def _chosen(template: str, rng: Random) -> str:
    """One of each `[a|b|c]`, also of an option that has slots."""
    return re.sub(r"\[([^\[\]]*\|[^\[\]]*)\]", lambda match: rng.choice(match[1].split("|")), template)
