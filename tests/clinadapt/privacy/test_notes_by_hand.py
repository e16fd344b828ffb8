"""What is found in invented notes by hand, in the shorthand, letters, reports and handovers of many services."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clinadapt.privacy.detector import identifiers
from clinadapt.privacy.measure import measure

FOLDER = Path(__file__).parent
_MARKED = re.compile(r"\[\[([A-Z_0-9]+) (.*?)\]\]", re.DOTALL)


def notes(file: str) -> Iterator[dict[str, Any]]:
    """Each is headed by `=== ` and its hand; an identifier stands as `[[TYPE it]]`."""
    for block in (FOLDER / file).read_text(encoding="utf-8").split("=== ")[1:]:
        text, spans = "", []
        rest = block.split("\n", 1)[1].strip()
        while match := _MARKED.search(rest):
            text += rest[: match.start()]
            spans.append({"start": len(text), "end": len(text) + len(match[2]), "type": match[1]})
            text, rest = text + match[2], rest[match.end() :]
        yield {"text": text + rest, "spans": spans}


@pytest.mark.parametrize(
    ("file", "recall", "names", "needless"),
    [("notes_by_hand.txt", 0.9, 0.93, 0.055), ("letters_by_hand.txt", 0.92, 0.95, 0.035)],
)
def test_most_identifiers_of_other_hands_are_found(file: str, recall: float, names: float, needless: float) -> None:
    result = measure(notes(file), identifiers)
    print({kind: f"{share['hits']}/{share['total']}" for kind, share in result["recall"].items()})
    assert result["recall"]["all"]["value"] >= recall and result["recall"]["NAME"]["value"] >= names
    assert result["over_redaction"]["value"] <= needless
