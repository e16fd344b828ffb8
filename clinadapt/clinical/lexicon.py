"""Loading of the YAML lexicons in this folder."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import yaml


@cache
def load_lexicon(name: str) -> Any:
    """Parsed content of `<name>.yaml`; shared between callers, so do not modify it."""
    return yaml.safe_load(resources.files(__package__).joinpath(f"{name}.yaml").read_text("utf-8"))
