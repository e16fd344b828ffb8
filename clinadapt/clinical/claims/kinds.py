"""Kinds of claims, and a claim as it stands in an answer."""

from __future__ import annotations

from typing import NamedTuple

# kind -> what it is called in a report
KINDS = {
    "drug": "drugs",
    "dose": "doses",
    "route": "routes",
    "frequency": "frequencies",
    "status": "drug statuses",
    "test": "test results",
    "number": "other numbers",
    "duration": "durations",
    "date": "dates",
    "age": "ages",
    "sex": "sex",
    "finding": "findings",
    "negation": "negations",
    "side": "sides",
    "site": "parts of the body",
    "result": "positive and negative results",
    "certainty": "certainty",
    "experiencer": "whose finding",
}


class Claim(NamedTuple):
    """A statement of an answer.

    Attributes:
        kind: key of KINDS.
        start, end: span in the answer, in characters.
        value: normalized: `metoprolol 25 mg`, `no fever`, `2009-03-14`.
    """

    kind: str
    start: int
    end: int
    value: str

    @property
    def key(self) -> tuple[str, str]:
        """What it states, wherever it stands: (kind, value)."""
        return self.kind, self.value
