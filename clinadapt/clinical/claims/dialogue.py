"""Dialogue in a note, as transcripts have it: who speaks about whom, and what a question with its reply says.

A finding that a doctor asks for is denied or affirmed by the reply. What a question takes for granted is affirmed
whatever the reply is ("how long have you had the cough?"), or left open ("is your asthma worse?" may ask for the asthma
too).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import NamedTuple

from clinadapt.clinical.claims.words import Word

DENIED = frozenset({1, 3, 4})  # marks of what is denied, as in Context.negated
_DOCTORS = r"doctor|dr|physician|clinician|provider|nurse|interviewer|guest_clinician"
_TURN = re.compile(
    rf"^[ \t]*(?P<who>(?P<doctor>{_DOCTORS})|(?P<patient>patient|pt)|(?P<guest>guest\w*|family|mother|father|mom|dad|"
    r"parent|caregiver|daughter|son|wife|husband))\.?:[ \t]",
    re.IGNORECASE | re.MULTILINE,
)
# relation to the one who speaks for the patient, or is asked about the patient -> sex
_RELATIONS = {
    "son": "M", "daughter": "F", "little boy": "M", "little girl": "F", "boy": "M", "girl": "F", "husband": "M",
    "wife": "F", "father": "M", "dad": "M", "mother": "F", "mom": "F", "mum": "F", "brother": "M", "sister": "F",
    "grandson": "M", "granddaughter": "F", "grandfather": "M", "grandmother": "F", "baby": "", "child": "",
}  # fmt: skip
_RELATION = re.compile(rf"\b(?P<by>your|my) (?P<of>{'|'.join(_RELATIONS)})\b(?!['’]s)")
_CHILDREN = ("son", "daughter", "boy", "girl", "baby", "child", "little boy", "little girl")
_HAS = re.compile(r"['’]s |,? (?:is|was|has|had|here|needs|keeps|woke|fell|started|got)\b")
_OTHER_PERSON = re.compile(r"\b(?:he|she)\b")
_SPEAKER = re.compile(r"\b(?:i|my|me)\b")
_SPEAKER_OR_HEARER = re.compile(r"\b(?:i|you|my|me|your)\b")
_ADDRESS = re.compile(r"\b(?:(?P<m>sir|mister|mr)|(?P<f>ma['’]?am|madam|miss|mrs|ms))\b")
_DESCRIBED = re.compile(
    r"\b(?:year|yr)s?[- ]old (?:[a-z-]+ ){0,3}(?:(?P<m>male|man|gentleman|boy)|(?P<f>female|woman|lady|girl))\b"
)

_FILLERS = r"(?:(?:um|uh|er|ah|oh|well|hmm?|okay|ok|so|gosh|actually|honestly|thankfully|luckily)[,.]* )*"
_NO = re.compile(
    rf"{_FILLERS}(?:(?:absolutely|definitely|certainly|of course|probably) )?(?:no|nope|nah|never|not|none|nothing|"
    r"neither|negative|i (?:don['’]?t|do not|haven['’]?t|have not|"
    r"didn['’]?t|did not|deny)|(?:he|she) (?:doesn['’]?t|does not|hasn['’]?t|has not|didn['’]?t|did not))\b"
)
_YES = re.compile(
    rf"{_FILLERS}(?:yes|yeah|yep|yup|sometimes|a little|sure|definitely|absolutely|correct|right|uh huh|"
    r"of course|exactly|that['’]s (?:right|correct)|(?:i|he|she) (?:do|have|did|does|has)(?= *(?:[.,!\n]|$)))"
)
_CORRECTS = re.compile(rf"{_FILLERS}no\W+(?:only|just|but|mostly|mainly)\b")
_ABOUT = re.compile(r"\b(?:how|what) about\b")
_ASKS_HOW = re.compile(rf"{_FILLERS}(?:and |but )?(?:how|what|when|where|why|which|who|whose)\b")
_ASKS_WHETHER = re.compile(
    r"\b(?:(?:have|do|did|are|were|does|has|had|is|was) (?:you|he|she|they|it|there|the|your|his|her|any\w*)|"
    r"(?:how|what) about)\b"
)
_ASKS_AT_ONCE = re.compile(
    rf"{_FILLERS}(?:and |but )?(?:any|no|(?:have|do|did|are|does|has|is) (?:you|he|she|there|any))\b"
)
_STILL = re.compile(r"\b(?:still|anymore|any more|any longer|again|right (?:away|now)|immediately)\b")
_TAG = re.compile(
    r",? (?:right|correct|yes|is that (?:right|correct)|are(?:n['’]t| n['’]t) (?:you|they)|is(?:n['’]t| it))\?"
)
_GIVEN = re.compile(r"\b(?:your|his|her|the) (?:[a-z-]+ ){0,2}[a-z-]+\b")  # your asthma, the chest pain
_FURTHER = 3  # sentences of the same speaker between a question and its reply at most


class Turn(NamedTuple):
    """A turn: where its label begins, where its words begin, and whether a doctor, the patient or a guest speaks."""

    start: int
    words: int
    speaker: str


def turns(text: str) -> list[Turn]:
    """Turns of a dialogue; none where a text is no dialogue between a doctor and somebody else."""
    found = [Turn(match.start(), match.end(), _speaker(match)) for match in _TURN.finditer(text)]
    speakers = {turn.speaker for turn in found}
    return found if "doctor" in speakers and len(speakers) > 1 else []


def _speaker(match: re.Match[str]) -> str:
    return next(name for name in ("doctor", "patient", "guest") if match[name])


def patient_relation(lower: str, spoken: list[Turn]) -> str:
    """What the patient is to a guest who speaks, such as `son`; empty where no guest speaks or it is not said."""
    match = _relation(lower, spoken)
    return match["of"] if match else ""


def _relation(lower: str, spoken: list[Turn]) -> re.Match[str] | None:
    """The first "my son has" of a guest, or "your son" to one. Where the patient speaks too, a guest may be the wife,
    and only a child is the patient."""
    if not spoken:
        return None
    ends = [turn.start for turn in spoken[1:]] + [len(lower)]
    heard = [turn.speaker for turn in spoken[1:]] + [""]
    children_only = any(turn.speaker == "patient" for turn in spoken)
    for turn, end, hears in zip(spoken, ends, heard, strict=True):
        by = "my" if turn.speaker == "guest" else "your" if hears == "guest" else ""
        for match in _RELATION.finditer(lower, turn.words, end):
            about = by == "your" or _HAS.match(lower, match.end())
            if match["by"] == by and about and (match["of"] in _CHILDREN or not children_only):
                return match
    return None


def patient_sex(lower: str, spoken: list[Turn]) -> tuple[str, int, int] | None:
    """(`F` or `M`, span that shows it) of the patient of a dialogue: by relation to a guest, by a description, or by
    how the doctor addresses him or her; None where these tell nothing or both. A pronoun may mean anybody."""
    if relation := _relation(lower, spoken):
        sex = _RELATIONS[relation["of"]]
        return (sex, *relation.span("of")) if sex else None
    found = [*_DESCRIBED.finditer(lower)]
    ends = [turn.start for turn in spoken[1:]] + [len(lower)]
    for turn, end in zip(spoken, ends, strict=True):
        if turn.speaker == "doctor":
            found += _ADDRESS.finditer(lower, turn.words, end)
    sexes = {(match.lastgroup or "").upper() for match in found}
    return (sexes.pop(), *found[0].span()) if len(sexes) == 1 else None


def has_guest(spoken: list[Turn]) -> bool:
    """Whether a guest takes one of the turns."""
    return any(turn.speaker == "guest" for turn in spoken)


def of_others(lower: str, spoken: list[Turn], span: tuple[int, int], guest: bool) -> list[tuple[int, int]]:
    """Spans of a sentence that may be about somebody else than the patient, who says "I" and hears "you": those about
    him or her; where a guest speaks for the patient, what the guest says of himself. `guest`: as of `has_guest`."""
    if not spoken:
        return []
    speaks = spoken[max(0, bisect_right(spoken, span[1] - 1, key=lambda each: each.start) - 1)].speaker
    if guest and speaks != "guest":
        return []
    other, back = (_SPEAKER, _OTHER_PERSON) if guest else (_OTHER_PERSON, _SPEAKER_OR_HEARER)
    spans, position = [], span[0]
    while match := other.search(lower, position, span[1]):
        again = back.search(lower, match.end(), span[1])
        position = again.start() if again else span[1]
        spans.append((match.start(), position))
    return spans


def answer_questions(
    lower: str,
    spoken: list[Turn],
    spans: list[tuple[int, int]],
    bounds: list[tuple[int, int]],
    words: list[Word],
    negated: list[int],
) -> None:
    """Mark the words of questions by their replies: 0 affirmed, 1 denied, 2 left open.

    Args:
        lower: the text in lower case.
        spoken: its turns.
        spans: of its sentences.
        bounds: (first word, word behind the last) of each sentence.
        words: of the text.
        negated: of each word, changed here.
    """
    if "?" not in lower and not spoken:
        return
    begins = [_words_of_turn(lower, span, spoken) for span in spans] if spoken else [0] * len(spans)
    for number, (start, end) in enumerate(spans):
        first, last = bounds[number]
        if first == last or not _is_question(lower, number, spans, begins):
            continue
        begin = begins[number] or start
        reply = _reply(lower, number, spans, begins, bool(spoken))
        _mark(lower[begin:end], begin, reply, words, first, last, negated)


def _words_of_turn(lower: str, span: tuple[int, int], spoken: list[Turn]) -> int:
    """Where the words of a turn begin whose label the sentence begins with; 0 where it begins with none."""
    start = span[0]
    while start < span[1] and lower[start].isspace():
        start += 1
    turn = bisect_right(spoken, start, key=lambda each: each.start) - 1
    return spoken[turn].words if turn >= 0 and start < spoken[turn].words else 0


def _is_question(lower: str, number: int, spans: list[tuple[int, int]], begins: list[int]) -> bool:
    """Whether a sentence asks: by its mark; where the next speaker follows, also one without."""
    start, end = spans[number]
    sentence = lower[begins[number] or start : end].rstrip()
    if sentence.endswith("?"):
        return True
    followed = number + 1 < len(spans) and begins[number + 1]
    return bool(followed and (_ASKS_AT_ONCE.match(sentence) or sentence.endswith("-")))


def _reply(lower: str, number: int, spans: list[tuple[int, int]], begins: list[int], is_dialogue: bool) -> str:
    """The sentence that replies: the first of the next speaker; without speakers, the next sentence."""
    behind = range(number + 1, min(len(spans), number + 2 + _FURTHER * is_dialogue))
    for other in behind:
        if begins[other] or not is_dialogue:
            return lower[begins[other] or spans[other][0] : spans[other][1]]
    return ""


def _mark(sentence: str, begin: int, reply: str, words: list[Word], first: int, last: int, negated: list[int]) -> None:
    reply = reply.lstrip()
    no = bool(_NO.match(reply))
    yes = not no and bool(_YES.match(reply))
    if _TAG.search(sentence):  # "you don't smoke, right?"
        if not yes:
            negated[first:last] = [2] * (last - first)
        return
    if _ASKS_HOW.match(sentence) and not _ABOUT.search(sentence):
        return
    asks = _ASKS_WHETHER.search(sentence)
    asked_from = begin + (asks.start() if asks else 0)
    given = [(begin + m.start(), begin + m.end()) for m in _GIVEN.finditer(sentence)] if no else []
    value = 0 if yes else 1 if no and not (_STILL.search(sentence) or _CORRECTS.match(reply)) else 2
    for i in range(first, last):
        start = words[i].start
        if start < asked_from or (negated[i] in DENIED and (yes or no)):  # "no fever?" is denied by yes and by no
            continue
        negated[i] = 2 if any(a <= start < b for a, b in given) else value
