"""Abbreviation expansion: the long form of one abbreviation, or of several."""

from __future__ import annotations

from collections.abc import Iterator

from clinadapt.clinical.abbreviations import AbbreviationMention, abbreviation_lexicon
from components.synthesize.parsed_note import ParsedNote
from components.synthesize.teacher import Triple, unanswerable

TASK = "Abbreviation Expansion"

_TRIVIAL = ("w/", "pt", "wks", "yrs")
_MAY_BE_ABSENT = ("COPD", "CHF", "CABG", "DVT", "ESRD", "GERD", "TIA", "UTI", "BPH", "MRI")


def generate(note: ParsedNote) -> Iterator[Triple]:
    """Two triples with one abbreviation each, one with up to four, and one with an abbreviation not in the note."""
    first_by_short: dict[str, AbbreviationMention] = {}
    for mention in note.abbreviations:
        first_by_short.setdefault(mention.short, mention)
    mentions = [mention for mention in first_by_short.values() if mention.short not in _TRIVIAL]
    note.rng.shuffle(mentions)
    for mention in mentions[:2]:
        yield Triple(
            note.choose(
                f'What does "{mention.short}" stand for in this note?',
                f'Expand the abbreviation "{mention.short}".',
                f'What is meant by "{mention.short}" here?',
                f'Write out "{mention.short}" in full.',
            ),
            mention.expansion,
            TASK,
            check="exact",
            spans=((mention.start, mention.end),),
        )
    if len(mentions) >= 3:
        yield _several(note, sorted(mentions[:4]))
    lexicon, lower_text = abbreviation_lexicon(), note.text.lower()
    absent = [
        short for short in _MAY_BE_ABSENT if short not in note.text and lexicon[short].expansion not in lower_text
    ]
    if absent:
        short = note.rng.choice(absent)
        yield unanswerable(
            note.choose(
                f'What does "{short}" stand for in this note?', f'Which problem does "{short}" name in this note?'
            ),
            f'The note does not use the abbreviation "{short}".',
            TASK,
        )


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
    )
