"""A note as the tasks of the rules teacher see it: sections, sentences, drugs and abbreviations, each parsed once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from random import Random

from clinadapt.clinical.abbreviations import AbbreviationMention, abbreviation_mentions
from clinadapt.clinical.drugs import drug_mentions
from clinadapt.clinical.mention import Mention
from clinadapt.clinical.sections import Section, one_line, parse_sections, sentence_spans
from components.synthesize.teacher import Subject, Triple

MAX_SENTENCE = 400  # characters
# `Her brother takes`: what follows is no drug of the patient
_OF_RELATIVE = re.compile(
    r"\b(?:mother|father|brother|sister|son|daughter|husband|wife|partner|mum|mom|dad|uncle|aunt|cousin|grand\w+)"
    r"(?: (?:also|currently|now|still|once|previously|has|had|was|is|been|being))*"
    r" (?:takes?|took|taking|uses?|used|using|on|prescribed|treated with|started on|given)\b"
    r"(?:(?!\b(?:s?he|they|patient|i|we)\b)[^.;:\n]){0,60}$",
    re.IGNORECASE,
)
_BULLET = re.compile(r"(?:[-•*–#>] *(?=[A-Za-z]))?")


@dataclass
class ParsedNote:
    """A note, parsed on first use.

    Attributes:
        text: the note.
        description: its own one-sentence summary, if the source has one.
        rng: source of all random choices; tasks draw from it in turn, so their order decides what is generated.
    """

    text: str
    description: str | None
    rng: Random

    @cached_property
    def sections(self) -> list[Section]:
        """Sections in text order."""
        return parse_sections(self.text)

    @cached_property
    def sentences(self) -> list[tuple[int, int]]:
        """Spans of the sentences outside headers, without long ones and those with unprintable characters."""
        bodies = [(0, self.sections[0].header_start if self.sections else len(self.text))]
        bodies += [(section.start, section.end) for section in self.sections]
        spans = [
            (_BULLET.match(self.text, start, end).end(), end)  # type: ignore[union-attr]
            for body in bodies
            for start, end in sentence_spans(self.text, *body)
        ]
        return [
            (start, end) for start, end in spans if end - start < MAX_SENTENCE and self.text[start:end].isprintable()
        ]

    @cached_property
    def drugs(self) -> list[Mention]:
        """Drug mentions in text order."""
        return drug_mentions(self.text)

    def is_of_relative(self, mention: Mention) -> bool:
        """Whether the note says that somebody in the family takes a drug."""
        return bool(_OF_RELATIVE.search(self.text, max(0, mention.start - 120), mention.start))

    @cached_property
    def abbreviations(self) -> list[AbbreviationMention]:
        """Abbreviations in headers and sentences, in text order."""
        headers = [(section.header_start, section.header_start + len(section.header)) for section in self.sections]
        return sorted(
            mention for span in (*headers, *self.sentences) for mention in abbreviation_mentions(self.text, *span)
        )

    def choose(self, *wordings: str) -> str:
        """Draw one of several wordings of an instruction."""
        return self.rng.choice(wordings)


def quote(note: ParsedNote, questions: tuple[str, ...], span: tuple[int, int], task: str, subject: Subject) -> Triple:
    """One of some wordings of a question, which this span of the note answers word for word."""
    answer = one_line(note.text[slice(*span)])
    return Triple(note.choose(*questions), answer, task, check="exact", spans=(span,), subject=subject)
