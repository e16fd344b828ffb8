"""What a bare answer leaves to its question: "nausea; cough" to "What does she deny?" denies both."""

from __future__ import annotations

import re

from clinadapt.clinical.claims.reading import read
from clinadapt.clinical.claims.relatives import RELATIVE

_EXPANDS = re.compile(
    r"\bwhat (?:is|does|do) [^?]*\b(?:short for|stands? for|mean by|meant by)\b|"
    r"\bwhat (?:does|do) (?!this |that |it )\S{1,12} mean\b|\b(?:expand|write out|spell out)\b|\babbreviat",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"\b(?:den(?:y|ies|ied)|negative for|ruled out|absent|"
    r"(?:(?:does|did) (?:he|she|the patient) not|doesn['’]t) have)\b",
    re.IGNORECASE,
)
_AGE = re.compile(r"\bhow old\b|\bage\b", re.IGNORECASE)
_YEARS = re.compile(r"\W*\d{1,3}(?: years?)?\W*")


def asks_for_words(question: str) -> bool:
    """Whether a question asks what an abbreviation stands for: its answer states nothing of the patient."""
    return bool(_EXPANDS.search(question))


def completed(answer: str, question: str) -> tuple[str, int]:
    """An answer behind the words that its question leaves out, and their number of characters."""
    if _AGE.search(question) and _YEARS.fullmatch(answer) and not RELATIVE.search(question.lower()):
        return f"Age {answer}", len("Age ")
    if _DENIED.search(question) and not any(read(answer).context.negated):
        return "Denies " + answer.replace(";", ",").replace("\n", ","), len("Denies ")  # a semicolon would end the list
    return answer, 0
