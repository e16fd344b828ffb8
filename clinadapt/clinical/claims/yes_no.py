"""A bare "Yes." or "No." as the statement that it makes of its question."""

from __future__ import annotations

import re

from clinadapt.clinical.claims.reading import read
from clinadapt.clinical.claims.words import STOP_WORDS

_WHO = r"(?:he|she|they|the (?:patient|baby|child|boy|girl|man|woman)|pt)"
_BARE = re.compile(
    rf"\W*(?:(?P<yes>yes|present)|no|absent|none|denied)\b\W*(?:(?:{_WHO}|it|there) [a-z]+(?:n['’]t| not)?)?\W*"
)
_YES = re.compile(r"\W*(?P<yes>yes)[,.:;] (?![^.]*\b(?:not?|never|none|resolved|but)\b).+", re.DOTALL)
_ASKS_FOR_FINDING = re.compile(
    rf"\W*(?:(?:is|are|was|were) there|(?:does|do|did) {_WHO} (?:have|report|complain of|suffer from)|"
    rf"(?:has|have|had) {_WHO}(?: (?:had|got))?) (?:any |an? |the )?(?P<of>[^?]+)\?\s*"
)
_FEW = 4  # words of what a question asks for
_HABIT = re.compile(rf"\W*(?:does|do) {_WHO} (?:still )?(?P<of>smoke|drink|drive|work)\?\s*")
_ASKS_FOR_DRUG = re.compile(
    rf"\W*(?:(?:does|do|did) {_WHO} (?:still )?(?:take|use|get|receive)|(?:is|was) {_WHO} (?:still )?(?:on|"
    rf"taking|given|using)) "
    r"(?P<of>[^?]+)\?\s*"
)


def as_statement(answer: str, question: str) -> str:
    """What a bare no, or a yes, states; empty where the answer says more, or the question asks for more than
    whether the patient has one finding or takes one drug."""
    bare = _BARE.fullmatch(answer.lower()) or _YES.fullmatch(answer.lower())
    if bare and (habit := _HABIT.fullmatch(question.lower())):
        return f"The patient {'still ' + habit['of'] + 's' if bare['yes'] else 'does not ' + habit['of']}."
    finding, drug = (pattern.fullmatch(question.lower()) for pattern in (_ASKS_FOR_FINDING, _ASKS_FOR_DRUG))
    asks = finding or drug
    if not bare or not asks:
        return ""
    of = question[slice(*asks.span("of"))].strip()
    asked = read(of)
    named = asked.findings if finding else asked.drugs
    inside = {w.stem for each in named for w in asked.words_within(each.start, each.end)}
    if finding and not named and bare["yes"] and asked.stems - STOP_WORDS and len(asked.words) <= _FEW:
        return f"There is {of}."
    if len({(each.start, each.end) for each in named}) != 1 or asked.stems - inside - STOP_WORDS:
        return ""
    if finding:
        return f"The patient has {of}." if bare["yes"] else f"The patient has no {of}."
    return f"The patient takes {of}." if bare["yes"] else f"The patient does not take {of}."
