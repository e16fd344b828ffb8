"""The adapter card, clinadapt.json: what prediction needs to know about an adapter, beside its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

import pydantic

from clinadapt.artifacts.hashing import read_json, write_json
from clinadapt.config.base import Precision, Quantization
from clinadapt.config.classify import Pooling, Windows
from clinadapt.errors import UserError
from clinadapt.models.base_model import BaseModel, describe

CARD = "clinadapt.json"


class AdapterCard(pydantic.BaseModel):
    """What the cards of both recipes have in common.

    Attributes:
        base_model: pinned URI of the base model.
        base_digest: its digest.
        quantization, precision: of the base model in training.
        seed: of the training.
    """

    base_model: str
    base_digest: str
    quantization: Quantization
    precision: Precision
    seed: int

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read clinadapt.json.

        Raises:
            UserError: the folder contains no adapter of this recipe, or an earlier release wrote it.
        """
        try:
            return cls.model_validate(read_json(folder / CARD))
        except (OSError, ValueError, pydantic.ValidationError) as error:
            raise UserError(
                f"{folder} contains no adapter for this: {CARD} is missing, broken, of another recipe or of an earlier "
                "release"
            ) from error

    def write(self, folder: Path) -> None:
        """Write clinadapt.json."""
        write_json(folder / CARD, self.model_dump())

    def check_base(self) -> BaseModel:
        """Return the base model. Raises UserError where it has changed since the adapter was trained."""
        base = describe(self.base_model)
        if base.digest != self.base_digest:
            raise UserError(
                f"base model '{self.base_model}' has changed since this adapter was trained: restore it or train again"
            )
        return base


class InstructCard(AdapterCard):
    """Card of an adapter that follows instructions.

    Attributes:
        max_length: of prompt and answer in training, in tokens.
        max_new_tokens: of an answer.
        tasks: it was trained on.
        decimal_comma: whether most notes that it was trained on have a decimal comma.
    """

    recipe: Literal["instruct"] = "instruct"
    max_length: int
    max_new_tokens: int
    tasks: list[str]
    decimal_comma: bool = False


class ClassifyCard(AdapterCard):
    """Card of a classifier.

    Attributes:
        labels: in the order of their numbers.
        label_sets: label numbers that each output of the head stands for.
        windows, pooling: how a note is read.
        temperature: that the logits are divided by; 1 until the adapter is published.
        temperature_ratio: factor for the temperature that was fitted on the validation notes. These are few, so the
            fit is noisy. For the linear probe that training starts from, the temperature can also be fitted out of fold
            on all training notes, and the ratio of its two fits estimates that noise (ratio estimator, Cochran 1977,
            Sampling Techniques, chapter 6; it helps where both models err on the same notes). Between 1/2 and 2; 1
            without a probe.
        unsure_below: highest probability below which the adapter answers `unsure`, chosen on the validation notes; 0
            until the adapter is published, and for one that always answers.
    """

    recipe: Literal["classify"] = "classify"
    labels: list[str]
    label_sets: list[list[int]]
    windows: Windows
    pooling: Pooling
    temperature: float = 1.0
    temperature_ratio: float = 1.0
    unsure_below: float = 0.0

    def set_names(self) -> list[str]:
        """Names of the head's outputs, such as `Orthopedic + Surgery`."""
        return [" + ".join(self.labels[i] for i in members) for members in self.label_sets]


def adapter_recipe(folder: Path) -> str:
    """`classify` or `instruct`. Raises UserError where the folder contains no Clinadapt adapter."""
    try:
        return str(read_json(folder / CARD)["recipe"])
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder} contains no Clinadapt adapter: {CARD} is missing or broken") from error
