"""Ages of a text, and the sex of the patient."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from clinadapt.clinical.claims.quantities import quantities
from clinadapt.clinical.claims.words import stem
from clinadapt.clinical.mention import matches_at

_AGE = re.compile(
    r"(?<![.\d/])\b(?!(?:9[4-9]|10\d)f\b)(?P<n>\d{1,3}|[a-z]+(?:[- ][a-z]+)?)"
    r"(?:(?P<mf>(?<=\d)[fm])\b|[- ]{0,2}(?:(?:years?|yrs?|y)[- .]?(?:of age|olds?|o\b|f\b|m\b)|y/?\.?o\b\.?))"
    r"|\b(?:age|aged)(?: of|:| is)? (?P<n2>\d{1,3}|[a-z]+(?:-[a-z]+)?)\b(?! (?:months?|weeks?|days?|and a half))",
)
# What every age has: \d before M or F, "age", or years behind it
_AGE_HINT = re.compile(r"(?<=\d)[fm]\b|\bage|y(?:ears?|rs?)?[- .]?(?:of age|olds?|[ofm]\b)|y/?\.?o\b")
_LONGEST_AGE = 40  # characters of an age before "years old"
_NOT_BORN = "(?<!kg )(?<!lb )(?<!lbs )(?<!oz )(?<!viable )(?<!baby )(?<!baby: )"  # a mother's child
_SEX = re.compile(
    rf"\b(?:(?P<f>female|woman|lady|{_NOT_BORN}girl|gravida|primigravida|"
    rf"mr?s)|(?P<m>male|man|gentleman|{_NOT_BORN}boy|mr)|"
    r"(?P<fp>she|her|hers|herself)|(?P<mp>he|his|him|himself))\b"
)
_TITLE = re.compile(r"(?:Mr|Mr?s)(?=\.? [A-Z])")
_AGE_SEX = re.compile(  # 101F is a temperature
    r"\d(?<![.\d/A-Za-z]\d)(?<!(?=(?:9[4-9]|10\d)F)\d)\d{0,2}(?:[- ]?(?:y[./]?o\.?|yr\.?|year[- ]old)[- ]?| ?/ ?)?"
    r"(?P<sex>[FM])\b(?!/)"
)
_TUBE = re.compile(r"(?i:drain|catheter|cannula|sheath|tube|foley|bougie|stent|size) \Z")  # of 32 F, in French
_SEX_WORDS = """female woman lady girl gravida primigravida ms mrs mr male man gentleman boy she her hers herself he his
him himself"""
SEX_STEMS = frozenset(map(stem, _SEX_WORDS.split()))  # of the words that _SEX matches
_SEX_FIELD = re.compile(r"\b(?:SEX|Sex|GENDER|Gender) ?: ?(?P<sex>[FM])\b(?!/)")
_SEX_AGE = re.compile(r"(?<![.\w])(?<!\b[A-Z] )(?<!\b(?:Mr|Ms|Dr) )(?<!\bMrs )(?P<sex>[FM]) \d{2}\b(?![./\d])")
_SYMBOL = re.compile("[♀♂]")
_HEADER = 60  # characters
_SOMEBODY = re.compile(
    r"\b(?:nurse|wife|husband|spouse|partner|girlfriend|boyfriend|fianc\w+|roommate|friend|neighbou?r|caregiver)s?\b"
)


def ages(lower: str, starts: list[int]) -> list[tuple[int, int, float]]:
    """(start, end, years) of the ages in a text in lower case whose words begin at `starts`."""
    found = []
    for match in matches_at(_AGE, lower, _possible_ages(lower, starts)):
        written = match["n"] or match["n2"]
        start = match.start("n") if match["n"] else match.start("n2")
        if match["mf"] and not written.isdigit():
            continue
        value = _years(written)
        if value is None and not written.isdigit() and (match["n"] or "").count(" "):
            written = written.split()[-1]
            start, value = match.end("n") - len(written), _years(written)
        if value is not None and value < 120:
            found.append((start, match.end(), value))
    return found


def _possible_ages(lower: str, starts: list[int]) -> Iterator[int]:
    """Where an age may begin: at "age", and at the words before "years old" and the like."""
    behind = 0
    for match in _AGE_HINT.finditer(lower):
        first = bisect_left(starts, match.start() - _LONGEST_AGE, behind)
        behind = bisect_right(starts, match.start(), first)
        yield from starts[first:behind]


def _years(written: str) -> float | None:
    durations = quantities(f"{written} years", [])
    return (
        durations[0].number if len(durations) == 1 and durations[0].unit == "year" and durations[0].start == 0 else None
    )


def written_sex(text: str) -> tuple[str, int, int] | None:
    """(`F` or `M`, its span) of the first age with a letter, as 62F or 62 y/o M, or of a field, as "Sex: F"."""
    if symbol := _SYMBOL.search(text):
        return "F" if symbol[0] == "♀" else "M", *symbol.span()
    of_age = (m for m in _AGE_SEX.finditer(text) if not _TUBE.search(text, max(0, m.start() - 16), m.start()))
    match = next(of_age, None) or _SEX_FIELD.search(text) or _SEX_AGE.search(text, 0, _HEADER)
    return (match["sex"], *match.span("sex")) if match else None


def sex_by_words(
    text: str,
    lower: str,
    starts: list[int],
    possible: list[int],
    family: list[bool],
    sentence_starts: list[int],
) -> tuple[str, int, int] | None:
    """(`F` or `M`, span that shows it) of the patient, by titles, nouns and pronouns; None where these tell nothing or
    both.

    Args:
        text: any text.
        lower: the text in lower case.
        starts: of its words.
        possible: indices of the words with SEX_STEMS, in order.
        family: whether each word is about the family.
        sentence_starts: of its sentences.
    """
    counts: dict[str, list[re.Match[str]]] = {"f": [], "m": [], "fp": [], "mp": []}
    others = [match.start() for match in _SOMEBODY.finditer(lower)]
    for number in possible:
        start = starts[number]
        match = _SEX.match(lower, start)
        if not match or (match[0][0] == "m" and match[0][-1] in "rs" and not _TITLE.match(text, start)):
            continue
        if not family[number] and not _follows_somebody(others, sentence_starts, start):
            counts[match.lastgroup or ""].append(match)
    for female, male, least in (("f", "m", 1), ("fp", "mp", 3 if len(text) > 1000 else 1)):
        if len(counts[female]) >= max(least, 3 * len(counts[male])):
            return "F", *counts[female][0].span()
        if len(counts[male]) >= max(least, 3 * len(counts[female])):
            return "M", *counts[male][0].span()
    return None


def _follows_somebody(others: list[int], sentence_starts: list[int], position: int) -> bool:
    """Whether another person than the patient, of those at `others`, comes before in this sentence or the last: a
    nurse, a wife."""
    first = max(0, bisect_right(sentence_starts, position) - 2)
    last = bisect_left(others, position) - 1
    return last >= 0 and others[last] >= sentence_starts[first]
