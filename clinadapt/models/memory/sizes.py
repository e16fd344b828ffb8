"""Sizes of a base model and its adapter that the estimates of both recipes need."""

from __future__ import annotations

import math
from typing import Any

from clinadapt.config.base import Lora, Precision
from clinadapt.errors import UserError
from clinadapt.models.base_model import BaseModel
from clinadapt.models.lora_targets import adapted_layers

# Bytes: the CUDA context, measured on a T4; the libraries that a CPU process has loaded
CONTEXT = {"cuda": 141 * 2**20, "cpu": 650 * 2**20}
# config.json of DistilBERT, GPT-2 and others
_ALIASES = {
    "hidden_size": ("dim", "n_embd", "d_model"),
    "num_attention_heads": ("n_heads", "n_head"),
    "num_hidden_layers": ("n_layers", "n_layer"),
    "intermediate_size": ("hidden_dim", "n_inner"),
}


def decoder_config(config: dict[str, Any]) -> dict[str, Any]:
    """The part of config.json that describes the decoder: all of it, or `text_config` of a multimodal model."""
    return config.get("text_config", config)


def config_size(config: dict[str, Any], name: str) -> int:
    """A size of the decoder in config.json under its usual name or an alias of it.

    Raises:
        UserError: config.json has neither.
    """
    config = decoder_config(config)
    for alias in (name, *_ALIASES[name]):
        if config.get(alias):
            return config[alias]
    if name == "intermediate_size":
        return 4 * config_size(config, "hidden_size")
    raise UserError(f"config.json of the base model has no {name}: this architecture is not supported")


def frozen_weight_bytes(device: str, precision: Precision) -> int:
    """Bytes of one frozen weight that is not quantized: 4 on a CPU or in fp32, else 2."""
    return 4 if device == "cpu" or precision == "fp32" else 2


def held_dequantized(quantized: int, value_bytes: int, device: str) -> bool:
    """Whether a base model's nf4 weights are held as the values that they stand for: on a CPU, where bitsandbytes
    dequantizes them to the same values in every pass (about 0.1 s for SmolLM2-135M on one core), and where they take
    at most 1 GiB.

    Args:
        quantized: number of the weights in nf4.
        value_bytes: of a value of the computation.
        device: `cuda` or `cpu`.
    """
    return device == "cpu" and quantized * value_bytes <= 2**30


def adapter_parameters(base: BaseModel, lora: Lora) -> int:
    """Number of LoRA's parameters, of the linear layers in `modules_to_save` and of the modules that the base model
    lacks, which are trained in full."""
    saved = set(lora.modules_to_save)
    in_full = (shape for name, shape in base.linear_layers().items() if saved & set(name.split(".")))
    return (
        lora.r * sum(map(sum, adapted_layers(base, lora).values()))
        + sum(map(math.prod, in_full))
        + sum(base.drawn.values())
    )
