"""Sides of a text: left, right and both, with what they are said of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from clinadapt.clinical.claims.words import STOP_WORDS, Word

_SIDE = {
    "left": "left", "lt": "left", "l": "left", "right": "right", "rt": "right", "r": "right", "bilateral": "both",
    "bilaterally": "both", "both": "both", "bilat": "both", "b/l": "both", "bil": "both",
    "os": "left", "od": "right", "ou": "both",
}  # fmt: skip
# Short forms that hold a side -> the stems of what they are said of
_SIDED = {
    "uq": ("upper", "quadrant", "abdomen"), "lq": ("lower", "quadrant", "abdomen"), "if": ("iliac", "fossa", "abdomen"),
    "ul": ("upper", "lobe", "lung"), "ml": ("middl", "lobe", "lung"), "ll": ("lower", "lobe", "lung"),
    "ca": ("coronary", "artery", "heart"), "bbb": ("bundl", "branch", "block"),
    "v": ("ventricl", "heart"), "vh": ("ventricl", "hypertrophy"), "vf": ("ventricl", "failure"),
    "ue": ("upper", "extremity", "arm"), "le": ("lower", "extremity", "leg"),
}  # fmt: skip
_SIDE_PATTERN = re.compile(
    r"\b(?:left|right|bilat(?:eral(?:ly)?)?|both|b/l|bil(?=[. ])|lt|rt|"
    r"(?P<letter>(?:(?<!\d )|(?<=/52 )|(?<=/12 )|(?<=/7 )|(?<=[a-z]\d ))(?<![\d/])[lr](?!\d|/[vo]\b|[&'’]\w|"
    r"-(?!sided)\w)|o[sdu])|"
    rf"(?P<of>[lr](?:{'|'.join(_SIDED)})))\b"
    r"(?!(?<=rv)(?: ?\d|:| (?:in|on|at|with|by|after|if|clinic)\b)|(?<=for rv))"  # a review
)
_NOT_A_SIDE = re.compile(
    r"\b(?:was|were|been|is) left[.,;]|"
    r"right (?:away|now|before|after|at\b|upper extremity swelling$)|\b(?:all|is|that's|,) right[.,!?]|"
    r"both (?:\w+ly|once|twice|three times|of (?:them|these|which|whom)|iv|im|po|by|with|for|from|is|are|was|"
    r"were|negative|positive|before|"
    r"after)\b|"
    r"both (?:his|her|their|the|an?) \w+ and\b|"
    r"both (?:upper|lower|medial|lateral|anterior|posterior|superior|inferior|proximal|distal|active|passive) and\b|"
    r"(?:left|right)[- ]hand(?:ed\b|[- ]domin)|left (?:an?|as|alone|unchanged|untreated|open|out|off|to|"
    r"early|some|scars?|scarring|marks|behind|over|him|the|for|in|at|with|on|without|"
    r"ama|against|school|work|home|"
    r"nursing|hospital|his|her|my|our|their)\b"
)
_VERB_BEFORE = re.compile(r"\b(?:s?he|they|who|(?:it|this|that|which) (?:has|had)) \Z")  # "he left at six"
_COMPARED = re.compile(r"\bthan (?:(?:on|in|at) )?(?:the |his |her )?\Z")  # "larger than the right"
_SHORT_NAMES = {
    **dict.fromkeys(("tka", "tkr"), ("knee", "replacement")), **dict.fromkeys(("tha", "thr"), ("hip", "replacement")),
}  # fmt: skip
_UNITS = {"cm", "mm", "ml", "mmhg", "db", "degre", "deg"}
_OF_EYE = re.compile(
    r"\b(?:optic|vision|visual|va|iop|cataract|glaucoma|retin\w+|macul\w+|cornea\w*|eyes?|phaco)\b[^.;]*\Z"
)
_AND_OTHER_SIDE = re.compile(r" ?(?:and|or|&)(?: the)? (?:left|right)\b")  # "the left and right knee"
_OF_WHAT = re.compile(r"\b(?:of|in|on|from) (?:(?:the|his|her|their|its) )?\Z")
_CLAUSE_END = re.compile(r"[.;:\n]|, |\b(?:and|but|left|right|with|which|who)\b")
# adjective of an organ -> its noun, so that "renal" is the kidney
_ORGANS = {
    "renal": "kidney", "hepatic": "liver", "cardiac": "heart", "pulmonary": "lung", "femoral": "femur",
    "tibial": "tibia", "ocular": "ey", "cerebral": "brain", "mammary": "breast", "ovarian": "ovary",
    "testicular": "testicl", "ventricular": "ventricl", "hemiparesis": "weakness", "hemiplegia": "weakness",
}  # fmt: skip


@dataclass(frozen=True)
class SideMention:
    """A side with the stems of the words that it is said of, the nearest first; `asked` in a question."""

    start: int
    end: int
    side: str
    of: tuple[str, ...]
    asked: bool


def side_mentions(
    text: str,
    lower: str,
    sentence_at: Callable[[int], tuple[int, int]],
    words_within: Callable[[int, int], list[Word]],
) -> list[SideMention]:
    """Sides of a text with what each is said of.

    Args:
        text: any text.
        lower: the text in lower case.
        sentence_at: span of the sentence at a character.
        words_within: words of the text within a span.
    """
    sides: list[SideMention] = []
    of_eyes = "OS" in text or "OU" in text  # OD is once daily, too
    for match in _SIDE_PATTERN.finditer(lower):
        around = lower[max(0, match.start() - 6) : match.end() + 20]
        short = match["letter"] or match["of"]
        if (short and not text[slice(*match.span())].isupper()) or _NOT_A_SIDE.search(around):
            continue
        if match[0] == "left" and _VERB_BEFORE.search(lower, max(0, match.start() - 18), match.start()):
            continue
        if _COMPARED.search(lower, max(0, match.start() - 14), match.start()):
            continue
        of = _words_beside(lower, match.start(), match.end(), words_within)
        if match["of"]:
            of = (*_SIDED[short[1:]], *of)
        elif short and short[0] == "o":
            if not (of_eyes or _OF_EYE.search(lower, max(0, match.start() - 25), match.start())):
                continue
            of = ("ey", *of)
        if sides and not any(map(str.isalpha, "".join(name for name in of if name not in _UNITS))):
            begin, _ = sentence_at(match.start())  # "left kidney 8.2 cm, right 10.4 cm"
            of = sides[-1].of if begin <= sides[-1].start else of
        asked = text[slice(*sentence_at(match.start()))].rstrip().endswith("?")
        side = _SIDE[short[0] if match["of"] else match[0]]
        sides.append(SideMention(*match.span(), side, of, asked))
    return sides


def _words_beside(lower: str, start: int, end: int, words_within: Callable[[int, int], list[Word]]) -> tuple[str, ...]:
    """Content words after a side within its clause; where there are none, or only "side", those before it."""
    if other := _AND_OTHER_SIDE.match(lower, end):
        end = other.end()
    end += lower[end : end + 1] == ":"  # "Right: stable calcifications"
    clause = _clause_end(lower, end, is_short=end - start <= 2)
    after = [w for w in words_within(end, end + 45) if w.end <= clause]
    chosen = _content(after)
    if chosen and (of := _OF_WHAT.search(lower, max(0, start - 45), start)):  # "the lower lobe of the left lung"
        begin = max(
            (m.end() for m in _CLAUSE_END.finditer(lower, max(0, start - 45), of.start())), default=max(0, start - 45)
        )
        chosen = [*chosen, *_content(reversed(words_within(begin, of.start())))]
    if not chosen or (after[0].stem == "side" and "of" not in {w.stem for w in after[1:2]}):
        chosen = _content(reversed(words_within(max(0, start - 45), start))) or chosen
    return tuple(part for name in chosen for part in _SHORT_NAMES.get(name, (_ORGANS.get(name, name),)))


def _clause_end(lower: str, position: int, is_short: bool) -> int:
    match = _CLAUSE_END.search(lower, position + (is_short and lower[position : position + 1] == "."))  # L. knee
    return match.start() if match else len(lower)


def _content(near: Iterable[Word]) -> list[str]:
    """Stems of the first three content words, without those of sides."""
    return [w.stem for w in near if w.stem not in STOP_WORDS and w.stem not in ("side", "sid") and w.stem not in _SIDE][
        :3
    ]
