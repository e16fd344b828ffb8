"""Word lists: names (the package `names`), English (`symspellpy`), towns (towns.py), the words of medicine.

`names` (MIT licence; its lists are of the United States census, in the public domain) and `symspellpy` (MIT) are read
and none of their code runs; what they lack is in the YAML files of this folder, written by us.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from clinadapt.artifacts.packaged_yaml import packaged_yaml
from clinadapt.clinical.drug_names import generics_by_name
from clinadapt.clinical.lexicon import load_lexicon
from clinadapt.errors import UserError
from clinadapt.privacy.towns import listed_towns

_WORD = re.compile(r"[^\W\d_]{2,40}")
_CLINICAL = ("drugs.yaml", "abbreviations.yaml", "findings.yaml", "plain_words.yaml", "sections.yaml", "symptoms.yaml",
             "tests_and_routes.yaml")  # fmt: skip
_MORPHEME = re.compile(
    r"(?:itis|osis|oses|oma|omas|ectomy|ostomy|otomy|plasty|scopy|scopic|graphy|gram|graphic|pathy|algia|emia|aemia|uria|"
    r"rrhea|rrhage|cele|lysis|penia|megaly|plegia|paresis|trophy|ectasis|stenosis|spasm|genic|ology|ologist|ologic|iatric|"
    r"cillin|mycin|azole|olol|pril|sartan|statin|dipine|idine|azepam|caine|oxacin|parin|mab|nib|vir|tide|ide|ine|ase|"
    r"cyte|cytes|cytic|blast|dermal|vascular|cardiac|cardial|neural|spinal|dural|costal|axial|lateral|dorsal|ventral|"
    r"ically|ation|ated|ating|ing|ally|edly|able|ible|ness|ment|ments|ular|ulum|ous|oid|eal|ic|itic|tic|sis|ae|us|um|"
    r"oedema|noea|rrhoea|aemic|paedic|paedics|heit|keit|schaft|itt?lung|handlung|suchung|stellung|legung|fassung|weisung|kung|"
    r"schmerz|schmerzen|störung|störungen|entzündung|erkrankung|erkrankungen)$"
)
_PREFIX = re.compile(
    r"(?:hyper|hypo|endo|peri|intra|extra|supra|infra|post|pre|non|anti|sub|para|trans|retro|micro|macro|electro|cardio|"
    r"gastro|neuro|osteo|thrombo|hem[oa]|haem[oa]|cholecyst|nephro|hepato|pneumo|broncho|laparo|arthro|myo|cysto|uretero|angio|"
    r"oesoph|esophag|gyn(?:a)?eco|an(?:a)?esth|p(?:a)?ediatr|orthop(?:a)?ed|isch(?:a)?em|oestr|leuc|caec|faec|foet)"
)
_RANK_OF_GERMAN = 1500  # of frequent words
_PLACE_SIDE = re.compile(
    r"(?:hill|brook|river|lake|road|wood|park|sea|bay|burn|south|west|east|north|moor|water|cliff|country|bank|town|lock|mill|"
    r"kirk|way|beck|church|farm|garden|dock|ferry|tyne|tees|mersey|thames|wear|clyde|fell|firth|harbour|meadow)side$"
)


@cache
def own_list(file: str) -> dict[str, Any]:
    """Content of a YAML file of this folder; shared between callers, so do not modify it."""
    return dict(packaged_yaml(__package__, file))


@cache
def cue_classes() -> dict[str, tuple[str, ...]]:
    """Lower-case word -> the classes of cues.yaml that it is in."""
    classes: dict[str, list[str]] = {}
    for name, words in own_list("cues.yaml").items():
        for word in words.split():
            classes.setdefault(word.lower(), []).append(name)
    return {word: tuple(names) for word, names in classes.items()}


@cache
def given_names() -> dict[str, int]:
    """Lower-case given name -> its rank, from 0."""
    ranks: dict[str, int] = {}
    for file in ("names/dist.female.first", "names/dist.male.first"):
        for rank, line in enumerate(_lines("names", file)):
            name = line.split()[0].lower()
            ranks[name] = min(rank, ranks.get(name, rank))
    return {word.lower(): 500 for word in own_list("names.yaml")["given"].split()} | ranks


@cache
def family_names() -> dict[str, int]:
    """Lower-case family name -> its rank, from 0: the 30,000 most frequent, and our own list."""
    ranks = {
        line.split()[0].lower(): rank
        for rank, line in zip(range(30_000), _lines("names", "names/dist.all.last"), strict=False)
    }
    own = own_list("names.yaml")["family"].split()
    return {part.lower(): 1000 for name in own for part in _WORD.findall(name)} | ranks


@cache
def english_words() -> dict[str, int]:
    """Lower-case English word -> its rank by frequency, from 0; rare words that are names are left out. German ones of
    notes have the rank of a frequent word."""
    lines = _lines("symspellpy", "symspellpy/frequency_dictionary_en_82_765.txt")
    words = (line.split()[0].lstrip("\ufeff") for line in lines)
    ranks = {word: rank for rank, word in enumerate(words) if len(word) > 1 or word in "ai"}
    german = own_list("german.yaml")["words"].split()
    return ranks | {word: min(_RANK_OF_GERMAN, ranks.get(word, _RANK_OF_GERMAN)) for word in german}


def english_rank(word: str) -> int:
    """Rank of a lower-case English word by frequency; beyond all ranks for one that is not listed."""
    return english_words().get(word, 99_999)


@cache
def clinical_words() -> frozenset[str]:
    """Lower-case words of medicine: of clinadapt/clinical's lexicons, its drug names, and our own list of terms."""
    words = {word for name in generics_by_name() for word in _WORD.findall(name)}
    for file in _CLINICAL:
        words.update(_words_of(load_lexicon(file)))
    words.update(own_list("eponyms.yaml")["terms"].split())
    return frozenset(words)


@cache
def eponyms() -> frozenset[str]:
    """Lower-case words that name a disease, a sign, an instrument or a brand."""
    return frozenset(own_list("eponyms.yaml")["eponyms"].split())


@cache
def eponym_pairs() -> dict[str, frozenset[str]]:
    """Lower-case name -> those that stand beside it in the language of medicine: `child` -> `pugh`."""
    groups = [frozenset(group.split()) for group in own_list("eponyms.yaml")["pairs"].split(";")]
    return {
        name: frozenset().union(*(group for group in groups if name in group)) - {name} for name in set().union(*groups)
    }


@cache
def medical_things() -> frozenset[str]:
    """Lower-case words after which a name is that of a thing: `Huber needle`."""
    return frozenset(own_list("eponyms.yaml")["things"].split())


@cache
def employers() -> frozenset[str]:
    """Lower-case tokens of the names of large employers, with blanks between them; a part of them are words too."""
    names = own_list("places.yaml")["employers"].lower().split(";")
    return frozenset(" ".join(re.findall(r"[^\W\d_]+|[^\w\s]", name)) for name in names)


@cache
def large_towns() -> frozenset[str]:
    """Lower-case names of towns that many notes have."""
    return frozenset(own_list("places.yaml")["cities"].lower().split())


@cache
def cities() -> frozenset[str]:
    """Lower-case names of towns of one word; of smaller ones those that are no words and no frequent names."""
    return large_towns() | {town[0] for town in listed_towns() if len(town) == 1 and not _is_more_than_a_town(town[0])}


@cache
def longer_towns() -> dict[str, tuple[tuple[str, ...], ...]]:
    """Lower-case first word -> the lower-case words of towns of two words and more, the longest first."""
    towns: dict[str, list[tuple[str, ...]]] = {}
    own = {tuple(town.split("-")) for town in large_towns()}
    for town in sorted(town for town in {*listed_towns(), *own} if len(town) > 1):
        towns.setdefault(town[0], []).append(town)
    return {first: tuple(sorted(names, key=len, reverse=True)) for first, names in towns.items()}


def _is_more_than_a_town(word: str) -> bool:
    frequent = english_rank(word) < 25_000 or family_names().get(word, 99_999) < 5000
    return frequent or len(word) < 3 or word in given_names() or is_known(word)


def is_clinical(word: str) -> bool:
    """Whether a lower-case word is one of medicine, by the lists or by how it is built."""
    return word in clinical_words() or looks_clinical(word)


def is_known(word: str) -> bool:
    """Whether a lower-case word is one of medicine, an eponym or a cue."""
    return word in eponyms() or word in cue_classes() or is_clinical(word)


def looks_clinical(word: str) -> bool:
    """Whether a lower-case word is built as words of medicine and science are."""
    formed = len(word) > 6 and (_MORPHEME.search(word) is not None or _PREFIX.match(word) is not None)
    return formed and not _PLACE_SIDE.search(word)


def _words_of(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set().union(*map(_words_of, value), *map(_words_of, value.values()))
    if isinstance(value, list):
        return set().union(*map(_words_of, value))
    return {word.lower() for word in _WORD.findall(value)} if isinstance(value, str) else set()


def _lines(package: str, file: str) -> list[str]:
    try:
        return Path(str(distribution(package).locate_file(file))).read_text("utf-8").splitlines()
    except OSError as error:
        raise UserError(f"the word list of {package} cannot be read: install the package again") from error
