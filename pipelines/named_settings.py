"""Profiles and clusters, loaded by the name of a bundled one or by the path of a YAML file."""

from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from clinadapt.config.base import Section, first_error
from clinadapt.config.profile import RECIPES, AnyProfile
from clinadapt.errors import UserError
from clinadapt.kubernetes.cluster import Cluster

DEMO_PROFILES = {"classify": "cpu-demo", "instruct": "cpu-instruct"}  # of `clinadapt run <recipe>` without --profile
S = TypeVar("S", bound=Section)


def profile_names(recipe: str = "") -> list[str]:
    """Names of the bundled profiles, of one recipe if given."""
    return [name for name in _names("profile") if not recipe or load_profile(name).recipe == recipe]


def load_profile(name: str) -> AnyProfile:
    """Load a profile and validate it.

    Raises:
        UserError: there is no such profile, it is not YAML, or its recipe or a value is invalid.
    """
    values = _read("profile", name)
    if isinstance(values, dict) and name.endswith((".yaml", ".yml")):
        _resolve_paths(values, Path(name).resolve().parent)
    recipe = str(values.get("recipe")) if isinstance(values, dict) else ""
    if recipe not in RECIPES:
        raise UserError(f"profile '{name}': unknown recipe: use {' or '.join(RECIPES)}")
    return _validated("profile", RECIPES[recipe], name, values)


def _resolve_paths(values: dict[str, Any], folder: Path) -> None:
    """Turn the paths of a profile's sources, models and files of terms into file:// URIs; relative ones are below its
    folder."""
    sources = values.get("sources")
    sources = sources if isinstance(sources, list) else []
    training = [values.get(section) for section in ("train", "instruct")]
    terms = [(values.get("phi"), name) for name in ("staff_file", "protect_file", "second_opinion")]
    places = [(values, "source"), (values.get("feedback"), "uri"), *((source, "uri") for source in sources)]
    uris = [*places, *((section, "base_model") for section in training), *terms]
    for section, name in uris:
        location = section.get(name) if isinstance(section, dict) else None
        if isinstance(location, str) and location and "://" not in location:
            section[name] = (folder / Path(location).expanduser()).resolve().as_uri()


def cluster_names() -> list[str]:
    """Names of the bundled cluster settings."""
    return _names("cluster")


def load_cluster(name: str) -> Cluster:
    """Load and validate the settings of a cluster. Raises UserError as `load_profile`."""
    return _validated("cluster", Cluster, name, _read("cluster", name))


def _names(kind: str) -> list[str]:
    return sorted(path.name.removesuffix(".yaml") for path in (files("pipelines") / f"{kind}s").iterdir())


def _read(kind: str, name: str) -> Any:
    path = Path(name) if name.endswith((".yaml", ".yml")) else files("pipelines") / f"{kind}s" / f"{name}.yaml"
    if not path.is_file():
        raise UserError(f"{kind} '{name}' not found: use {', '.join(_names(kind))} or the path of a .yaml file")
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{kind} '{name}' is not valid YAML: check its indentation and quotes") from error


def _validated(kind: str, section: type[S], name: str, values: Any) -> S:
    try:
        return section.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{kind} '{name}': {first_error(error)}") from error
