"""Counterfactual notes: the same note about a patient of the other sex, of another age, or with names of another
origin, where what is right must not change.

A note is changed as a whole or not at all: no counterfactual is made of one that tells of what only one sex or age can
have, of several people whose pronouns could be mixed up, or that holds what contradicts the new age.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

from clinadapt.clinical.claims.reading import read
from clinadapt.clinical.claims.words import STOP_WORDS
from clinadapt.privacy.word_lists import clinical_words, english_rank, family_names, given_names

Change = Callable[[str], str]
KINDS = {"sex": "the other sex", "age": "another age", "names": "names of another origin"}


def _begins(stems: str, words: str) -> re.Pattern[str]:
    """Finds words that begin with one of these stems, and these words."""
    whole = "".join(f"|{word}\\b" for word in words.split())
    return re.compile(rf"\b(?:{'|'.join(stems.split())}{whole})", re.IGNORECASE)


# What only one sex can have, or where the sex decides what is right
_SEX_BOUND = _begins(
    "pregnan gravid primigravid obstetr gynecolog gynaecolog menstr menarche menopaus perimenopaus postmenopaus uter "
    "endometri ovar fallopian salping cervix vagin transvagin vulv hysterectom oophor mammo breast mastectom lactat "
    "postpartum caesarean cesarean fetal foetal fetus foetus abortion miscarr contracepti estrogen oestrogen estradiol "
    "progest tamoxifen letrozole anastrozole prostat testic scrot penis penile erectile ejaculat epididym hydrocele "
    "varicocele vasectom circumcis uncircumcis phimosis foreskin testosterone finasteride tamsulosin sildenafil "
    "tadalafil gynecomastia gynaecomastia transgender sperm semen fertil infertil gestat trimester eclampsi "
    "preeclampsi pre-eclampsi nullipar multipar primipar polycystic pcos menorrhag metrorrhag menometrorrhag "
    "dysmenorrh amenorrh adnex tubal colposc hysterosc curettag cystocele rectocele clitor genital orchi gleason "
    "leuprol goserelin bicalutamid enzalutamid abirateron raloxifen clomiphen clomifen exemestan medroxyprogest "
    "premarin depo-provera mirena nexplanon dutasterid hypospadia cryptorchi seminoma seminal cha2ds2",
    "para G\\d+(?:P\\d+)? gyn ob menses lmp edd pap iud ivf depo provera labor labour delivery deliveries delivered "
    "labia labial psa bph turp testes testis c-section",
)
# What belongs to an age, or where the age decides what is right
_AGE_BOUND = _begins(
    "pregnan gravid menopaus postmenopaus menarche elderly young infan pediatric paediatric geriatric newborn neonat "
    "adolescen teen born birth retire student school college grandson granddaughter grandchild immuni vaccin puberty "
    "senil senior gestat trimester eclampsi preeclampsi pre-eclampsi postpartum contracepti medicare age-related "
    "cha2ds2 chads2",
    "dob child childhood (?:19|20)\\d\\d \\d0s older G\\d+(?:P\\d+)? lmp edd ivf iud menses",
)
_TO_MALE = {
    "she": "he", "hers": "his", "herself": "himself", "woman": "man", "female": "male", "lady": "gentleman",
    "girl": "boy", "ms": "mr", "mrs": "mr", "miss": "mr", "husband": "wife",
}  # fmt: skip
_TO_FEMALE = {
    "he": "she", "him": "her", "his": "her", "himself": "herself", "man": "woman", "male": "female",
    "gentleman": "lady", "boy": "girl", "mr": "ms", "wife": "husband",
}  # fmt: skip
_TITLES = {"ms", "mrs", "miss", "mr"}  # only as Ms: MS and MR are diseases
_HIS_BUNDLE = re.compile(r"of his\b|his(?: bundle|[- ]purkinje)", re.IGNORECASE)
_NOT_OF_PATIENT = {"husband", "wife"}  # a spouse's word is changed too, but tells nothing of the patient
_HER_OBJECT = re.compile(
    r"(?=[^\w\s]|\s*$|\s+(?:to|in|on|at|for|with|and|or|but|from|by|about|that|as|if|when|because|is|was|has|had|up|off|"
    r"down|out|over|again|today|this|through|since|after|before|until|while|not|a|an|the|into|how|what|who|which)\b)",
    re.IGNORECASE,
)
_RELATIVES = {
    "F": re.compile(r"\b(?:mother|sister|daughter|aunt|niece|grandmother|mom|nurse|doctor|Dr)\b", re.IGNORECASE),
    "M": re.compile(r"\b(?:father|brother|son|uncle|nephew|grandfather|dad|nurse|doctor|Dr)\b", re.IGNORECASE),
}
_PRONOUN = {
    "F": re.compile(r"\b(?:she|her|hers)\b", re.IGNORECASE),
    "M": re.compile(r"\b(?:he|him|his)\b", re.IGNORECASE),
}
_LETTER = re.compile(
    r"(?P<before>\b(?:sex|gender) ?[:=] ?|(?<![.\d])\b(?P<age>\d{1,3})[- ]?(?:years?[- ]old|yrs?|y/?o|y\.o\.)?[- ,/]?)"
    r"(?P<letter>[FM])\b(?!\.?\d)",
    re.IGNORECASE,
)
_TITLE = r"\b(?:Mr|Mrs|Ms|Miss|Mx)\b\.?"
# Given names that are words too, so that they are names only after a title
_WORDS_TOO = re.compile(
    r"(?:will|may|mark|grace|hope|faith|joy|art|bill|drew|frank|gene|guy|iris|ivy|jack|lane|pat|ray|rich|rob|rose|april|"
    r"june|august|dawn|angel|christian|chase|dale|dean|grant|max|miles|page|sterling|summer|wade)"
)
_TITLES_WRITTEN = ("Mr.", "Ms.", "Mrs.", "Miss", "Mr", "Ms", "Mrs")
_NAME = r"[A-Z](?:[\w-]|['’](?!s\b))*"
_TITLED = re.compile(rf"{_TITLE} ((?:{_NAME}[., ]? ?){{1,3}})")
_NAMED = re.compile(rf"\b(?:Patient(?: Name)?|Name|Pt|PATIENT(?: NAME)?|NAME) ?: ?((?:{_NAME},? ?){{1,4}})")
_INTRODUCED = re.compile(rf"\b({_NAME})(?: {_NAME})?,?(?: is)? (?:an?|the) \d{{1,3}}[ -]year")

_NUMBER = re.compile(r"\d+|[A-Za-z]+(?:[- ](?!ye?a?rs?\b|y\b)[A-Za-z]+)?")
_YEARS, _YOUNGEST, _OLDEST = 20, 20, 89  # by how much an age is changed, and of whom
# origin -> given names of women, given names of men, family names
_ORIGINS = {
    "West African": ("Ngozi Amaka Folasade Abena", "Chidi Kwame Obinna Olumide", "Okafor Adeyemi Mensah Diallo"),
    "South Asian": ("Priya Ananya Sunita Kavita", "Rahul Arjun Vikram Sanjay", "Banerjee Reddy Iyer Kapoor"),
    "Arabic": ("Fatima Zainab Mariam Nasreen", "Ahmed Khalid Youssef Tariq", "Haddad Hussain Mansour Abdullah Khoury"),
    "Turkish": ("Zeynep Elif Aylin Esra", "Mehmet Emre Mustafa Kerem", "Demir Kaya Arslan Aksoy Ozturk"),
    "East Asian": ("Akiko Jisoo Xiulan Ayumi", "Hiroshi Jihoon Haruto Minjun", "Nakamura Zhang Takahashi Hwang Nguyen"),
    "Polish": ("Agnieszka Zofia Katarzyna", "Tomasz Pawel Marek Krzysztof", "Kowalczyk Wojcik Nowak Lis"),
    "Latin American": ("Guadalupe Ximena Leticia", "Joaquin Alejandro Mateo", "Hernandez Quispe Mamani Rojas"),
}  # fmt: skip


def changes(note: str) -> dict[str, Change]:
    """The counterfactuals that can be made of a note.

    Returns:
        Kind (`sex`, `age`, `names`) -> what changes a text that belongs to the note: the note itself, a question about
        it, an answer. Kinds of which the note allows none are missing.
    """
    made = {"sex": _other_sex(note), "age": _other_age(note), "names": _other_names(note)}
    return {kind: change for kind, change in made.items() if change and change(note) != note}


def _other_sex(note: str) -> Change | None:
    reading = read(note)
    if _SEX_BOUND.search(note) or not reading.sex:
        return None
    sex = reading.sex[0]
    own, other = (_TO_MALE, _TO_FEMALE) if sex == "F" else (_TO_FEMALE, _TO_MALE)
    foreign = _any_word(set(other) - _NOT_OF_PATIENT | ({"her"} if sex == "M" else set()))
    if foreign.search(_HIS_BUNDLE.sub("", note)) or any(
        _of_somebody_else(note[slice(*span)], sex) for span in reading.sentences
    ):
        return None
    ages = {f"{years:g}" for _, _, years in reading.ages}
    given = {name: _renamed(name, note, "M" if sex == "F" else "F") for name in _patient_names(note)[0]}
    words = _any_word({*own, *given, *({"her"} if sex == "F" else ())})

    def change(text: str) -> str:
        def word(match: re.Match[str]) -> str:
            written = match[0]
            if written in given:
                return given[written]
            lower = written.lower()
            if lower == "her" and sex == "F":
                return _as_written("him" if _HER_OBJECT.match(text, match.end()) else "his", written)
            if lower not in own or _HIS_BUNDLE.search(text[max(0, match.start() - 3) : match.end() + 9]):
                return written
            return _as_written(own[lower], written)

        def letter(match: re.Match[str]) -> str:
            mine = match["letter"].upper() == sex and (not match["age"] or match["age"] in ages)
            return match["before"] + _as_written("m" if sex == "F" else "f", match["letter"]) if mine else match[0]

        return _LETTER.sub(letter, words.sub(word, text))

    changed = change(note)
    left = any(match["letter"] == sex for match in _LETTER.finditer(changed))  # of an age that was not read as one
    sex_after = read(changed).sex
    return change if sex_after and sex_after[0] != sex and not left else None


def _of_somebody_else(sentence: str, sex: str) -> bool:
    """Whether a pronoun of a sentence may mean a relative or a doctor of the patient's sex."""
    somebody = _RELATIVES[sex].search(sentence)
    return bool(somebody and _PRONOUN[sex].search(sentence, somebody.end()))


def _other_age(note: str) -> Change | None:
    reading = read(note)
    ages = {years for _, _, years in reading.ages}
    if len(ages) != 1 or _AGE_BOUND.search(note):
        return None
    (old,) = ages
    new = old + _YEARS if old < 55 else old - _YEARS
    lived = [q.number for q in reading.quantities if q.unit == "year" and q.number != old]
    if not _YOUNGEST <= old <= _OLDEST or old % 1 or max(lived, default=0) > min(old, new) - 10:
        return None

    def change(text: str) -> str:
        pieces, position = [], 0
        for start, end, years in read(text).ages:
            number = _NUMBER.match(text, start, end)
            if years == old and number:
                pieces += [text[position:start], f"{new:g}"]
                position = number.end()
        return "".join([*pieces, text[position:]])

    return change if {years for _, _, years in read(change(note)).ages} == {new} else None


def _other_names(note: str) -> Change | None:
    given, family = _patient_names(note)
    reading = read(note)
    sex = reading.sex[0] if reading.sex else "F"
    new = {name: _renamed(name, note, sex) for name in given} | {name: _renamed(name, note, "") for name in family}
    if not new:
        return None
    named = "".join(f"|(?<=\\b{re.escape(before)} )" for before in [*_TITLES_WRITTEN, *given])
    new |= {name.upper(): word.upper() for name, word in new.items() if len(name) > 2}
    parts = [
        rf"(?<![\w-]){re.escape(name)}(?![\w-])"
        if not _is_a_word(name) or (name in given and not _WORDS_TOO.fullmatch(name.lower()))
        else rf"(?:{named[1:]}){re.escape(name)}\b"
        for name in sorted(new, key=len, reverse=True)
    ]
    pattern = re.compile("|".join(parts))
    return lambda text: pattern.sub(lambda match: new[match[0]], text)


def _patient_names(note: str) -> tuple[list[str], list[str]]:
    """(given names, family names) of the patient as they stand in a note; a family name may be an initial."""
    given, family = dict[str, None](), dict[str, None]()
    for match in [*_TITLED.finditer(note), *_NAMED.finditer(note)]:
        names = [name for name in re.findall(_NAME, match[1]) if _is_a_name(name)]
        for name in names:
            known = name.lower() in given_names() and (len(names) > 1 or name in given)
            (given if known and name not in family and name != names[-1] else family)[name] = None
    for name in list(family):
        for match in re.finditer(rf"\b({_NAME}) {re.escape(name)}\b", note):
            if match[1].lower() in given_names():
                given[match[1]] = None
    for match in _INTRODUCED.finditer(note):
        if match[1].lower() in given_names() and match[1] not in family and not _WORDS_TOO.fullmatch(match[1].lower()):
            given[match[1]] = None
    return list(given), list(family)


def _is_a_name(word: str) -> bool:
    """Whether a word with a capital after a title is a name."""
    lower = word.lower()
    return len(word) == 1 or (
        lower not in STOP_WORDS and (lower in given_names() or lower in family_names() or not _is_a_word(word))
    )


def _is_a_word(name: str) -> bool:
    """Whether a name is also an initial or a word, so that it is a name only after a title or a given name."""
    return len(name) == 1 or english_rank(name.lower()) < 5000 or name.lower() in clinical_words()


def _renamed(name: str, note: str, sex: str) -> str:
    """A name of another origin, always the same for one note; a given name of this sex, a family name where it is
    empty."""
    digest = hashlib.sha256(note.encode()).digest()
    origin = _ORIGINS[list(_ORIGINS)[digest[0] % len(_ORIGINS)]]
    pool = origin[("F", "M", "").index(sex)].split()
    new = pool[hashlib.sha256(digest + name.lower().encode()).digest()[0] % len(pool)]
    return new.upper() if len(name) > 1 and name.isupper() else new


def _any_word(words: set[str]) -> re.Pattern[str]:
    """Finds these words in any capitals, titles only in theirs."""
    forms = [word.capitalize() if word in _TITLES else f"(?i:{re.escape(word)})" for word in words]
    return re.compile(rf"\b(?:{'|'.join(sorted(forms, key=len, reverse=True))})\b")


def _as_written(word: str, like: str) -> str:
    """A word in the capitals of another: SHE -> HE, She -> He."""
    return word.upper() if like.isupper() and len(like) > 1 else word.capitalize() if like[0].isupper() else word
