"""Notes by hand that the tagger learns from, each several times: as it is, and with invented people, places and firms
where identifiers stand (mention replacement: Dai and Adel 2020).

Templates teach one context at a time; whole notes, how often identifiers stand among words that are none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random

from clinadapt.privacy.people import People
from clinadapt.privacy.spans import Span
from clinadapt.privacy.training_notes import LabelledNote
from clinadapt.privacy.word_lists import own_list

_SHARE = 0.6  # of the identifiers that are replaced
_CAPITALS = 0.15  # of the other copies; notes in small letters are read as if in capitals
_MARKED = re.compile(r"\[\[([A-Z_0-9]+) (.*?)\]\]")
# Type that the tagger tells -> those of it that notes name; others are found by patterns alone
_LABELS = {
    kind: label
    for label, kinds in {
        "OTHERID": "MRN ACCOUNT PLAN DEVICE SSN LICENSE OTHERID", "PHONE": "PHONE FAX", "NAME": "NAME", "DATE": "DATE",
        "INITIALS": "INITIALS", "HOSPITAL": "HOSPITAL", "EMPLOYER": "EMPLOYER", "CITY": "CITY", "STREET": "STREET",
        "VEHICLE": "VEHICLE", "ZIP": "ZIP",
    }.items()
    for kind in kinds.split()
}  # fmt: skip


def notes_by_hand(copies: int, seed: int) -> Iterator[LabelledNote]:
    """Each note as it is, and `copies - 1` times with other identifiers, some of these in capitals."""
    rng = Random(seed)
    for marked in own_list("notes_by_hand.yaml")["notes"]:
        note = labelled(marked)
        yield note
        for _ in range(copies - 1):
            yield _varied(note, rng)


def labelled(marked: str) -> LabelledNote:
    """A note whose identifiers stand as `[[TYPE it]]`."""
    text, spans, last = "", [], 0
    for match in _MARKED.finditer(marked):
        text += marked[last : match.start()]
        if label := _LABELS.get(match[1]):
            spans.append(Span(len(text), len(text) + len(match[2]), label))
        text, last = text + match[2], match.end()
    return LabelledNote(text + marked[last:], spans)


def _varied(note: LabelledNote, rng: Random) -> LabelledNote:
    people = People(rng)
    text, spans, last = "", [], 0
    for span in note.spans:
        text += note.text[last : span.start]
        value = note.text[span.start : span.end]
        if rng.random() < _SHARE:
            value = _another(value, span.type, people, rng)
        spans.append(Span(len(text), len(text) + len(value), span.type))
        text, last = text + value, span.end
    text += note.text[last:]
    styled = text.upper() if rng.random() < _CAPITALS else text
    return LabelledNote(styled if len(styled) == len(text) else text, spans)


def _another(value: str, kind: str, people: People, rng: Random) -> str:
    """An invented identifier of a type, in the form of `value`; itself where its form is none of those."""
    if kind == "INITIALS":
        return re.sub(r"[A-Z]", lambda _: rng.choice("ABCDEFGHJKLMNPRSTW"), value)
    slot = _slot(value, kind, rng)
    other = people.value(slot) if slot else value
    return other.upper() if len(value) > 2 and value.isupper() else other.lower() if value.islower() else other


def _slot(value: str, kind: str, rng: Random) -> str:
    words = value.split()
    if kind == "NAME":
        return _slot_of_name(value, words, rng)
    if kind == "HOSPITAL":
        return rng.choice(("hospital", "site")) if len(words) > 1 else "site"
    if kind == "EMPLOYER":
        return rng.choice(("shop", "firm")) if len(words) > 1 else "shop"
    if kind == "STREET":
        return rng.choice(("street", "road")) if value[0].isdigit() else "road"
    return "city" if kind == "CITY" else ""


def _slot_of_name(value: str, words: list[str], rng: Random) -> str:
    if "," in value:
        return "lastfirst" if len(words) < 4 else ""
    if len(words) == 1:
        return "" if value.endswith(".") else rng.choice(("first", "last"))
    if len(words) > 2 or len(words[1].strip(".")) < 3:
        return ""
    return "initlast" if len(words[0].strip(".")) < 3 else "full"
