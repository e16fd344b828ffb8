"""Names by the words around them, as rules: after a title or a label, before a degree, a given name and a family name
side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from clinadapt.privacy.capitals import are_in_capitals, is_function_word, may_be_own
from clinadapt.privacy.features import Token
from clinadapt.privacy.medical_names import is_classified, is_pair, names_a_thing
from clinadapt.privacy.mentions import names_by_itself
from clinadapt.privacy.spans import Span
from clinadapt.privacy.word_lists import (
    cities,
    clinical_words,
    cue_classes,
    english_rank,
    english_words,
    eponyms,
    family_names,
    given_names,
    is_clinical,
    is_known,
    large_towns,
    looks_clinical,
)

_MOST = 12
_RARE = 25_000  # rank of a word by its frequency, beyond which the dictionary has names as well
_CUES = ("title", "person_label", "relation", "role")
# Classes of cues.yaml that rules begin at
_CLASSES = frozenset({"person_title", "name_label", "person_label", "relation", "lives", "place_head"})
_DOTTED_DEGREES = ("M.D", "D.O", "R.N", "N.P", "P.A")
_DEGREE_STARTS = {degree[0] for degree in _DOTTED_DEGREES}
_FROM = ("in", "at", "to", "from", "near", "of", "IN", "AT", "TO", "FROM", "NEAR", "OF")


def context_spans(text: str, words: Sequence[Token]) -> Iterator[Span]:
    """Names that a title, a label or a degree tells, or that are a given and a family name; they may overlap."""
    for index, token in enumerate(words):
        roles = _roles(token.text)
        if not roles:
            continue
        following = words[index + 1].text[0] if index + 1 < len(words) else ""
        if "person_title" in roles and _is_title(words, index):
            yield from _name_from(words, _skip(words, index + 1, "."), 3)
        elif "name_label" in roles and following and following in ":.=…":
            yield from _name_from(words, _skip(words, index + 1, ":.=…"), 4)
        elif ("person_label" in roles and following == ":") or ("relation" in roles and following == ","):
            yield from full_name_from(words, index + 2)
        elif "lives" in roles and index + 2 < len(words) and words[index + 1].text in _FROM:
            yield from _town_from(words, index + 2)
        elif index > 1 and words[index - 1].text == "," and (_is_degree(token.text) or is_dotted_degree(words, index)):
            yield from _name_before(words, index - 2)
        elif "frequent given" in roles and _is_after_family(text, words, index):
            yield Span(words[index - 2].start, token.end, "NAME")
        elif "only a name" in roles and not (names_a_thing(words, index + 1) or is_pair(words, index, index + 1)):
            yield Span(token.start, token.end, "NAME")
        elif "given" in roles and index + 1 < len(words) and _is_family(words[index + 1].text):
            end = words[index + 1].end
            side_by_side = text[token.end : words[index + 1].start] == " "
            if side_by_side and not (_are_eponyms(words, index, index + 2) or is_pair(words, index, index + 2)):
                yield Span(token.start, end, "NAME")
        elif "initial" in roles and following == ".":
            yield from _name_after_initials(words, index)
        elif "place_head" in roles:
            yield from _place_before(words, index)


@lru_cache(maxsize=30_000)
def _roles(word: str) -> frozenset[str]:
    """What a token may be of a name or a place by itself."""
    if not word[0].isalpha():
        return frozenset()
    classes = _CLASSES.intersection(cue_classes().get(word.lower(), ()))
    roles = {
        "degree": _is_degree(word) or word in _DEGREE_STARTS,  # may be
        "only a name": _is_only_a_name(word),
        "given": _is_given(word),
        "frequent given": _is_frequent_given(word),
        "initial": len(word) == 1 and word.isupper(),
    }
    return classes.union(name for name, applies in roles.items() if applies) - (
        set() if word[0].isupper() else {"place_head"}
    )


def full_name_from(words: Sequence[Token], index: int) -> Iterator[Span]:
    """Two to four capitalised words of a line, one of which is in a list of names or in none at all."""
    first, last, whole = index, index, list[str]()
    end = min(len(words), index + _MOST)
    while last < end and len(whole) < 4 and (words[last].text[0].isupper() or words[last].text in ".,-'’"):
        lower = words[last].text.lower()
        if len(whole) > 1 and not {"label", "field"}.isdisjoint(cue_classes().get(lower, ())):
            break
        if last > first and (is_function_word(words[last].text) or (lower == "." and len(words[last - 1].text) > 3)):
            break
        whole += [lower] if len(lower) > 1 else []
        last += 1
    while last > first and not words[last - 1].text[0].isalpha():
        last -= 1
    listed = not all(is_word_only(word) for word in whole) and not set(whole) & clinical_words()
    if len(whole) > 1 and (listed or any(names_by_itself(word) for word in whole)):
        yield Span(words[first].start, words[last - 1].end, "NAME")


def _town_from(words: Sequence[Token], index: int) -> Iterator[Span]:
    """One to three capitalised words that are no words of medicine."""
    last = index
    while last < min(len(words), index + 3) and words[last].text[0].isupper():
        lower = words[last].text.lower()
        if len(lower) < 3 or lower in clinical_words() or english_rank(lower) < 300:
            break
        last += 1
    if last > index:
        yield Span(words[index].start, words[last - 1].end, "CITY")


def _place_before(words: Sequence[Token], head: int) -> Iterator[Span]:
    """A hospital by its last word: the capitalised words before it, one of which is its own."""
    first = head
    while first > 0 and head - first < 9 and _is_part_of_place(words, first - 1):
        first -= 1
    while first < head and not words[first].text[0].isalpha():
        first += 1
    own = [token.text.lower() for token in words[first:head] if token.text[0].isalpha() and len(token.text) > 1]
    if are_in_capitals(words, first, head + 1) and not any(map(may_be_own, own)):
        return
    if own and not all(is_generic_place(word) for word in own):
        yield Span(words[first].start, words[head].end, "HOSPITAL")


def _is_part_of_place(words: Sequence[Token], index: int) -> bool:
    """Whether a word before "Hospital" may belong to its name: a capital that is no word as THE or FROM, or a sign that
    ends no sentence."""
    word = words[index].text
    if word == "." and index and len(words[index - 1].text) > 3:
        return False
    return word in (".", "-", "'", "’", "&", "s") or (word[0].isupper() and english_rank(word.lower()) >= 60)


def is_generic_place(word: str) -> bool:
    """Whether a lower-case word says what a place is, not which one."""
    rank = english_rank(word)
    if word in cities() or word in given_names() or (word in family_names() and rank > 800):
        return False
    generic = "hospital" in cue_classes().get(word, ()) or word in clinical_words() or word in eponyms()
    built = looks_clinical(word) and (word in english_words() or len(word) > 9)  # not `Hanmaum`
    return generic or built or rank < 3000


def widened(text: str, words: Sequence[Token], spans: Iterable[Span]) -> Iterator[Span]:
    """The spans of names with the capitalised word beside them that no list knows as a word."""
    starts = {token.start: index for index, token in enumerate(words)}
    ends = {token.end: index for index, token in enumerate(words)}
    for span in spans:
        if span.type != "NAME" or span.start not in starts or span.end not in ends:
            continue
        after, before = ends[span.end] + 1, starts[span.start] - 1
        initial = [token.text for token in words[after : after + 3]]
        if (
            len(initial) == 3
            and initial[0].isupper()
            and len(initial[0]) == 1
            and initial[1] == "."
            and (_is_capital(initial[2]) and len(initial[2]) > 1)
        ):
            yield Span(span.start, words[after + 2].end, "NAME")
        if (
            after < len(words)
            and _may_extend(words[after].text)
            and text[span.end : words[after].start] in (" ", "-", "")
        ):
            yield Span(span.start, words[after].end, "NAME")
        if before >= 0 and _may_extend(words[before].text) and text[words[before].end : span.start] in (" ", "-", ""):
            yield Span(words[before].start, span.end, "NAME")


def names_no_patient(words: Sequence[Token], first: int, last: int) -> bool:
    """Whether words[first:last], tagged as a name by itself, is the name of a drug, or of a disease, a sign or an
    instrument: "Graves' disease"."""
    inside = [token.text.lower() for token in words[first:last] if token.text[0].isalpha()]
    if all(is_word_only(word) or len(word) == 1 for word in inside):
        return True
    if all(token.text.islower() for token in words[first:last] if token.text[0].isalpha()):
        return not _is_name_in_small_letters(words, first, last)
    sides = [word for word in inside if word not in ("l", "r")]  # `grip 4/5 L. Braden 17`
    if all(word in eponyms() for word in sides) and not cue_before(words, first):
        return True
    if len(inside) == 1 and (_begins_a_list(words, first) or _is_unit(words[first].text)):
        return True
    classified = is_classified(words, last) or (last - first == 2 and is_classified(words, last - 1))
    if is_pair(words, first, last) or (classified and not cue_before(words, first)):
        return True
    eponym = any(word in eponyms() for word in inside) or not any(word in given_names() for word in inside)
    return eponym and not cue_before(words, first) and names_a_thing(words, last)


def _is_unit(word: str) -> bool:
    """Whether a word has the capitals of a unit: `mIU`."""
    return len(word) < 5 and word[0].islower() and not word.islower()


def _begins_a_list(words: Sequence[Token], index: int) -> bool:
    """Whether a frequent word begins a sentence as an adjective among others: `Young, well-developed`."""
    before = words[index - 1].text[0] if index else "\n"
    if before not in ".\n" or index + 2 >= len(words) or words[index + 1].text != ",":
        return False
    following = words[index + 2].text
    return following.islower() and english_rank(following) > 100 and english_rank(words[index].text.lower()) < 1500


def _is_after_family(text: str, words: Sequence[Token], index: int) -> bool:
    """Whether a given name stands after a family name and a comma: `SMITH, JOHN`, and `Novak, Maria` of rarer words."""
    if index < 2 or words[index - 1].text != "," or not words[index - 2].text[0].isupper():
        return False
    family, gap = words[index - 2].text.lower(), text[words[index - 2].end : words[index].start]
    if family not in family_names() or family in clinical_words():
        return False
    rare = english_rank(family) > 1500 and family not in eponyms() | large_towns()
    if words[index - 2].text.isupper() and words[index].text.istitle() and gap == ", " and len(family) > 2:
        return family not in eponyms() or is_listed(family)  # `BLAND, Sarah`
    in_capitals = words[index].text.isupper() and words[index - 2].text.isupper() and english_rank(family) > 800
    return gap == "," or (gap == ", " and (rare or in_capitals))


def _are_eponyms(words: Sequence[Token], first: int, last: int) -> bool:
    """Whether words name a sign together: `Marcus Gunn pupil`."""
    return all(word.text.lower() in eponyms() for word in words[first:last]) and names_a_thing(words, last)


def _is_name_in_small_letters(words: Sequence[Token], first: int, last: int) -> bool:
    """Whether words in small letters are names that are no words, or stand after a title, a label or a relation."""
    if any(names_by_itself(word.text) and is_listed(word.text) for word in words[first:last]):
        return True
    if not cue_before(words, first):
        return False
    inside = [word.text for word in words[first:last]]
    return any(names_by_itself(word) or (is_listed(word) and english_rank(word) > 1500) for word in inside)


def cue_before(words: Sequence[Token], first: int) -> bool:
    """Whether a title, a label or a relation stands before a word."""
    before = [word.text.lower() for word in words[max(0, first - 2) : first]]
    if len(before) == 2 and before[1] == ":" and "academic_degree" in cue_classes().get(before[0], ()):
        return True
    return any(name in _CUES for word in before for name in cue_classes().get(word, ()))


def may_be_name(word: str) -> bool:
    """Whether a word with a capital is a name, or a rare word of no list that medicine has."""
    lower = word.lower()
    is_rare = english_rank(lower) > _RARE and not is_known(lower)
    return word[0].isupper() and (names_by_itself(lower) or is_rare)


def is_listed(word: str) -> bool:
    return given_names().get(word, 99_999) < 1500 or family_names().get(word, 99_999) < 3000


def is_word_only(word: str) -> bool:
    """Whether a lower-case word is one of medicine or English, and a name in no list."""
    if word in given_names() or word in family_names():
        return False
    return english_rank(word) < _RARE or word in eponyms() or is_clinical(word)


def _is_degree(word: str) -> bool:
    return not word.islower() and "academic_degree" in cue_classes().get(word.lower(), ())


def is_dotted_degree(words: Sequence[Token], index: int) -> bool:
    """Whether M.D. or another degree with points begins at an index."""
    return index >= 0 and "".join(token.text for token in words[index : index + 3]) in _DOTTED_DEGREES


def _name_after_initials(words: Sequence[Token], index: int) -> Iterator[Span]:
    """`R.S. Foley`, `T. Gray`: initials and a family name."""
    first, initials = index, 0
    while index + 1 < len(words) and initials < 3 and len(words[index].text) == 1 and words[index].text.isupper():
        if words[index + 1].text != ".":
            return
        index, initials = index + 2, initials + 1
    if index < len(words) and len(words[index].text) > 2 and words[index].text[0].isupper():
        word = words[index].text.lower()
        if initials == 1 and words[first].text in "LR" and (word in eponyms() or names_a_thing(words, index + 1)):
            return
        frequent = 300 if initials > 1 else 3000
        listed = word in family_names() and english_rank(word) > frequent and word not in clinical_words()
        if listed or may_be_name(words[index].text):
            yield Span(words[first].start, words[index].end, "NAME")


def _is_title(words: Sequence[Token], index: int) -> bool:
    """Whether the word is written as a title: `Dr`, `DR.` or `dr`, not the abbreviation `MS`."""
    word, after = words[index].text, words[min(index + 1, len(words) - 1)].text
    return word in ("Ms", "dr", "DR", "DRS", "MR", "MRS") or after == "." or (word[0].isupper() and not word.isupper())


def _skip(words: Sequence[Token], index: int, signs: str) -> int:
    while index < len(words) and words[index].text[0] in signs:
        index += 1
    return index


def _name_from(words: Sequence[Token], index: int, most: int) -> Iterator[Span]:
    """The words from an index on that can be a name: capitals and initials, up to the first that is none."""
    last, first, names = None, index, 0
    while index < len(words) and names < most:
        word = words[index].text
        if word in (".", "-", "'", "’") and last is not None:
            if word == "." and len(words[last].text) > 3 and last == index - 1:
                break  # the end of a sentence, not of an initial
            index += 1
            continue
        if not word[0].isalpha() or _is_plain(word, names) or not (word[0].isupper() or names_by_itself(word)):
            break
        last, names, index = index, names + (len(word) > 1), index + 1
    if last is not None:
        yield Span(words[first].start, words[last].end, "NAME")


def _name_before(words: Sequence[Token], index: int) -> Iterator[Span]:
    last = first = index
    while (
        first >= 0
        and last - first < 5
        and (words[first].text in (".", "-", "'", "’") or _is_capital(words[first].text))
    ):
        first -= 1
    first += 1
    while first < last and not words[first].text[0].isalpha():
        first += 1
    if first <= last and _is_capital(words[last].text):
        yield Span(words[first].start, words[last].end, "NAME")


def _is_capital(word: str) -> bool:
    return word[0].isupper() and not _is_plain(word, 1)


def _is_plain(word: str, place: int) -> bool:
    """Whether a word ends a name: a frequent word of English that is no name, or another cue."""
    lower = word.lower()
    if lower in given_names() or lower in family_names():
        return place > 0 and word.isupper() and english_rank(lower) < 300
    if "particle" in cue_classes().get(lower, ()):
        return False
    return (
        english_rank(lower) < (2500 if place == 0 else 20_000) or lower in cue_classes() or lower in clinical_words()
    ) and len(word) > 1


def _is_capitalised(word: str) -> bool:
    return word[0].isupper() and word[1:].islower()


def _is_given(word: str) -> bool:
    lower = word.lower()
    return _is_capitalised(word) and lower in given_names() and english_rank(lower) > 800


def _is_frequent_given(word: str) -> bool:
    """Whether a word with a capital, or in capitals, is a frequent given name."""
    lower = word.lower()
    listed = given_names().get(lower, 99_999) < 1500 and lower not in clinical_words()
    return listed and len(word) > 2 and (word.isupper() or _is_capitalised(word))


def _is_only_a_name(word: str) -> bool:
    """Whether a capitalised word is a frequent name, and nothing else."""
    lower = word.lower()
    if len(word) < 4 or not _is_capitalised(word) or lower in eponyms() or lower in clinical_words():
        return False
    rank = min(given_names().get(lower, 99_999) * 4, family_names().get(lower, 99_999))
    return rank < 5000 and english_rank(lower) > 12_000 and lower not in cue_classes()


def _is_family(word: str) -> bool:
    lower = word.lower()
    if not _is_capitalised(word) or lower in clinical_words() or lower in cue_classes():
        return False
    return lower in family_names() and english_rank(lower) > 3000


def _may_extend(word: str) -> bool:
    lower = word.lower()
    if not (len(word) > 2 and _is_capitalised(word)):
        return False
    return lower not in english_words() and not is_known(lower)
