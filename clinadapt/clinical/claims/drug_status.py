"""What the words around a drug say of it: taken, stopped, planned, open, denied, tolerated, or an allergy."""

from __future__ import annotations

import re

from clinadapt.clinical.mention import Mention

_TREATMENT = (
    r"(?:drugs?|medications?|meds|medicines?|treatments?|therap(?:y|ies)|agents?|dmards?|tried|used|anti[a-z]+s)"
)
_STATUS = {
    "allergy": r"\b(?:allerg(?:y|ic|ies)|all(?=:)|intoleran(?:t|ces?)|(?:not|cannot|could not|unable to|"
    r"\w+n['’]t) (?:well )?tolerate[sd]?)\b",
    "stopped": r"\b(?:discontinu\w+|stop(?:s|ped|ping)?|paus(?:ed?|ing)|suspended|withh(?:e|o)ld|omit(?:s|ted)?|"
    r"avoid(?:ed)?|held|cease|"
    rf"(?:previous(?:ly)?|prior|past|former|tried(?: and failed)?)(?: {_TREATMENT})*(?= ?:)|"
    r"hold(?:ing)?|quit|ceased|finished|ended(?! up)|completed|withdrawn|weaned off|(?:given|gave|giving) up|"
    r"on hold|turned off|(?:taken|came|been)"
    r" off|d/c(?:'?d)?|no longer (?:on|tak\w+)|(?:replaced|substituted)(?= (?:by|with)\b(?! (?:about )?\d))|"
    r"not (?:now|any ?more|any longer|currently)|"
    r"(?:switched|changed|converted|swapped)(?= (?:over )?(?:to|for)\b)|(?:switched|changed|converted)(?: \w+)? from|"
    r"(?:was|were) (?:switched|changed|swapped)(?= (?:because|due|owing|after|as)\b)|"
    r"(?<!and )off(?! and on)|until (?:last|january|february|march|april|may|june|july|august|september|october|"
    r"november|december|(?:19|20)\d\d)|(?:previously|formerly)(?: (?:on|took|taking|taken|tried|us(?:ed|ing)))?)\b",
    "denied": r"\b(?:not keen(?: on| to)?|not yet|(?:not|never) (?:to )?(?:be |been )?(?:given|used|started|"
    r"prescribed|taken|administered|"
    r"needed|required|"
    r"indicated)|deferred|postponed|declin\w+|refus\w+|no(?! more| longer)|not|never|unable to|denies|denied|without|"
    r"(?:cannot|\w+n['’]t)(?= (?:been |be )?(?:tak|us|giv|start|prescrib|on\b|ha(?:d|ve)\b|want|need)))\b"
    r"(?! (?:relief|help|improve|work|well|known))",
    "open": r"\b(?:delayed (?:rx|prescription)(?: for)?|consider(?:ed|ing)?|offered|discussed|proposed|"
    r"option of|(?:in place|in lieu|instead) of|rather than)\b",
    "active": r"\b(?:tak(?:es|ing|e)|took|start(?:ed|s|ing)?|(?:given|gave)(?! up)|tolerat(?:e[sd]?|ing)(?! the)|"
    r"receiv\w+|prescribed|(?:is|was|are|now|currently|still|back|"
    r"placed|put|be|remain(?:s|ed|ing)?|stay(?:s|ed)?|home|discharged|carr(?:y|ies|ied|ying)) "
    r"on(?! hold| (?:his|her|the|their) allerg)|"
    r"(?:go(?:es)?|went|keeps?|kept) on|(?:keeps?|kept) (?:taking|using)|"
    r"continu\w+|restart\w*|resum\w+|administered|treated with|begun|began|initiated|"
    r"uses?|using)\b",
}
STATUS_PATTERN = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _STATUS.items()))
_BREAK = re.compile(
    r";|, (?:it|he|she|so)\b|\bif\b|\bbut\b|\bthen\b|\binstead\b|\bexcept\b|"
    r"\b(?:other|besides|apart|aside) (?:than|from)\b"
)
# What stands between "stopped" and a drug, where it is said of what comes before it: "X stopped in May, Y"
_OF_WHAT_IS_BEFORE = re.compile(
    r"\s*(?:[,.)]|(?:yesterday|today|last|this|in|on|at|by|as|because|since|due|after|before|for|when|until|\d+)\b[^:]*,)"
)
_QUESTION = re.compile(r"(?: \d[^,.;?\n]{0,12})?\?(?!\w)")  # "start warfarin?"
_BEGINS = re.compile(r"(?:re)?start|begin|began|begun|initiat|prescrib")
# What stands before "start" or "stop", where it is yet to come; to be told to stop is to stop
_YET_TO_COME = re.compile(
    r"(?:\b(?:plan(?:s|ned|ning)?(?: is)?(?: to)?|will|would(?: have)?(?: to)?|hop(?:es|ing) to|intend(?:s|"
    r"ing)? to|aim to|"
    r"going to|due to)|(?<!advised)(?<!told)(?<!asked)(?<!instructed)(?<!able) to)(?: be| get| come| go)? \Z"
)
_PREDICATE = re.compile(r" (?:was|were|is|are|(?:has|have|had)(?: not)? been|will be) (?:now )?")
_OTHER_THING = re.compile(r",|\band\b")
_NOT_STOPPED = re.compile(r"\b(?:not|never|without|n['’]t)(?: (?:need|have) to| be| been)? \Z")  # "need not stop"
_WISHED = re.compile(
    r"\b(?:would like|['’]d like|wants?|wish(?:es)?|hop(?:es|ing)|keen|asks?) to (?:get |come |be )?\Z"
)
_INSTEAD = re.compile(r"[^,.;:\n]{0,40}\binstead\b(?! of)")
_NOT_ALLERGIC = re.compile(r"\b(?:not|no|never|without|denies|denied)(?: known| any| an?| history of)* \Z")
_OPEN = re.compile(r"\b(?:consider(?:ing)?|may|might|could|if|would|whether) (?:be |to )?\Z")  # what may come
_OF_DRUG_BEFORE = re.compile(r"replaced|substituted|(?:switched|changed|converted|swapped)\Z")
_FROM_TO = re.compile(r"(?:switched|changed|converted)(?: \w+)? from\b.* to ")  # of the first drug alone
SWITCHED = re.compile(r"switched|changed|converted|swapped")  # to another drug
_TO_DRUG = re.compile(r" (?:over )?(?:to|for) (?:oral |iv |po |intravenous )?")
_RELATIVE = re.compile(r"\b(?:which|that|it) \Z")
_OTHER_CLAUSE = re.compile(r"(?! ?(?:tak|giv|us|on\b|start|prescrib|tolerat))[^:]*:")  # "not at goal: switch to"
_GOT = re.compile(  # right before a drug
    r"\b(?:got|gets?|getting|ha[sd]|having|keeps?|kept|keeping)(?: (?:been )?(?:some|the|an?|his|her|iv|im|"
    r"oral|intravenous|of|\d[\d.,]* ?(?:m?c?g|ml|units?)))* \Z"
)
_QUERIED = re.compile(r"(?<![a-z\d])\?\Z")  # "MDT ?mepolizumab"
_LASTS = re.compile(r"\b(?:continue|keep|carry|stay|remain|will|should|must|is to|to (?:be|take)|goes?|going)\b")
_FORMERLY = re.compile(r"previously|formerly")
_PASSIVE = re.compile(r"\b(?:was|were|is|been)\b")


def drug_status(text: str, start: int, end: int, sentence: tuple[int, int], after: int) -> Mention | None:
    """The status that the words of its sentence give a drug: the last before it, else the first after it."""
    first = max(sentence[0], start - 70)
    before = [m for m in STATUS_PATTERN.finditer(text, first, start) if not _ends(text, m, start)]
    before = [] if _INSTEAD.match(text, end) else before
    before = [m for m in before if m[0] != "not" or not _OTHER_CLAUSE.match(text, m.end(), start)]
    before = [m for m in before if not _FORMERLY.match(m[0]) or m.end() + 1 >= start]
    before = [m for m in before if not _OF_DRUG_BEFORE.match(m[0]) and not _FROM_TO.search(text, m.start(), start)]
    behind = [
        m
        for m in STATUS_PATTERN.finditer(text, end, min(sentence[1], after, end + 60))
        if not text[m.end() : m.end() + 1].isalnum()  # a word that is cut
        and not _BREAK.search(text, end, m.start())
        and _is_said_of(text, end, m, after)
    ]
    is_none = before and before[-1][0] == "no" and not _OTHER_THING.search(text, before[-1].end(), start)
    of_its_own = (
        (  # "..., and opioids were not given"; not "no opioids were given"
            behind and not is_none and _PREDICATE.fullmatch(text, end, behind[0].start())
        )
        or (  # "no cough, sertraline stopped"
            behind
            and before
            and text[end : behind[0].start()] == " "
            and _OTHER_THING.search(text, before[-1].end(), start)
        )
    )
    match = behind[0] if behind and (of_its_own or not before) else (before[-1] if before else None)
    if _QUERIED.search(text, max(0, start - 2), start):
        return Mention(start - 1, start, "open")
    if not match and (got := _GOT.search(text, first, start)):
        return Mention(*got.span(), "active")
    if match and (special := _not_yet(text, match, max(sentence[0], match.start() - 24), end)):
        return Mention(*match.span(), special)
    if match and behind and match.lastgroup == "active" and behind[0].lastgroup == "stopped" and match in before[-1:]:
        match = match if _NOT_STOPPED.search(text, end, behind[0].start()) else behind[0]
    if (
        match
        and before
        and match in before
        and match.lastgroup == "active"
        and any(m.lastgroup == "denied" for m in before[-2:-1])
    ):
        match = before[-2]
    return Mention(*match.span(), match.lastgroup or "") if match else None


def _ends(text: str, status: re.Match[str], start: int) -> bool:
    """Whether the words of a status are not said of a drug behind them, which begins at `start`."""
    if (
        status.lastgroup in ("stopped", "denied")
        and len(status[0]) > 3
        and _OF_WHAT_IS_BEFORE.match(text[status.end() : start])
    ):
        return status[0] not in ("never", "denies", "denied", "without")
    is_header = text[status.end() : status.end() + 1] == ":"
    return not is_header and bool(_BREAK.search(text, status.end(), start))


def _not_yet(text: str, status: re.Match[str], first: int, end: int) -> str:
    """What an active or stopped drug that ends at `end` is by the words before its status, from `first` on: `open`
    where it may come, `planned` and `to stop` where it will, `tolerated` where there is no allergy; else empty."""
    before = text[first : status.start()]
    match status.lastgroup:
        case "active" if _OPEN.search(before) or (_BEGINS.match(status[0]) and _QUESTION.match(text, end)):
            return "open"
        case "active" if _BEGINS.match(status[0]) and _YET_TO_COME.search(before):
            return "planned"
        case "stopped" if _NOT_STOPPED.search(before) or _WISHED.search(before):
            return "active"
        case "stopped" if _YET_TO_COME.search(before) and not before.endswith("will "):
            return "to stop"
        case "allergy" if _NOT_ALLERGIC.search(before) and status[0].startswith("allerg"):
            return "tolerated"
    return ""


def _is_said_of(text: str, end: int, status: re.Match[str], after: int) -> bool:
    """Whether the words of a status are said of the drug before them, which ends at `end`; the next begins at
    `after`."""
    if SWITCHED.fullmatch(status[0]):  # to another drug, not to another dose
        return bool(_TO_DRUG.fullmatch(text, status.end(), after)) and after < len(text)
    match status.lastgroup:
        case "denied":
            if status[0].startswith(("defer", "postpon")):  # "warfarin continued, scan deferred"
                return not _OTHER_THING.search(text, end, status.start())
            return status[0].startswith(("not ", "never ", "declin", "refus"))
        case "stopped" if status[0].startswith("until"):
            return not _LASTS.search(text, max(0, end - 60), status.start())
        case "stopped" | "allergy":
            return not (_RELATIVE.search(text, end, status.start()) or _FORMERLY.match(status[0]))
        case "open":
            return status[0] != "in place of" and "," not in text[end : status.start()]
        case _:
            return status.lastgroup == "active" and bool(_PASSIVE.search(text, end, status.end()))
