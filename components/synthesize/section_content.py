"""The content of a section as an answer, where it is certain to be that section, alone and whole."""

from __future__ import annotations

import re

from clinadapt.clinical.sections import Section, one_line, section_name

EXAMINED = {"heart", "lungs", "abdomen", "neck", "extremities", "skin"}  # sections of an examination
MAX_ANSWER = 400  # characters
_HISTORY = re.compile(r"\b(?:den(?:y|ies|ied)|report\w*|complain\w*|history|states)\b", re.IGNORECASE)
_ANOTHER_ORGAN = re.compile(
    r"[.;]\s+(?:Abdomen|Abd|Back|Breasts?|Chest|CNS|CVS|Ears?|Extremities|Eyes|Heart|HEENT|Lungs?|Neck|Neuro\w*|Skin|"
    r"Throat)\b"
)
# A body that is not the section alone: another header, a reference elsewhere, a line of another section
_RUNS_ON = re.compile(
    r"(?:^|[.\n,;] ?)[A-Z][\w/]*(?: [\w/]+){0,3} ?:(?!\d\d(?!:))|"
    r"(?:\n|\. )[A-Z][A-Za-z/]*(?: [A-Za-z/]+){0,3} - |\n\s*\n|\b[A-Z]{5,}(?: [A-Z]{2,})*$|___"
)
_REFERS = re.compile(
    r"\b(?:same|as above|see|as noted|as per|per|refer to|above|below|dictated|unable to obtain|noted in|detailed|"
    r"documented|attached|as outlined|as listed|on (?:the )?(?:file|chart|form)|H&P|reviewed|unchanged|reconcil\w*|"
    r"on the list)\b",
    re.IGNORECASE,
)
_OTHER_SECTION = {
    "past medical history": (
        r"\bbp\b|\bo/e\b|\bon exam|\bpulse\b|\bsats?\b|allerg|nkda|\bplan\b|medication|\bmeds?\b|\d ?m[cg]g?\b|smok|"
        r"lives|\b(?:mother|father|brother|sister)\b"
    ),
    "medications": (
        r"cannabis|cocaine|heroin|marijuana|amphetamine|alcohol|tobacco|"
        r"lives|smok|\bo/e\b|\bon exam|allerg|nkda|\bplan\b|discontinu|stop|\bhold\b|increas|"
        r"decreas|chang|\bbp\b|pulse|\bexam|mmse|bloods"
    ),
    "discharge medications": r"allerg|nkda|discontinu|stop|paus|withh|\bh[oe]ld\b|follow|review",
    "chief complaint": r"history|medication|allerg|plan",
    "impression": (
        r"\bplan\b|recommend|\bmeds?\b|\bpmh|\bwe discussed|\b(?:he|she) chose|return (?:to|for|in)\b|will see|"
        r"review in"
    ),
    "diagnosis": r"\bplan\b|recommend|\bmeds?\b|\bpmh|smok|\bwe discussed|return (?:to|for|in)\b|will see|review in",
    "assessment": r"\bplan\b|recommend",
    "family history": r"\bexam|\bbp\b|\bhr\b|\be[ck]g\b|\becho\b|allerg|nkda|smok|medication|\bmeds?\b|lives|alcohol",
    "social history": r"\bexam|\bbp\b|\bhr\b|\be[ck]g\b|\becho\b|allerg|nkda|medication|\bmeds?\b|mother|father",
    "allergies": r"medication|mg\b|history|smok",
    "indication": r"compar|there (?:is|are|was|were)\b|technique|consent|prepped|silhouette|unremarkable",
    "anesthesia": r"tourniquet|\bebl\b|blood loss|complicat|specimen|drains?\b|antibiotic|indication|\bposition:",
    "complications": r"tourniquet|\bebl\b|blood loss|specimen|drains?\b|indication",
    "blood loss": r"complicat|specimen|drains?\b|tourniquet|ana?esth",
    "specimens": r"complicat|\bebl\b|blood loss|drains?\b|tourniquet|ana?esth",
    "drains": r"complicat|\bebl\b|blood loss|specimen|tourniquet|ana?esth",
    "procedure performed": r"\bebl\b|blood loss|complicat|specimen|surgeon|indication",
}
_NUMBERS = {"tourniquet time", "blood loss"}
# Signs of another organ
_FOREIGN = {
    "abdomen": r"\b(?:carotid|lungs?|heart|murmurs?|clubbing|cyanosis|cranial|gait)\b",
    "heart": r"\b(?:lungs?|abdomen|bowel|clubbing|gait|hepatosplenomegaly)\b",
    "lungs": r"\b(?:heart|murmurs?|abdomen|bowel|clubbing|gait|regular rate)\b",
    "neck": r"\b(?:lungs?|heart|abdomen|murmurs?|clubbing|wheez\w*)\b",
}
# Else the section tells what the patient eats
_ORDERED_DIET = re.compile(
    r"\b(?:regular|low|no added|high|cardiac|diabetic|ada|npo|clear|full|liquids?|soft|tolerated|general|resume|"
    r"advance\w*|renal|puree\w*|normal|house|thin|thickened|free|healthy|restrict\w*|calorie|gram|salt|sodium)\b",
    re.IGNORECASE,
)
# A header in shorthand, which needs no colon: `FH: mother hypothyroid. PMH coeliac disease`
_SHORTHAND_HEADER = re.compile(
    r"(?:[.;]\s+|\n\s*)"
    r"(?:PMHx?|PSHx?|DHx?|SHx?|FHx?|O/E|OE|HPC|Imp|IMP|Plan|PLAN|Meds|MEDS|Ix|Bloods|NKDA|ROS)\b(?! ?:)"
)
_IS_CUT = re.compile(r"(?:[:,]| and| with|[.;] \d{1,2}[.)]?)$")
_LISTS = {"past medical history", "past surgical history", "medications", "discharge medications", "allergies"}
_ABOUT_PATIENT = re.compile(r"(?:She|He|Her|His|The patient|Patient|Pt|Mr|Mrs|Ms|I|We|There)\b")
_SENTENCE_ABOUT = re.compile(rf"[.;]\s+{_ABOUT_PATIENT.pattern}")  # after a list of items, a sentence of something else
# Beside their header on one line; what begins the next line is about something else
_OF_ONE_LINE = {
    "allergies", "chief complaint", "past medical history", "past surgical history", "family history", "social history",
    "impression", "diagnosis", "follow-up", "diet", "activity", "condition",
}  # fmt: skip
# On the same line, what may be a part of the section: `UA:` within LABS, `Throat:` within HEENT
_PART = re.compile(r"[ ,;.]*(?P<name>[A-Z]{1,3}\d?|[A-Z][a-z]+(?: [A-Za-z]+){0,2}) ?:")
# A sentence on who was told of the findings, behind them
_TOLD = re.compile(
    r"(?<=[.\n])\s*(?:(?:The(?:se)? )?(?:above )?(?:findings|results?) (?:was|were|have been|has been)|"
    r"(?:Dr\.? [A-Z]\w*|The (?:ordering|referring|emergency)[^.\n]{3,30}) was) (?:\w+ )?(?:called|discussed|"
    r"communicated|conveyed|reported|relayed|phoned|telephoned|given|notified|informed)\b[^\n]*$",
    re.IGNORECASE,
)
# A sentence of a family history; another one is of the patient
_OF_FAMILY = re.compile(
    r"\b(?:mother|father|parents?|brothers?|sisters?|siblings?|sons?|daughters?|child(?:ren)?|grand\w+|uncles?|aunts?|"
    r"cousins?|mum|mom|dad|twin|famil\w+|relatives?|maternal|paternal|m?gm|m?gf|pgm|pgf|no|not|none|nil|neg\w*|"
    r"unremarkable|otherwise|also|noncontributory|died|deceased|alive|unknown|significant|positive|both|one|two|three|"
    r"denies|history|they|other|runs?)\b",
    re.IGNORECASE,
)
# How a letter ends
_CLOSING = re.compile(
    r"\s*\b(?:Thank you (?:very much |again |kindly )?for|(?:Yours|Very) (?:sincerely|faithfully|truly)|Sincerely|"
    r"(?:With )?(?:[Kk]ind(?:est)?|[Bb]est|[Ww]arm) regards|Regards,|(?:I|We) will (?:be happy to|"
    r"continue to)? ?follow (?:the patient |him |her )?(?:along )?with you)"
    r".*",
    re.DOTALL,
)


def content_span(text: str, section: Section) -> tuple[int, int]:
    """Span of a section without what belongs to the letter or the report, and not to it, at its end."""
    return section.start, section.start + len(_TOLD.sub("", _CLOSING.sub("", text[section.start : section.end])))


def section_content(text: str, section: Section) -> str:
    """The content of a section on one line; empty in doubt whether it is the section alone, or complete."""
    body = text[slice(*content_span(text, section))]
    if not 3 < len(body) < MAX_ANSWER or not body.replace("\n", " ").isprintable():
        return ""
    other = _OTHER_SECTION.get(section.name)
    if _RUNS_ON.search(body) or _REFERS.search(body) or (other and re.search(other, body, re.IGNORECASE)):
        return ""
    if _SHORTHAND_HEADER.search(body):
        return ""
    if section.name in _NUMBERS and not re.search(
        r"\d|\b(?:none|nil|zero|minimal|negligible|trace|scant|less)\b", body, re.I
    ):
        return ""
    if section.name == "diet" and not _ORDERED_DIET.search(body):
        return ""
    if section.name in _FOREIGN and re.search(_FOREIGN[section.name], body, re.IGNORECASE):
        return ""
    if section.name == "family history" and not all(_OF_FAMILY.search(part) for part in re.split(r"\. +|\n", body)[1:]):
        return ""
    if section.name in EXAMINED and (_HISTORY.search(body) or _ANOTHER_ORGAN.search(body)):
        return ""
    if section.name in _LISTS and _SENTENCE_ABOUT.search(body) and not _ABOUT_PATIENT.match(body):
        return ""
    is_inline = "\n" not in text[section.header_start : section.start]
    if section.name in _OF_ONE_LINE | EXAMINED and is_inline and re.search(r"\n *(?:[A-Z]|\d+(?![\d.)]))", body):
        return ""
    following = _PART.match(text, section.end)
    is_part = following and (section.header.isupper() or following["name"].isupper())
    if following and is_part and not section_name(following["name"]):
        return ""
    answer = one_line(body)
    return answer if re.search(r"[A-Za-z]{2}", answer) and not _IS_CUT.search(answer) else ""
