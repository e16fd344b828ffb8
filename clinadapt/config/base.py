"""Settings shared by both recipes, validated by pydantic."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

Quantization = Literal["none", "nf4"]
_MIG = re.compile(r"/mig-.*?(\d+)gb")  # a slice of a GPU: nvidia.com/mig-3g.20gb
Precision = Literal["auto", "fp32", "bf16", "fp16"]


def _check_adapter_name(name: str) -> str:
    if not re.fullmatch("[a-z0-9][a-z0-9-]{0,62}", name):
        raise ValueError(f"{name[:80]!r} is no adapter name: use small letters, digits and hyphens, at most 63")
    return name


AdapterName = Annotated[str, AfterValidator(_check_adapter_name)]


class Section(BaseModel):
    """A group of settings. Unknown names are errors, so that a typo never goes unnoticed."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="after")
    def _no_placeholders(self) -> Self:
        refuse_placeholders({name: value for name, value in self if not isinstance(value, BaseModel)})
        return self


def refuse_placeholders(value: Any) -> None:
    """Refuse a text that Kubeflow Pipelines would read as a placeholder, in a value or within it. Raises ValueError."""
    if isinstance(value, str) and "{{$" in value:
        raise ValueError("contains '{{$', which Kubeflow Pipelines reads as a placeholder: write it otherwise")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        refuse_placeholders(part)


def outcome_settings(stage: Section) -> dict[str, Any]:
    """The settings that determine the weights a training stage ends with: all but how often it saves its state."""
    return stage.model_dump(exclude={"checkpoint_minutes"})


class Lora(Section):
    """LoRA, by the names of peft's LoraConfig. On a CPU a `lora_dropout` above 0 takes two thirds of a step's time."""

    r: int = Field(default=16, ge=1, le=4096)
    lora_alpha: int = Field(default=32, ge=1)
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    target_modules: list[str] | Literal["all-linear"] = "all-linear"
    modules_to_save: list[str] = []


class Resources(Section):
    """Resources of a step's pod, in Kubernetes units; preflight compares its memory estimate with `gpu_memory`.

    Attributes:
        cpu, memory: limits.
        cpu_request, memory_request: what the scheduler keeps free for it; clinadapt/kubernetes/requests.py when None.
    """

    cpu: str = "2"
    memory: str = "4Gi"
    cpu_request: str | None = None
    memory_request: str | None = None
    gpu: int = Field(default=0, ge=0)
    gpu_type: str = "nvidia.com/gpu"
    gpu_memory_gib: float = 0

    @property
    def gpu_memory(self) -> float:
        """Bytes of memory of a GPU; of a slice what its name says, if that is less."""
        memory = self.gpu_memory_gib * 2**30
        size = slice_memory(self.gpu_type)
        return memory if size is None else min(memory or size, size)


def slice_memory(resource: str) -> float | None:
    """Bytes of memory of a slice of a GPU by its resource name (NVIDIA's MIG); None of a whole GPU."""
    found = _MIG.search(resource)
    return 1e9 * int(found[1]) if found else None


def is_upper_bound(threshold: str) -> bool:
    """Whether a higher value of a threshold is looser, by its name."""
    return threshold.startswith("max_") or threshold.endswith("_margin")


class ChangeControl(Section):
    """publish: what a later run may change without a new review, beside data and seeds (docs/guide.md).

    Attributes:
        bounds: dotted name of a number among the settings of training, such as `lora.r` -> [lowest, highest].
    """

    bounds: dict[str, list[float]] = {}

    @field_validator("bounds")
    @classmethod
    def _check_bounds(cls, bounds: dict[str, list[float]]) -> dict[str, list[float]]:
        for name, values in bounds.items():
            if len(values) != 2 or not -math.inf < values[0] <= values[1] < math.inf:
                raise ValueError(f"write the bounds of {name[:80]} as [lowest, highest]")
        return bounds

    def check_names(self, settings: dict[str, Any]) -> None:
        """Raises ValueError where a name is no number among these settings of training."""
        for name in self.bounds:
            value: Any = settings
            for part in name.split("."):
                value = value.get(part) if isinstance(value, dict) else None
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"change_control.bounds: {name[:80]!r} is no number among the settings of training")


class Review(Section):
    """evaluate and publish: held-out answers that people are asked to judge.

    Attributes:
        riskiest: at most how many of the riskiest answers.
        random: how many of the others, drawn at random, so that the error rate can be estimated.
        reviewers: people who have to agree about an answer.
        private_notes: whether answers about private notes may be among them: the notes are stored in `reviews/` of the
            store, without what identifies patients, and shown to reviewers.
    """

    riskiest: int = Field(default=60, ge=0, le=10_000)
    random: int = Field(default=40, ge=0, le=10_000)
    reviewers: int = Field(default=2, ge=1, le=5)
    private_notes: bool = False


class Monitoring(Section):
    """What is done about the use of the adapter (clinadapt monitor, and the monitor's pipeline).

    Attributes:
        days: that are read, up to today.
        start_run: whether a run is started when use has moved away from the evaluation; otherwise it is proposed.
    """

    days: int = Field(default=90, ge=1, le=3650)
    start_run: bool = False


class ProfileBase(Section):
    """Name, purpose, resources and reviewers of a profile."""

    name: str
    description: str
    adapter_name: AdapterName
    resources: Resources = Resources()
    train_resources: Resources = Resources(memory="8Gi")
    review: Review = Review()
    change_control: ChangeControl = ChangeControl()
    monitoring: Monitoring = Monitoring()


def first_error(error: ValidationError) -> str:
    """The first error as `path: reason`, without the value, which may come from data."""
    first = error.errors(include_input=False, include_url=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    path = ".".join(map(str, first["loc"]))
    return f"{path}{': ' if path else ''}{message[:1].lower()}{message[1:]}"
