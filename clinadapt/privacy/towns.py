"""Towns: those of places.yaml, and those that `phonenumbers` (Apache 2.0) names for the prefixes of telephone numbers.

Of the latter's tables those of English and German speaking countries are read, and none of their code runs. To read
them takes half a second, so the towns are kept in a JSON file, made with an image or at the first use.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distribution, version
from pathlib import Path

from clinadapt.artifacts.built_files import built_file
from clinadapt.artifacts.code_version import code_version
from clinadapt.errors import UserError
from clinadapt.storage.local_files import atomic_write

_COUNTRIES = "44|1|353|49|61|64|43|41|27"
_PREFIX = re.compile(rf"^ *'(?:{_COUNTRIES})\d{{1,9}}' *: *\{{(.*?)\}}", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"'(?:en|de)': u?(['\"])([^,'\"]{3,60}).*?\1")
_WORD = re.compile(r"[^\W\d_]+")


@cache
def listed_towns() -> frozenset[tuple[str, ...]]:
    """The lower-case words of each town's name."""
    try:
        names = json.loads(built_file(_file_name(), _write).read_bytes())
    except UserError:  # no place to keep it
        names = _collected()
    return frozenset(tuple(name.split()) for name in names)


def keep_towns(folder: Path) -> None:
    """Write the file of the towns into the folder of an image."""
    _write(folder / _file_name())


def _file_name() -> str:
    code = code_version("clinadapt.privacy.towns").rpartition("+")[2]
    return f"towns-{code}-{version('phonenumbers')}.json"


def _write(path: Path) -> None:
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(_collected()))


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
