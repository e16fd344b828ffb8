"""What a bare answer leaves to its question: "nausea; cough" to "What does she deny?" denies both."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clinadapt.clinical.abbreviations import abbreviation_lexicon
from clinadapt.clinical.claims.checked import CheckedClaim
from clinadapt.clinical.claims.kinds import Claim
from clinadapt.clinical.claims.reading import read
from clinadapt.clinical.claims.relatives import RELATIVE
from clinadapt.clinical.claims.words import STOP_WORDS, root
from clinadapt.clinical.refusals import is_refusal

_EXPANDS = re.compile(
    r"\bwhat (?:is|does|do) [^?]*\b(?:short for|stands? for|mean by|meant by)\b|"
    r"\bwhat (?:does|do) (?!this |that |it )\S{1,12} mean\b|\b(?:expand|write out|spell out)\b|\babbreviat",
    re.IGNORECASE,
)
_STANDS_FOR = re.compile(r"\bstands? for\b|\bshort for\b|\babbreviat|\bspell out\b|\bexpand\b", re.IGNORECASE)
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


def check_words(answer: str, question: str) -> Iterator[CheckedClaim]:
    """What an answer says an abbreviation of one meaning stands for, where it has no word of that."""
    shorts = [word for word in re.findall(r"[\w-]+", question) if word in abbreviation_lexicon()]
    if (
        len(shorts) != 1
        or abbreviation_lexicon()[shorts[0]].context
        or not _STANDS_FOR.search(f"{question} {answer}")
        or is_refusal(answer)
    ):
        return
    long = {root(name) for name in read(abbreviation_lexicon()[shorts[0]].expansion).stems - STOP_WORDS}
    if answer.strip() and long.isdisjoint(read(answer).positions_by_root):
        yield CheckedClaim(Claim("finding", 0, len(answer), f"{shorts[0]} in words"), "contradicted", None)


def completed(answer: str, question: str) -> tuple[str, int]:
    """An answer behind the words that its question leaves out, and their number of characters."""
    if _AGE.search(question) and _YEARS.fullmatch(answer) and not RELATIVE.search(question.lower()):
        return f"Age {answer}", len("Age ")
    if _DENIED.search(question) and not any(read(answer).context.negated):
        return "Denies " + answer.replace(";", ",").replace("\n", ","), len("Denies ")  # a semicolon would end the list
    return answer, 0
