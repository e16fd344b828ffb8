"""Opposites: the lower lobe of a note is no upper lobe, and what has improved has not got worse."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clinadapt.clinical.claims.checked import CheckedClaim, verdict
from clinadapt.clinical.claims.kinds import Claim
from clinadapt.clinical.claims.reading import Reading
from clinadapt.clinical.claims.words import STOP_WORDS, stem

# kind of a claim: words of one side | words of the other, or of the others
_GROUPS = {
    "status": ["accepted agreed consented | declined refused", "continue continued continuing ongoing running |"
    " stop stopped discontinued held withdrawn ceased removed"],
    "finding": ["open | laparoscopic keyhole endovascular robotic", "unilateral | bilateral"],
    "site": [
        "upper | lower", "proximal | distal", "medial | lateral", "anterior | posterior", "superior | inferior",
        "ascending | descending", "frontal | occipital", "internal | external",
    ],
    "result": [
        "improved improving improvement better | worse worsened worsening deteriorated",
        "increased increasing rose risen rising doubled | decreased decreasing fell fallen dropped halved",
        "normal | abnormal enlarged dilated thickened inflamed swollen", "palpable | impalpable absent",
        "present | absent", "brisk |"
        " absent sluggish reduced", "well | poorly badly", "good | poor reduced", "clear straw serous |"
        " bloody purulent cloudy turbid",
        "unchanged | increased decreased raised reduced changed doubled halved lowered enlarging growing",
        "controlled | uncontrolled", "live living |"
        " deceased cadaveric", "stable | unstable", "intact | torn tear ruptured rupture cut severed transected broken "
        "fractured",
        "intact normal preserved | reduced impaired absent lost diminished decreased", "benign | malignant",
        "regular | irregular", "raised elevated high | low reduced lowered", "complete | incomplete partial",
        "mild | moderate | severe", "acute | chronic", "single solitary | multiple", "solid | cystic",
        "superficial | deep", "patent | occluded blocked", "tender | nontender", "reversible | irreversible",
        "reducible | irreducible incarcerated strangulated",
    ],
}  # fmt: skip
_OPPOSITES: dict[str, tuple[str, set[str], set[str]]] = {}  # stem -> (kind, words of its sides, words of the others)
for _kind, _groups in _GROUPS.items():
    for _sides in ([set(map(stem, side.split())) for side in group.split(" | ")] for group in _groups):
        for _own in _sides:
            for _name in _own:
                _, _same, _others = _OPPOSITES.get(_name, ("", set(), set()))
                _others |= set().union(*_sides) - _own
                _OPPOSITES[_name] = _kind, (_same | _own) - _others, _others
_ALSO_BENIGN = re.compile(r"adenoma|\bcysts?\b|lipoma|angioma|granuloma|hyperplasia|innocent|hamartoma|non-?malignan")
_BENIGN = stem("benign")
_UNCHANGED = stem("unchanged")
_MANY = 2  # words that an opposite is said of, of which the note must have more than of another
_NEAR = 3  # words to either side that an opposite may be said of


def check_opposites(stated: Reading, source: Reading, asked: Reading | None) -> Iterator[CheckedClaim]:
    for i, word in enumerate(stated.words):
        name = word.stem
        if _is_not(stated, i) and stated.lower[word.start : word.end] == "changed":
            name = _UNCHANGED
        elif name not in _OPPOSITES or stated.context.negated[i] or _is_not(stated, i):
            continue
        kind, own, others = _OPPOSITES[name]
        of = near_words(stated, i) - {"yes"} or (set(asked.stems - STOP_WORDS) - set(_OPPOSITES) if asked else set())
        of -= {f.name for f in stated.findings if f.start == word.start}
        against = _said(source, others, of) if of else []
        if (
            against
            and max(against)[0] > max(_said(source, own, of), default=(0, (0, 0)))[0]
            and not (_said(source, own, of) and len(of) < _MANY)
        ):
            yield verdict(Claim(kind, word.start, word.end, f"{name} {min(of)}"), [], [max(against)[1]])


def check_benign(stated: Reading, source: Reading) -> Iterator[CheckedClaim]:
    """What an answer calls benign, where the note calls nothing so and tells of a cancer, or of one that is suspected,
    in a sentence about the same: not BPH beside a cancer of the colon, nor an abdomen."""
    own = [] if _BENIGN in source.positions else [f for f in source.findings if f.name == "cancer"]
    own = [f for f in own if not (f.negated or f.family or f.hypothetical)]
    of_cancer = {w.stem for f in own for w in source.words_within(*source.sentence_at(f.start))}
    others = [*_ALSO_BENIGN.finditer(source.lower)] if own else []
    of_others = {w.stem for m in others for w in source.words_within(*source.sentence_at(m.start()))} - of_cancer
    for i in stated.positions.get(_BENIGN, ()) if own else ():
        about = near_words(stated, i)
        if about & of_cancer and not (stated.context.negated[i] or _is_not(stated, i) or about & of_others):
            yield verdict(Claim("finding", *stated.words[i][:2], "benign"), [], [(f.start, f.end) for f in own])


def _said(source: Reading, stems: set[str], of: set[str]) -> list[tuple[int, tuple[int, int]]]:
    """Of the words with one of these stems that the note says of some of the others: of how many, and the span."""
    positions = [i for name in stems for i in source.positions.get(name, []) if not _is_not(source, i)]
    shared = [(len(of & near_words(source, i)), source.words[i][:2]) for i in positions]
    return [each for each in shared if each[0]]


def _is_not(reading: Reading, position: int) -> bool:
    """Whether a word is denied by the one before it: "not palpable"."""
    return position > 0 and reading.words[position - 1].stem in ("not", "never")


def near_words(reading: Reading, position: int) -> set[str]:
    """Stems of the content words near a word, in its sentence."""
    start, end = reading.sentence_at(reading.words[position].start)
    near = reading.words[max(0, position - _NEAR) : position + _NEAR + 1]
    named = {f.name for f in reading.findings if near[0].start <= f.start <= near[-1].start and start <= f.start < end}
    named |= {
        name
        for first, stop, name in reading.tests_named
        if near[0].start <= reading.words[first].start <= near[-1].start and start <= reading.words[first].start < end
    }
    return named | {
        w.stem for w in near if start <= w.start < end and w.stem not in STOP_WORDS and w.stem not in _OPPOSITES
    }
