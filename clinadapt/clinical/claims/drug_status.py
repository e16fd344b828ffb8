"""What the words around a drug say of it: taken, stopped, planned, open, denied, tolerated, or an allergy."""

from __future__ import annotations

import re

from clinadapt.clinical.mention import Mention

_STATUS = {
    "allergy": r"\b(?:allerg(?:y|ic|ies)|all(?=:)|intoleran(?:t|ces?)|(?:not|cannot|could not|unable to|"
    r"\w+n['’]t) (?:well )?tolerate[sd]?)\b",
    "stopped": r"\b(?:discontinu\w+|stop(?:s|ped|ping)?|paus(?:ed?|ing)|suspended|withheld|omitted|avoid(?:ed)?|held|"
    r"hold(?:ing)?|quit|ceased|finished|completed|withdrawn|weaned off|(?:given|gave|giving) up|on hold|turned off|"
    r"(?:taken|came|been)"
    r" off|d/c(?:'?d)?|no longer (?:on|tak\w+)|(?:replaced|substituted)(?= (?:by|with)\b)|"
    r"(?:switched|changed|converted|swapped)(?= (?:over )?(?:to|for)\b)|(?:switched|changed|converted)(?: \w+)? from|"
    r"(?:was|were) (?:switched|changed|swapped)(?= (?:because|due|owing|after|as)\b)|"
    r"(?<!and )off(?! and on)|until (?:last|january|february|march|april|may|june|july|august|september|october|"
    r"november|december|(?:19|20)\d\d)|(?:previously|formerly)(?: (?:on|took|taking|taken|tried|us(?:ed|ing)))?)\b",
    "denied": r"\b(?:(?:not|never) (?:to )?(?:be |been )?(?:given|used|started|prescribed|taken|administered|"
    r"needed|required|"
    r"indicated)|declin\w+|refus\w+|no(?! more| longer)|not|never|unable to|denies|denied|without|"
    r"(?:cannot|\w+n['’]t)(?= (?:been |be )?(?:tak|us|giv|start|prescrib|on\b|ha(?:d|ve)\b|want|need)))\b"
    r"(?! (?:relief|help|improve|work|well|known))",
    "open": r"\b(?:consider(?:ed|ing)?|offered|option of|(?:in place|in lieu|instead) of|rather than)\b",
    "active": r"\b(?:tak(?:es|ing|e)|took|start(?:ed|s|ing)?|(?:given|gave)(?! up)|tolerat(?:e[sd]?|ing)(?! the)|"
    r"receiv\w+|prescribed|(?:is|was|are|"
    r"placed|put|be|remain(?:s|ed|ing)?|stay(?:s|ed)?|home|discharged) on(?! hold)|"
    r"go(?:es)? on|went on|continu\w+|restart\w*|resum\w+|administered|treated with|begun|began|initiated|"
    r"uses?|using)\b",
}
STATUS_PATTERN = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _STATUS.items()))
_BREAK = re.compile(
    r";|, (?:it|he|she|so)\b|\bif\b|\bbut\b|\bthen\b|\binstead\b|\bexcept\b|"
    r"\b(?:other|besides|apart|aside) (?:than|from)\b"
)
_OPEN = re.compile(r"\b(?:consider(?:ing)?|may|might|could|if|would|whether) (?:be |to )?\Z")  # what may come
_OF_DRUG_BEFORE = re.compile(r"replaced|substituted|(?:switched|changed|converted|swapped)\Z")
_FROM_TO = re.compile(r"(?:switched|changed|converted)(?: \w+)? from\b.* to ")  # of the first drug alone
SWITCHED = re.compile(r"switched|changed|converted|swapped")  # to another drug
_TO_DRUG = re.compile(r" (?:over )?(?:to|for) (?:oral |iv |po |intravenous )?")
_RELATIVE = re.compile(r"\b(?:which|that|it) \Z")
_OTHER_CLAUSE = re.compile(r"(?! ?(?:tak|giv|us|on\b|start|prescrib|tolerat))[^:]*:")  # "not at goal: switch to"
_FORMERLY = re.compile(r"previously|formerly")
_PASSIVE = re.compile(r"\b(?:was|were|is|been)\b")


def drug_status(text: str, start: int, end: int, sentence: tuple[int, int], after: int) -> Mention | None:
    """The status that the words of its sentence give a drug: the last before it, else the first after it."""
    first = max(sentence[0], start - 70)
    before = [m for m in STATUS_PATTERN.finditer(text, first, start) if not _BREAK.search(text, m.end(), start)]
    before = [m for m in before if m[0] != "not" or not _OTHER_CLAUSE.match(text, m.end(), start)]
    before = [m for m in before if not _FORMERLY.match(m[0]) or m.end() + 1 >= start]
    before = [m for m in before if not _OF_DRUG_BEFORE.match(m[0]) and not _FROM_TO.search(text, m.start(), start)]
    behind = [
        m
        for m in STATUS_PATTERN.finditer(text, end, min(sentence[1], after, end + 60))
        if not _BREAK.search(text, end, m.start()) and _is_said_of(text, end, m, after)
    ]
    match = before[-1] if before else (behind[0] if behind else None)
    if match and match.lastgroup == "active" and _OPEN.search(text, max(first, match.start() - 16), match.start()):
        return Mention(*match.span(), "open")
    if match and behind and match.lastgroup == "active" and behind[0].lastgroup == "stopped" and match is before[-1]:
        match = behind[0]
    if match and before and match.lastgroup == "active" and any(m.lastgroup == "denied" for m in before[-2:-1]):
        match = before[-2]
    return Mention(*match.span(), match.lastgroup or "") if match else None


def _is_said_of(text: str, end: int, status: re.Match[str], after: int) -> bool:
    """Whether the words of a status are said of the drug before them, which ends at `end`; the next begins at
    `after`."""
    if SWITCHED.fullmatch(status[0]):  # to another drug, not to another dose
        return bool(_TO_DRUG.fullmatch(text, status.end(), after)) and after < len(text)
    match status.lastgroup:
        case "denied":
            return status[0].startswith(("not ", "never "))
        case "stopped" | "allergy":
            return not (_RELATIVE.search(text, end, status.start()) or _FORMERLY.match(status[0]))
        case _:
            return status.lastgroup == "active" and bool(_PASSIVE.search(text, end, status.end()))
