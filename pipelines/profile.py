"""Profiles by name (those in `pipelines/profiles/`) or by the path of a YAML file."""

from components.common.recipe import Profile
from pipelines import named


def names() -> list[str]:
    """The profiles that come with Clinadapt."""
    return named.names("profile")


def load(name: str) -> Profile:
    """Read and validate a profile. Raises UserError as `named.load`."""
    return named.load("profile", Profile, name)
