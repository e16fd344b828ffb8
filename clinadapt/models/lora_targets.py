"""Which layers of a base model LoRA adapts, read from its safetensors header."""

from __future__ import annotations

from clinadapt.config.base import Lora
from clinadapt.errors import UserError
from clinadapt.models.base_model import BaseModel

# Layers that peft does not adapt, by the architectures in which their kernels read the weights themselves
_FUSED = dict.fromkeys(("falcon_h1", "falcon_mamba", "mamba", "mamba2"), ("out_proj", "conv1d"))
_OUTPUTS = {"classifier", "score", "lm_head", "embed_out"}
# Modules that nf4 leaves alone: outputs, and what a base model may lack when it becomes a classifier
HEADS = _OUTPUTS | {"pooler", "pre_classifier", "head", "sequence_summary", "logits_proj", "classification_head"}


def body_layers(base: BaseModel) -> dict[str, list[int]]:
    """Module name -> (out features, in features) of all linear layers but heads: those that nf4 quantizes."""
    return {name: shape for name, shape in base.linear_layers().items() if not HEADS & set(name.split("."))}


def adapted_layers(base: BaseModel, lora: Lora) -> dict[str, list[int]]:
    """Module name -> (out features, in features) of the layers that LoRA adapts.

    Raises:
        UserError: a target matches no layer.
    """
    if lora.target_modules == "all-linear":
        fused = excluded_layers(base.config["model_type"])
        left_out = HEADS if base.modules is None else _OUTPUTS  # `modules` has no head that the base model lacks
        return {
            name: shape
            for name, shape in base.linear_layers().items()
            if not left_out & set(name.split(".")) and name.rpartition(".")[2] not in fused
        }
    layers = base.linear_layers()
    check_targets(list(layers), lora.target_modules)
    return {
        name: shape for name, shape in layers.items() if any(matches(name, target) for target in lora.target_modules)
    }


def excluded_layers(model_type: str) -> tuple[str, ...]:
    """The last names of the layers that `all-linear` leaves out in an architecture, beside heads."""
    return _FUSED.get(model_type, ())


def check_targets(modules: list[str], targets: list[str]) -> None:
    """Raises UserError when a LoRA target matches none of the modules."""
    for target in targets:
        if not any(matches(name, target) for name in modules):
            leaves = sorted({name.rpartition(".")[2] for name in modules} - HEADS)
            raise UserError(f"LoRA target '{target}' matches no module of the base model: it has {', '.join(leaves)}")


def matches(module: str, target: str) -> bool:
    """peft's rule for a target: the full module name, or its end after a dot."""
    return module == target or module.endswith(f".{target}")
