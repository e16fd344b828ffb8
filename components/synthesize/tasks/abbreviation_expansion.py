"""Abbreviation expansion: the long form of one abbreviation, or of several."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clinadapt.clinical.abbreviations import AbbreviationMention
from components.synthesize.parsed_note import ParsedNote
from components.synthesize.teacher import Subject, Triple
from components.synthesize.unanswerable import not_mentioned

TASK = "Abbreviation Expansion"

SEVERAL = 0.4  # share of the notes with three abbreviations or more that are asked for several at once
_TRIVIAL = ("w/", "w/o", "h/o", "pt", "wks", "yrs")
# `bone scan (BS)`
_INTRODUCED = re.compile(r"(?<![a-z])(?P<long>(?:[A-Za-z][a-z]+[ -]){1,5}[a-z]+) \((?P<short>[A-Z]{2,5})\)")


def generate(note: ParsedNote) -> Iterator[Triple]:
    """Three triples with one abbreviation each, and one with up to four."""
    first_by_short: dict[str, AbbreviationMention] = {}
    for mention in note.abbreviations:
        first_by_short.setdefault(mention.short, mention)
    first_by_short |= {mention.short: mention for mention in _introduced(note.text)}
    mentions = [mention for mention in first_by_short.values() if mention.short not in _TRIVIAL]
    note.rng.shuffle(mentions)
    for mention in mentions[:3]:
        yield Triple(
            note.choose(
                f'What does "{mention.short}" stand for in this note?',
                f"What does {mention.short} stand for?",
                f"What does {mention.short} mean?",
                f"What is {mention.short} short for?",
                f'Expand the abbreviation "{mention.short}".',
                f'What is meant by "{mention.short}" here?',
                f'Write out "{mention.short}" in full.',
                f'What does the note mean by "{mention.short}"?',
                f'In this note, what is "{mention.short}" short for?',
            ),
            mention.expansion,
            TASK,
            check="exact",
            spans=((mention.start, mention.end),),
            subject=Subject(_pattern([mention]), not_mentioned(f'the abbreviation "{mention.short}"')),
        )
    if len(mentions) >= 3 and note.rng.random() < SEVERAL:
        yield _several(note, sorted(mentions[:4]))


def _introduced(text: str) -> Iterator[AbbreviationMention]:
    """Abbreviations that the note itself introduces, after words with their initials: `blood pressure (BP)`."""
    for match in _INTRODUCED.finditer(text):
        words = list(re.finditer(r"[A-Za-z]+", match["long"]))[-len(match["short"]) :]
        if "".join(word[0][0] for word in words).upper() == match["short"]:
            long_form = match["long"][words[0].start() :]
            yield AbbreviationMention(*match.span("short"), match["short"], long_form)


def _several(note: ParsedNote, mentions: list[AbbreviationMention]) -> Triple:
    shorts = ", ".join(mention.short for mention in mentions)
    return Triple(
        note.choose(
            f"Expand these abbreviations of the note: {shorts}. Separate them by semicolons.",
            f"Write out these abbreviations in full, separated by semicolons: {shorts}.",
        ),
        "; ".join(f"{mention.short}: {mention.expansion}" for mention in mentions),
        TASK,
        check="set",
        spans=tuple((mention.start, mention.end) for mention in mentions),
        subject=Subject(_pattern(mentions), not_mentioned("any of these abbreviations")),
    )


def _pattern(mentions: list[AbbreviationMention]) -> str:
    """Matches any of the abbreviations or their long forms."""
    forms = [form for mention in mentions for form in (mention.short, mention.expansion)]
    return "|".join(rf"(?<!\w){re.escape(form)}(?!\w)" for form in forms)
