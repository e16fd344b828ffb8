"""Profiles by name (those in `pipelines/profiles/`) or by the path of a YAML file."""

from typing import Any

from pydantic import ValidationError

from components.common.errors import UserError
from components.common.recipe import Profile, first_error
from pipelines import named


def names() -> list[str]:
    """The profiles that come with Clinadapt."""
    return named.names("profile")


def load(name: str) -> Profile:
    """Read and validate a profile. Raises UserError as `named.load`."""
    return named.load("profile", Profile, name)


def check(profile: Profile, form: dict[str, Any]) -> None:
    """Raises UserError for a field of the run form that train would refuse, before any step begins."""
    given = {
        name: value for name, value in form.items() if value is not None and name in type(profile.train).model_fields
    }
    try:
        type(profile.train).model_validate({**profile.train.model_dump(), **given})
    except ValidationError as error:
        raise UserError(first_error(error)) from None
