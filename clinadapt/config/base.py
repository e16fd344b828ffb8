"""Settings that both recipes share, validated. No torch here: the command line and the compiler read them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Quantization = Literal["none", "nf4"]


Precision = Literal["auto", "fp32", "bf16", "fp16"]


ADAPTER_NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"


class Section(BaseModel):
    """An unknown name is an error, so that a typing slip is never a setting that does nothing."""

    model_config = ConfigDict(extra="forbid")


def decisive(stage: Section) -> dict[str, Any]:
    """The settings of a stage of training that decide what comes of it: all but how often its state is saved."""
    return stage.model_dump(exclude={"checkpoint_minutes"})


class Lora(Section):
    """peft's LoraConfig, by its own names. `lora_dropout` above 0 costs two thirds of a step on a CPU."""

    r: int = Field(default=16, ge=1)
    lora_alpha: int = Field(default=32, ge=1)
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    target_modules: list[str] | Literal["all-linear"] = "all-linear"
    modules_to_save: list[str] = []


class Resources(Section):
    """What a step asks of the cluster. Memory in Kubernetes units; `gpu_memory_gib` is what the estimate is held
    against."""

    cpu: str = "2"
    memory: str = "4Gi"
    gpu: int = Field(default=0, ge=0)
    gpu_type: str = "nvidia.com/gpu"
    gpu_memory_gib: float = 0


class ProfileBase(Section):
    """What every named, validated run says of itself."""

    name: str
    description: str
    adapter_name: str = Field(pattern=ADAPTER_NAME)
    resources: Resources = Resources()
    train_resources: Resources = Resources(memory="8Gi")


def first_error(error: ValidationError) -> str:
    """The first thing wrong, as `path: reason`, without the value (it may come from data)."""
    first = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"
