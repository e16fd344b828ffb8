"""What is found in invented notes by hand, in the shorthand of many hands: lists, messages, rounds, letters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clinadapt.privacy.detector import identifiers
from clinadapt.privacy.measure import measure

NOTES = Path(__file__).with_name("notes_by_hand.txt")
_MARKED = re.compile(r"\[\[([A-Z_0-9]+) (.*?)\]\]", re.DOTALL)


def notes() -> Iterator[dict[str, Any]]:
    """Each is headed by `=== ` and its hand; an identifier stands as `[[TYPE it]]`."""
    for block in NOTES.read_text(encoding="utf-8").split("=== ")[1:]:
        text, spans = "", []
        rest = block.split("\n", 1)[1].strip()
        while match := _MARKED.search(rest):
            text += rest[: match.start()]
            spans.append({"start": len(text), "end": len(text) + len(match[2]), "type": match[1]})
            text, rest = text + match[2], rest[match.end() :]
        yield {"text": text + rest, "spans": spans}


def test_most_identifiers_of_shorthand_are_found() -> None:
    result = measure(notes(), identifiers)
    print({kind: f"{share['hits']}/{share['total']}" for kind, share in result["recall"].items()})
    assert result["recall"]["all"]["value"] >= 0.87 and result["recall"]["NAME"]["value"] >= 0.92
    assert result["over_redaction"]["value"] <= 0.055
