"""Summarization: the description of a note, where the note supports it; else reason, impression, plan and follow-up."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clinadapt.clinical.faithfulness import unsupported_facts
from clinadapt.clinical.sections import one_line, section_lexicon
from components.synthesize.parsed_note import ParsedNote
from components.synthesize.section_content import section_content
from components.synthesize.teacher import Spans, Subject, Triple
from components.synthesize.unanswerable import not_mentioned

TASK = "Summarization"

MAX_MISSING = 0.1  # share of the description's word stems that the note may lack
MAX_SPANS = 3
MAX_PART = 25  # words of a section in a summary
# What a note is about: the sections that tell, and what a note about nothing of the kind does not match
_KINDS = {
    "the operation": (
        {"procedure performed", "procedure in detail", "preoperative diagnosis"},
        r"procedur|operat|surg|perform|ectomy|otomy|plasty|scopy|biopsy|underwent|repair|inject|incis|excis",
    ),
    "the hospital stay": (
        {"hospital course", "discharge diagnosis", "discharge medications"},
        r"hospital|admi|discharg|\bward",
    ),
    "the visit": (
        {"chief complaint", "history of present illness", "subjective"},
        r"visit|clinic|seen|came|present|complain|history|consult|return|refer|follow|subjective|office|\bpc\b|call",
    ),
    "the study": (
        {"findings", "technique", "comparison"},
        r"finding|\bct\b|mri|x-?ray|film|scan|ultraso|echo|study|exam|imag|radio|views?\b|doppler|eeg|emg|test",
    ),
}
_PARTS = {
    "Reason": ("chief complaint", "indication", "preoperative diagnosis"),
    "Impression": ("impression", "diagnosis", "assessment", "postoperative diagnosis", "discharge diagnosis"),
    "Plan": ("plan",),
    "Disposition": ("disposition",),
    "Follow-up": ("follow-up",),
}


def generate(note: ParsedNote) -> Iterator[Triple]:
    """One triple: the description, or what the note gives under short headings."""
    if summary := _description(note):
        stems = _stems(summary)
        overlaps = [(len(stems & _stems(note.text[start:end])), start, end) for start, end in note.sentences]
        best = sorted(overlaps, key=lambda sentence: -sentence[0])[:MAX_SPANS]
        spans = tuple(sorted((start, end) for overlap, start, end in best if overlap))
        kind = _kind(note)
        subject = Subject(
            _KINDS[kind][1], not_mentioned(kind.replace("the ", "an " if kind == "the operation" else "a ", 1))
        )
        yield Triple(
            note.choose(
                f"Summarize {kind} in one or two sentences.",
                f"Give a short summary of {kind} that the note describes.",
                f"What is the gist of {kind}? Answer briefly.",
                f"Sum up {kind} in a few words.",
            ),
            summary,
            TASK,
            spans=spans,
            subject=subject,
        )
    else:
        yield from _reason_impression_plan(note)


def _description(note: ParsedNote) -> str:
    """The description on one line; empty if it is no summary of the note, or of no known kind of note."""
    summary = one_line(note.description or "")
    if not 5 <= len(summary.split()) <= 80 or not summary.isprintable() or not _kind(note):
        return ""
    if re.search(r"(?i)sample|template|transcription", summary) or not _is_supported(note, summary):
        return ""
    return summary


def _kind(note: ParsedNote) -> str:
    names = {section.name for section in note.sections}
    return next((kind for kind, (telling, _) in _KINDS.items() if names & telling), "")


def _reason_impression_plan(note: ParsedNote) -> Iterator[Triple]:
    """Short sections under their names, at least two."""
    parts: list[str] = []
    spans: Spans = ()
    lacking = []
    for title, names in _PARTS.items():
        sections = [section for section in note.sections if section.name in names]
        content = section_content(note.text, sections[0]) if len(sections) == 1 else ""
        if content and len(content.split()) <= MAX_PART and not re.match(r"\d+[.)]", content):
            parts.append(f"{title}: {content.rstrip('.')}.")
            spans += ((sections[0].start, sections[0].end),)
            lacking.append(section_lexicon()[sections[0].name]["lacking"])
    if (
        len({part.partition(": ")[2] for part in parts}) < 2
    ):  # a diagnosis before and after an operation may be the same
        return
    titles = [part.partition(":")[0].lower() for part in parts]
    listed = f"{', '.join(titles[:-1])} and {titles[-1]}"
    yield Triple(
        note.choose(
            f"Summarize the note: {listed}.",
            f"Give a short summary with {listed}.",
            f"Sum up {listed} from the note.",
        ),
        " ".join(parts),
        TASK,
        spans=spans,
        subject=Subject("|".join(lacking), not_mentioned(listed)),
    )


def _is_supported(note: ParsedNote, summary: str) -> bool:
    stems = _stems(summary)
    lower_text = note.text.lower() + " ".join(mention.expansion for mention in note.abbreviations).lower()
    missing = sum(stem not in lower_text for stem in stems)
    return bool(stems) and missing <= len(stems) * MAX_MISSING and not unsupported_facts(summary, note.text)


def _stems(text: str) -> set[str]:
    """First five letters of each word of four letters or more, in lower case."""
    return {word[:5].lower() for word in re.findall(r"[A-Za-z]{4,}", text)}
