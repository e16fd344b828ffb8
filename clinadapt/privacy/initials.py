"""Initials of who wrote, typed, saw or is asked: `cc: GHT`, `seen by JT`, `KB to chase`, `09:20 MW.`"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from clinadapt.privacy.chart_forms import chart_words, is_relation
from clinadapt.privacy.features import Token, text_at
from clinadapt.privacy.spans import Span
from clinadapt.privacy.word_lists import clinical_words, cue_classes, english_rank

_SIGNED = frozenset(["cc", "dict", "dictated", "typed", "initials", "sig", "signed", "cosigned", "sgd", "hdz",
                     "diktat", "handzeichen", "gez"])  # fmt: skip
_TYPED = frozenset(["typed", "dict", "hdz", "diktat", "handzeichen"])  # by initials in small letters too
_TOLD = frozenset(["paged", "page", "bleep", "bleeped", "informed", "told", "notified", "ask",
                   "asked", "rang", "texted", "phoned", "emailed", "chaperone", "chaperoned", "updated"])  # fmt: skip
_WITH = frozenset(["seen", "reviewed", "discussed", "spoke", "spoken", "assessed", "examined", "assisted", "visit",
                   "joint", "checked", "staffed", "rounded", "handover", "meeting", "mdt", "met",
                   "session"])  # fmt: skip
_TO = frozenset(["report", "handover", "handed", "over", "reported", "given", "message", "referred", "copy", "signout"])
_ROUTES = frozenset(["ok", "iv", "po", "im", "sc", "od", "bd", "pr", "pv", "am", "pm", "ng"])
_TASKS = frozenset(["arrange", "chase", "review", "see", "ring", "call", "follow", "book", "discuss", "check",
                    "update", "inform", "liaise", "write", "speak", "contact", "visit", "order", "phone", "email",
                    "ask", "feedback", "attend", "complete", "refer", "consent", "rpt", "r"])  # fmt: skip
_DOES = frozenset(["aware", "following", "agrees", "informed", "notified", "happy", "attending", "rmn", "rn", "rgn",
                   "hca", "pta", "agreed", "emailed", "phoned", "bleeped"])  # fmt: skip
_SCOTTISH = re.compile(r"[A-Z]{1,2}(?:Mc|Mac)[A-Z]")


def initials_spans(words: Sequence[Token]) -> Iterator[Span]:
    """Initials by the words around them; they may overlap."""
    for index, token in enumerate(words):
        kind = _kind(token.text)
        if kind == "label":
            yield from _after_label(words, index)
        elif kind == "irish" and _is_letter(words, index + 2) and text_at(words, index + 1) in ("'", "’"):
            yield Span(token.start, words[index + 2].end, "INITIALS")
        elif kind == "mac" or (kind and _are_initials(token.text) and (_is_told(words, index) or _acts(words, index))):
            yield Span(token.start, token.end, "INITIALS")
    yield from _last_initials(words)


@lru_cache(maxsize=30_000)
def _kind(word: str) -> str:
    """Which rule a word may begin; empty for none."""
    if not word[0].isalpha():
        return ""
    lower = word.lower()
    if re.fullmatch("[A-Z]{1,2}[OD]", word):
        return "irish"  # perhaps `SO'D`
    if lower in _SIGNED or is_relation(lower):
        return "label"
    if word[0].islower() or not 1 < len(word) < 6:
        return ""
    if _SCOTTISH.fullmatch(word):
        return "mac"
    return "initials" if _are_initials(word) else ""


def _is_letter(words: Sequence[Token], index: int) -> bool:
    word = text_at(words, index)
    return len(word) == 1 and word.isupper() and words[index - 2].end + 2 > words[index].start


def _may_be_initials(word: str) -> bool:
    lower = word.lower()
    known = lower in clinical_words() or lower in cue_classes() or lower in chart_words("no_names")
    return 1 < len(word) < 4 and word.isalpha() and word.isupper() and not known and english_rank(lower) > 3000


def _are_initials(word: str) -> bool:
    return _may_be_initials(word) and word.lower() not in chart_words("no_initials")


def _is_told(words: Sequence[Token], index: int, others: int = 3) -> bool:
    """Whether initials stand after who did something, or who was told: `seen by JT`, `d/w KB`, `report to LM`; with so
    many others at most before them, as in `seen by JT & KB`."""
    word, before, last = words[index].text, text_at(words, index - 1).lower(), text_at(words, index - 2).lower()
    if text_at(words, index - 1).isupper() and (len(word) > 2 or english_rank(word.lower()) < 60_000):
        return False  # in a line of capitals
    if before in ("+", "&"):
        joined = others > 0 and index > 3 and len(text_at(words, index - 2)) == 2
        return joined and _is_told(words, index - 2, others - 1)
    if before == "by":
        return last not in ("", "accompanied", "followed", "confirmed", "caused", "replaced", "excluded")
    if before in ("with", "w"):
        return last in _WITH or (before == "w" and last == "/" and text_at(words, index - 3).lower() == "d")
    if before == "to":
        return last in _TO
    return before in _TOLD or (before == "per" and last in ("as", "plan", "advice", "review"))


def _acts(words: Sequence[Token], index: int) -> bool:
    """Whether initials stand before what somebody does, or after a time: `KB to chase`, `09:20 MW.`"""
    at = index + 1 + (text_at(words, index + 1) == ")")
    after, following = text_at(words, at).lower(), text_at(words, at + 1).lower()
    if after == "to" and following in _TASKS and not text_at(words, at).isupper():
        return True
    if after in _DOES and not text_at(words, at).isupper():
        return True
    minutes, sign, hours = (text_at(words, index - back) for back in (1, 2, 3))
    timed = len(minutes) == 2 and minutes.isdigit() and sign == ":" and len(hours) == 2 and hours.isdigit()
    ends = after in ("", ".", ",", ";") or after[0] == "\n"
    return timed and ends and words[index].text.lower() not in _ROUTES


def _after_label(words: Sequence[Token], index: int) -> Iterator[Span]:
    """`cc: GHT`, `typed mm`: initials of who wrote, typed or gets a note."""
    at = index + 1
    while text_at(words, at) in (":", ".", "-") and at - index < 3:
        at += 1
    word = text_at(words, at)
    typist = words[index].text.lower() in _TYPED and len(word) == 2 and word.isalpha()
    both = typist and text_at(words, at + 1) == "/" and len(text_at(words, at + 2)) < 4  # `St/ho`
    if _may_be_initials(word) or (typist and (both or _may_be_initials(word.upper()))):
        last = at
        while (
            text_at(words, last + 1) == "/" and text_at(words, last + 2).isalpha() and len(text_at(words, last + 2)) < 4
        ):
            last += 2
        yield Span(words[at].start, words[last].end, "INITIALS")


def _last_initials(words: Sequence[Token]) -> Iterator[Span]:
    """`-jpl`, `KO` at the end of a note: initials of who wrote it."""
    if len(words) < 20:
        return
    last, before = words[-1].text, words[-2].text
    dashed = (
        before in ("-", "–", "—", "--") and last.isalpha() and 1 < len(last) < 5 and words[-3].end < words[-2].start
    )
    typed = len(last) == 2 and last.islower() and before in (".", "/") and _may_be_initials(last.upper())
    timed = re.fullmatch(r"(?:[01]\d|2[0-3])[0-5]\d", before) is not None
    ends = (timed or before == ".") and re.fullmatch(r"[A-Z]{2}", last) is not None and last.lower() not in _ROUTES
    signed = typed or ends or (before[0] in ".\n]" and _may_be_initials(last))
    if (dashed and last.lower() not in clinical_words()) or signed:
        yield Span(words[-1].start, words[-1].end, "INITIALS")
