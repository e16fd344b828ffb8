"""What an adapter says of itself: clinadapt.json, beside its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ValidationError

from clinadapt.artifacts.hashing import read_json, write_json
from clinadapt.config.base import Precision, Quantization
from clinadapt.config.classify import Pooling, Windows
from clinadapt.errors import UserError
from clinadapt.models.base_model import describe

CARD = "clinadapt.json"


class AdapterCard(BaseModel):
    """The facts that prediction needs, kept beside the adapter's weights as clinadapt.json."""

    base_model: str
    base_digest: str
    quantization: Quantization
    precision: Precision
    seed: int

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Raises UserError when the folder holds no adapter of ours, or one of another recipe."""
        try:
            return cls.model_validate(read_json(folder / CARD))
        except (OSError, ValueError, ValidationError) as error:
            raise UserError(
                f"{folder} holds no adapter for this: {CARD} is missing, broken or of another recipe"
            ) from error

    def write(self, folder: Path) -> None:
        """Write clinadapt.json into `folder`."""
        write_json(folder / CARD, self.model_dump())

    def check_base(self) -> None:
        """Raises UserError when the base model is no longer the one that the adapter was trained on."""
        if describe(self.base_model).digest != self.base_digest:
            raise UserError(
                f"base model '{self.base_model}' has changed since this adapter was trained: restore it or train again"
            )


class InstructCard(AdapterCard):
    """Of an adapter that answers instructions.

    Attributes:
        max_length: tokens of prompt and answer that it was trained with, at most.
        max_new_tokens: of an answer, at most.
        tasks: that it was trained on.
    """

    recipe: Literal["instruct"] = "instruct"
    max_length: int
    max_new_tokens: int
    tasks: list[str]


class ClassifyCard(AdapterCard):
    """Of a classifier.

    Attributes:
        temperature: of the published adapter's probabilities.
        temperature_ratio: what the temperature that suits the validation notes is multiplied by. They are few, so their
            temperature is noisy; for the linear probe that training begins with it can be had out of fold from all
            training notes too, and most of what those two differ by is that noise (a ratio estimator, Cochran 1977,
            Sampling Techniques, chapter 6: of use where both models err on the same notes). Between 1/2 and 2; 1
            where there is no probe.
    """

    recipe: Literal["classify"] = "classify"
    labels: list[str]
    label_sets: list[list[int]]
    windows: Windows
    pooling: Pooling
    temperature: float = 1.0
    temperature_ratio: float = 1.0

    def set_names(self) -> list[str]:
        """What the outputs of the head are called: `Orthopedic + Surgery`."""
        return [" + ".join(self.labels[i] for i in members) for members in self.label_sets]


def adapter_recipe(folder: Path) -> str:
    """`classify` or `instruct`. Raises UserError when the folder holds no adapter of ours."""
    try:
        return str(read_json(folder / CARD)["recipe"])
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder} holds no Clinadapt adapter: {CARD} is missing or broken") from error
