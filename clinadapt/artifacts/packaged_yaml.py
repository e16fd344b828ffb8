"""YAML files that lie in our packages."""

from __future__ import annotations

from importlib import resources
from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML was built with libyaml


def packaged_yaml(package: str, file: str) -> Any:
    """Content of a YAML file, by its path in a package.

    Callers name the whole file, so that `code_version` finds which sources read it.
    """
    return yaml.load(resources.files(package).joinpath(file).read_text("utf-8"), _LOADER)
