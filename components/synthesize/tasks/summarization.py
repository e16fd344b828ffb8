"""Summarization: the description that comes with a note, where the note supports its words and facts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clinadapt.clinical.faithfulness import unsupported_facts
from clinadapt.clinical.sections import one_line
from components.synthesize.parsed_note import ParsedNote
from components.synthesize.teacher import Triple

TASK = "Summarization"

MAX_MISSING = 0.1  # share of the description's word stems that the note may lack
MAX_SPANS = 3


def generate(note: ParsedNote) -> Iterator[Triple]:
    """One triple; its spans are the sentences that share most words with the description."""
    summary = one_line(note.description or "")
    if not 5 <= len(summary.split()) <= 80 or not summary.isprintable():
        return
    if re.search(r"(?i)sample|template|transcription", summary) or not _is_supported(note, summary):
        return
    stems = _stems(summary)
    overlaps = [(len(stems & _stems(note.text[start:end])), start, end) for start, end in note.sentences]
    best = sorted(overlaps, key=lambda sentence: -sentence[0])[:MAX_SPANS]
    yield Triple(
        note.choose(
            "Summarize the note in one or two sentences.",
            "Give a short summary of this note.",
            "What is this note about? Answer briefly.",
            "Sum up the note in a few words.",
        ),
        summary,
        TASK,
        spans=tuple(sorted((start, end) for overlap, start, end in best if overlap)),
    )


def _is_supported(note: ParsedNote, summary: str) -> bool:
    stems = _stems(summary)
    lower_text = note.text.lower() + " ".join(mention.expansion for mention in note.abbreviations).lower()
    missing = sum(stem not in lower_text for stem in stems)
    return bool(stems) and missing <= len(stems) * MAX_MISSING and not unsupported_facts(summary, note.text)


def _stems(text: str) -> set[str]:
    """First five letters of each word of four letters or more, in lower case."""
    return {word[:5].lower() for word in re.findall(r"[A-Za-z]{4,}", text)}
