"""Which layers of a base model LoRA adapts, read from its safetensors header."""

from __future__ import annotations

from clinadapt.config.base import Lora
from clinadapt.errors import UserError
from clinadapt.models.base_model import BaseModel

HEADS = {"classifier", "score", "lm_head", "pooler"}


def body_layers(base: BaseModel) -> dict[str, list[int]]:
    """Module name -> (out features, in features) of all linear layers but heads: those that `all-linear` adapts and
    nf4 quantizes."""
    return {name: shape for name, shape in base.linear_layers().items() if not HEADS & set(name.split("."))}


def adapted_layers(base: BaseModel, lora: Lora) -> dict[str, list[int]]:
    """Module name -> (out features, in features) of the layers that LoRA adapts.

    Raises:
        UserError: a target matches no layer.
    """
    if lora.target_modules == "all-linear":
        return body_layers(base)
    layers = base.linear_layers()
    check_targets(list(layers), lora.target_modules)
    return {
        name: shape for name, shape in layers.items() if any(matches(name, target) for target in lora.target_modules)
    }


def check_targets(modules: list[str], targets: list[str]) -> None:
    """Raises UserError when a LoRA target matches none of the modules."""
    for target in targets:
        if not any(matches(name, target) for name in modules):
            leaves = sorted({name.rpartition(".")[2] for name in modules})
            raise UserError(f"LoRA target '{target}' matches no module of the base model: it has {', '.join(leaves)}")


def matches(module: str, target: str) -> bool:
    """peft's rule for a target: the full module name, or its end after a dot."""
    return module == target or module.endswith(f".{target}")
