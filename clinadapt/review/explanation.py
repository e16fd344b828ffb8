"""What the note says of each claim of an answer, for the reader of the answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from clinadapt.clinical.claims import CheckedClaim

_BESIDE = 40  # characters of the note shown before and after the words that tell


def explained(answer: str, note: str, checked: Iterable[CheckedClaim]) -> list[dict[str, Any]]:
    """Each claim of an answer with the words of the note that support or contradict it.

    Returns:
        `claim` (words of the answer), `start` and `end` of it in characters, `outcome` (`supported`, `contradicted` or
        `not found`) and `evidence` (words of the note with what is beside them; None where there are none).
    """
    return [
        {
            "claim": answer[each.claim.start : each.claim.end],
            "start": each.claim.start,
            "end": each.claim.end,
            "outcome": each.outcome,
            "evidence": _words_of(note, each.evidence) if each.evidence else None,
        }
        for each in checked
    ]


def _words_of(note: str, span: tuple[int, int]) -> str:
    start, end = max(0, span[0] - _BESIDE), min(len(note), span[1] + _BESIDE)
    while 0 < start < span[0] and note[start - 1].isalnum():
        start += 1
    while span[1] < end < len(note) and note[end].isalnum():
        end -= 1
    words = " ".join(note[start:end].split())
    return f"{'… ' if start else ''}{words}{' …' if end < len(note) else ''}"


def line(claim: Mapping[str, Any]) -> str:
    """A claim and what the note says of it, in one line."""
    if claim["outcome"] == "not found":
        return f"{claim['claim']}: not found in the note"
    verb = "supported by" if claim["outcome"] == "supported" else "contradicted by"
    evidence = f" “{claim['evidence']}”" if claim["evidence"] else " the question"
    return f"{claim['claim']}: {verb}{evidence}"


def page_list(claims: Iterable[Mapping[str, Any]]) -> str:
    """The claims as an HTML list, each with a class of its outcome; empty where there are none."""
    items = [f'<li class="{claim["outcome"].replace(" ", "-")}">{escape(line(claim))}</li>' for claim in claims]
    return f'<ul class="claims">{"".join(items)}</ul>' if items else ""
