"""Base models that need no model hub to be estimated: sizes from known_models.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from clinadapt.artifacts.hashing import sha256_json
from clinadapt.artifacts.packaged_yaml import packaged_yaml
from clinadapt.models.base_model import BaseModel, hub_name
from clinadapt.models.decoder_tensors import decoder_tensors


@dataclass(frozen=True)
class KnownModel:
    """A model, or several of the same sizes.

    Attributes:
        names: on the hub.
        config: what config.json says of its sizes.
        source: of the sizes.
        parameters: as published; None where no number is.
    """

    names: list[str]
    config: dict[str, Any]
    source: str
    parameters: int | None

    def describe(self, name: str) -> BaseModel:
        """The base model under one of its names, in 16 bits."""
        return BaseModel(f"hf://{name}", sha256_json(self.config), self.config, decoder_tensors(self.config, "BF16"))


@cache
def known_models() -> list[KnownModel]:
    """All of known_models.yaml, in its order."""
    return list(_read())


def find(location: str) -> tuple[str, KnownModel] | None:
    """The name on the hub and the model that hf://org/name (of any revision), org/name or name means, regardless of
    case; None if it is not listed."""
    wanted = hub_name(location)[0].casefold()
    for model in known_models():
        for name in model.names:
            if wanted in (name.casefold(), name.casefold().partition("/")[2]):
                return name, model
    return None


def _read() -> Iterator[KnownModel]:
    for family in packaged_yaml(__package__, "known_models.yaml"):
        for model in family["models"]:
            config = family["config"] | model.get("config", {})
            yield KnownModel(model["names"], config, family["source"], model.get("parameters"))
