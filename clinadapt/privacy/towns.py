"""Towns: those of places.yaml, and those that `phonenumbers` (Apache 2.0) names for the prefixes of telephone numbers.

Of the latter's tables those of English and German speaking countries are read, and none of their code runs. To read
them takes half a second, so the towns are kept in a JSON file, made with an image or at the first use.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

from clinadapt.artifacts.built_files import BuiltJson
from clinadapt.errors import UserError

_COUNTRIES = "44|1|353|49|61|64|43|41|27"
_PREFIX = re.compile(rf"^ *'(?:{_COUNTRIES})\d{{1,9}}' *: *\{{(.*?)\}}", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"'(?:en|de)': u?(['\"])([^,'\"]{3,60}).*?\1")
_WORD = re.compile(r"[^\W\d_]+")


@cache
def listed_towns() -> frozenset[tuple[str, ...]]:
    """The lower-case words of each town's name."""
    return frozenset(tuple(name.split()) for name in FILE.content())


def _collected() -> list[str]:
    names = {" ".join(_WORD.findall(part.lower())) for text in _tables() for part in _named(text)}
    return sorted(name for name in names if len(name) > 2)


def _named(text: str) -> Iterator[str]:
    """The names in a table, each of `Cork/Kinsale` by itself."""
    for prefix in _PREFIX.finditer(text):
        for name in _NAME.finditer(prefix[1]):
            yield from name[2].split("/")


def _tables() -> Iterator[str]:
    folder = Path(str(distribution("phonenumbers").locate_file("phonenumbers/geodata")))
    files = sorted(folder.glob("data*.py"))
    if not files:
        raise UserError("the towns of phonenumbers cannot be read: install the package again")
    for file in files:
        yield file.read_text("utf-8")


FILE = BuiltJson("towns", "clinadapt.privacy.towns", "phonenumbers", _collected)
