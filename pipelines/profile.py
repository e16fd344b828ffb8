"""Profiles by name (those in `pipelines/profiles/`) or by the path of a YAML file."""

from importlib.resources import files
from pathlib import Path

import yaml
from pydantic import ValidationError

from components.common.errors import UserError
from components.common.recipe import Profile, first_error


def names() -> list[str]:
    """The profiles that come with Clinadapt."""
    return sorted(path.name.removesuffix(".yaml") for path in (files("pipelines") / "profiles").iterdir())


def load(name: str) -> Profile:
    """Read and validate a profile.

    Raises:
        UserError: there is none of that name, or a value in it is wrong, named by its path.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else files("pipelines") / "profiles" / f"{name}.yaml"
    if not path.is_file():
        raise UserError(f"there is no profile '{name}': use {', '.join(names())} or the path of a .yaml file")
    try:
        return Profile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise UserError(f"profile '{name}' is not YAML: mend its indentation or quotes") from error
    except ValidationError as error:
        raise UserError(f"profile '{name}': {first_error(error)}") from error
