"""Drug names: drugs.yaml, and the names that the package drug-named-entity-recognition lists.

That package (MIT licence) collects DrugBank open data (CC0), MeSH, MedlinePlus and the medicines pages of the NHS, US
and British, brands and generics. Only its list is read; none of its code runs and nothing of it is copied into ours. To
read it takes two seconds, so what becomes of it is kept in a JSON file, made with an image or at the first use.
"""

from __future__ import annotations

import bz2
import pickletools
import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import distribution
from typing import Any

from clinadapt.artifacts.built_files import BuiltJson
from clinadapt.clinical.lexicon import load_lexicon
from clinadapt.errors import UserError

PACKAGE = "drug-named-entity-recognition"
_LIST = "drug_named_entity_recognition/drug_ner_dictionary.pkl.bz2"
_NAME = re.compile(r"[a-z][a-z0-9]*(?:[ -][a-z0-9]+){0,3}")
_INGREDIENTS = re.compile(r"/|, and |, | and | with ")
_PRODUCT = re.compile(
    r" \(.*\)$| (?:patch|implant|injection|ophthalmic|nasal(?: gel| spray)?|inhalation|otic|topical)$"
)
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict, "EMPTY_LIST": list, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "NONE": lambda: None,
    "SHORT_BINUNICODE": str, "BINUNICODE": str, "BINFLOAT": float, "BININT1": int, "BININT": int,
}  # fmt: skip
_NO_MEDICINE = re.compile(r"vaccin|transfusion|therapy|softener|supplement|hormone|contracepti|plasma|thyroid|blood")


@cache
def generics_by_name() -> dict[str, tuple[str, ...]]:
    """Lower-case name, generic or brand -> lower-case generic names, several for a combination."""
    return {name: tuple(generics) for name, generics in FILE.content().items()}


def _collected() -> dict[str, tuple[str, ...]]:
    """The names of drugs.yaml and of the package's list."""
    lexicon = load_lexicon("drugs.yaml")
    names: dict[str, tuple[str, ...]] = {generic.lower(): (generic.lower(),) for generic in lexicon["generic"]}
    for generic, brands in lexicon["generic"].items():
        names |= {brand.strip().lower(): (generic.lower(),) for brand in brands.split(",") if brand.strip()}
    names |= {brand.lower(): tuple(mixed.split(", ")) for brand, mixed in lexicon["mixed"].items()}
    excluded = set(lexicon["no_drug"])
    listed = {name: generics for name, generics in _listed(names) if name not in names and name not in excluded}
    # "morphine sulfate" and "glyburide and metformin" are found by their first word
    single = names.keys() | listed.keys()
    begins_with_name = {name for name in listed if " " in name and name.split()[0] in single}
    return names | {name: generics for name, generics in listed.items() if name not in begins_with_name}


def _listed(known: dict[str, tuple[str, ...]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Names of the package's list, with the generic names that drugs.yaml uses where it knows the drug."""
    content = _content()
    substances: dict[str, list[str]] = content["drug_variant_to_canonical"]
    details: dict[str, dict[str, Any]] = content["drug_canonical_to_data"]
    preferred: dict[str, str] = {}  # the package's name of a substance -> that of drugs.yaml
    for name, generics in known.items():
        if len(generics) == 1:
            for substance in substances.get(name, ()):
                preferred.setdefault(substance, generics[0])
    for name, candidates in substances.items():
        if len(name) < 4 or not _NAME.fullmatch(name) or _NO_MEDICINE.search(name):
            continue
        for substance in candidates:
            if not _is_medicine(details.get(substance, {})) or _NO_MEDICINE.search(substance):
                continue
            ingredients = _ingredients(substance, substances, preferred)
            if " and " not in name or any(ingredient in name for ingredient in ingredients):  # not "ears and nose"
                yield name, ingredients
            break


def _is_medicine(details: dict[str, Any]) -> bool:
    """Whether patients are told about the substance (MedlinePlus, NHS), or an encyclopedia describes the medicine."""
    described = "wikipedia_url" in details and ("drugbank_id" in details or "mesh_id" not in details)
    return described or "medline_plus_id" in details or "nhs_url" in details


def _ingredients(substance: str, substances: dict[str, list[str]], preferred: dict[str, str]) -> tuple[str, ...]:
    """Generic names of a substance: `valsartan and sacubitril` has two."""
    if substance in preferred:
        return (preferred[substance],)
    parts = _INGREDIENTS.split(_PRODUCT.sub("", substance))
    names = [preferred.get(part) or next(map(preferred.get, substances.get(part, ())), None) or part for part in parts]
    return tuple(dict.fromkeys(names))


def _content() -> dict[str, dict[str, Any]]:
    path = distribution(PACKAGE).locate_file(_LIST)
    try:
        with bz2.open(str(path)) as file:
            content: dict[str, dict[str, Any]] = _plain_data(file.read())
            return content
    except (OSError, EOFError, ValueError, KeyError, IndexError) as error:
        raise UserError(f"the drug list of {PACKAGE} cannot be read: install the package again") from error


def _plain_data(pickled: bytes) -> Any:
    """The dictionaries, lists, strings and numbers that a pickle writes down.

    Its opcodes are read and nothing is executed: whatever could name a class or a function is an error.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: list[Any] = []
    for opcode, argument, _ in pickletools.genops(pickled):
        name = opcode.name
        if name == "MEMOIZE":
            memo.append(stack[-1])
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name]() if argument is None else argument)
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[int(argument or 0)])
        elif name == "MARK":
            marks.append(len(stack))
        elif name in ("APPEND", "APPENDS", "SETITEM", "SETITEMS"):
            start = marks.pop() if name[-1] == "S" else len(stack) - (1 if name == "APPEND" else 2)
            items, stack[start:] = stack[start:], []
            if name.startswith("APPEND"):
                stack[-1].extend(items)
            else:
                stack[-1].update(zip(items[::2], items[1::2], strict=True))
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise ValueError(f"{name} is not plain data")
    return stack.pop()


FILE = BuiltJson("drug-names", "clinadapt.clinical.drug_names", PACKAGE, _collected)
