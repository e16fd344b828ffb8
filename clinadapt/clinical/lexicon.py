"""Loading of the YAML lexicons in this folder."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML was built with libyaml


@cache
def load_lexicon(file: str) -> Any:
    """Parsed content of a YAML file of this folder; shared between callers, so do not modify it.

    Callers name the whole file, so that `code_version` finds which sources read it.
    """
    return yaml.load(resources.files(__package__).joinpath(file).read_text("utf-8"), _LOADER)
