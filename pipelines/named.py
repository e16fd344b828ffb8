"""Settings by name, from a folder that comes with Clinadapt, or by the path of a YAML file."""

from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from components.common.errors import UserError
from components.common.recipe import Section, first_error

S = TypeVar("S", bound=Section)


def names(kind: str) -> list[str]:
    """Those of a kind (`profile`, `cluster`) that come with Clinadapt."""
    return sorted(path.name.removesuffix(".yaml") for path in (files("pipelines") / f"{kind}s").iterdir())


def load(kind: str, section: type[S], name: str) -> S:
    """Read and validate the settings of that name. Raises UserError as `read` and `validated`."""
    return validated(kind, section, name, read(kind, name))


def read(kind: str, name: str) -> Any:
    """What stands in the YAML file. Raises UserError when there is none of that name, or it is not YAML."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else files("pipelines") / f"{kind}s" / f"{name}.yaml"
    if not path.is_file():
        raise UserError(f"there is no {kind} '{name}': use {', '.join(names(kind))} or the path of a .yaml file")
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"{kind} '{name}' is not YAML: mend its indentation or quotes") from error


def validated(kind: str, section: type[S], name: str, values: Any) -> S:
    """Settings from what `read` gave. Raises UserError, by its path, for a value that is wrong."""
    try:
        return section.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{kind} '{name}': {first_error(error)}") from error
