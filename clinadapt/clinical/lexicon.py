"""Loading of the YAML lexicons in this folder."""

from __future__ import annotations

from functools import cache
from typing import Any

from clinadapt.artifacts.packaged_yaml import packaged_yaml


@cache
def load_lexicon(file: str) -> Any:
    """Parsed content of a YAML file of this folder; shared between callers, so do not modify it.

    Callers name the whole file, so that `code_version` finds which sources read it.
    """
    return packaged_yaml(__package__, file)
