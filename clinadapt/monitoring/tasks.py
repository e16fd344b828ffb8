"""The task that an instruction asks for, by its words: what is counted of it instead of the words themselves."""

from __future__ import annotations

import re

OTHER = "Other"
_READ = 1_000  # characters: a pattern looks for its second word from each place of its first
# The first pattern that an instruction has decides; the names are those of clinadapt.data.schemas.instruct
_CUES = {
    "Abbreviation Expansion": r"abbreviation|acronym|stands? for|\bexpand\b",
    "Summarization": r"\bsummar|\boverview\b|in (?:one|two|a few|1|2) (?:or \w+ )?(?:sentence|line)|\bbriefly\b",
    "Paraphrasing": r"paraphras|rephras|reword|plain(?:er)? (?:words|language)|simpl(?:y|er|ify)|layman|in other words",
    "Coreference Resolution": r"refers? to|coreference|which (?:person|patient|drug|finding) does|pronoun",
    "Relation Extraction": r"\bdos(?:e|es|age)\b|how (?:much|often)|frequency|\broute\b|relation|reason for|what for",
    "Temporal Information Extraction": r"\bwhen\b|\bdates?\b|how long|timeline|chronolog|duration|\bday\b",
    "Named Entity Recognition": r"\b(?:list|name|extract|identify|find|mention)\b.*\b(?:all|every|drugs?|medic|"
    r"diagnos|symptom|procedure|test|entit|problem|finding|condition)|which (?:drugs|medic|symptoms|tests|diagnos)",
    "Question Answering": r"\?|^(?:what|which|who|where|why|how|is|are|was|were|does|did|do|has|have|can)\b",
}
_PATTERNS = {task: re.compile(cue, re.IGNORECASE) for task, cue in _CUES.items()}
TASKS = (*_CUES, OTHER)


def task_of(instruction: str) -> str:
    """One of TASKS, by its beginning. An approximation: the same for an evaluation and for use, so that their shares
    can be compared."""
    beginning = instruction[:_READ]
    return next((task for task, pattern in _PATTERNS.items() if pattern.search(beginning)), OTHER)
