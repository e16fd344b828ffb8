"""Profiles by name (those in `pipelines/profiles/`) or by the path of a YAML file."""

from components.common.errors import UserError
from components.common.instruct_recipe import InstructProfile
from components.common.recipe import Profile
from pipelines import named

AnyProfile = Profile | InstructProfile
DEMOS = {"classify": "cpu-demo", "instruct": "cpu-instruct"}  # the profile of `clinadapt run <recipe>` without any
RECIPES: dict[str, type[AnyProfile]] = {"classify": Profile, "instruct": InstructProfile}


def names(recipe: str = "") -> list[str]:
    """The profiles that come with Clinadapt; with a recipe, those of it."""
    return [name for name in named.names("profile") if not recipe or load(name).recipe == recipe]


def load(name: str) -> AnyProfile:
    """Read a profile and validate it by its recipe. Raises UserError as `named.load`, or for an unknown recipe."""
    values = named.read("profile", name)
    recipe = str(values.get("recipe")) if isinstance(values, dict) else ""
    if recipe not in RECIPES:
        raise UserError(f"profile '{name}': recipe: use {' or '.join(RECIPES)}")
    return named.validated("profile", RECIPES[recipe], name, values)
