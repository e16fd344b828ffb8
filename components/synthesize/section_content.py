"""The content of a section as an answer, where it is certain to be that section, alone and whole."""

from __future__ import annotations

import re

from clinadapt.clinical.sections import Section, one_line

EXAMINED = {"heart", "lungs", "abdomen", "neck", "extremities", "skin"}  # sections of an examination
MAX_ANSWER = 400  # characters
_HISTORY = re.compile(r"\b(?:den(?:y|ies|ied)|report\w*|complain\w*|history|states)\b", re.IGNORECASE)
# A body that is not the section alone: another header, a reference elsewhere, a line of another section
_RUNS_ON = re.compile(
    r"(?:^|[.\n,;] ?)[A-Z][A-Za-z/]*(?: [A-Za-z/]+){0,3} ?:|"
    r"(?:\n|\. )[A-Z][A-Za-z/]*(?: [A-Za-z/]+){0,3} - |\n\s*\n|\b[A-Z]{5,}(?: [A-Z]{2,})*$|___"
)
_REFERS = re.compile(
    r"\b(?:same|as above|see|as noted|as per|per|refer to|above|below|dictated|unable to obtain|noted in)\b",
    re.IGNORECASE,
)
_OTHER_SECTION = {
    "past medical history": r"allerg|\bplan\b|medication|smok",
    "medications": r"allerg|nkda|\bplan\b|discontinu|stop|\bhold\b|increas|decreas|chang",
    "discharge medications": r"allerg|discontinu|stop",
    "chief complaint": r"history|medication|allerg|plan",
    "impression": r"\bplan\b|recommend",
    "assessment": r"\bplan\b|recommend",
    "family history": r"allerg|smok|medication|lives|alcohol",
    "social history": r"allerg|medication|mother|father",
    "allergies": r"medication|mg\b|history|smok",
}


def section_content(text: str, section: Section) -> str:
    """The content of a section on one line; empty in doubt whether it is the section alone, or complete."""
    body = text[section.start : section.end]
    if not 3 < len(body) < MAX_ANSWER or not body.replace("\n", " ").isprintable():
        return ""
    other = _OTHER_SECTION.get(section.name)
    if _RUNS_ON.search(body) or _REFERS.search(body) or (other and re.search(other, body, re.IGNORECASE)):
        return ""
    if section.name in EXAMINED and _HISTORY.search(body):
        return ""
    answer = one_line(body)
    return answer if re.search(r"[A-Za-z]{2}", answer) and not answer.endswith((":", ",", " and", " with")) else ""
