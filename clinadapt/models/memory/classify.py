"""How much memory a training step of the classify recipe needs, from configuration and headers alone.

peak = weights + adapter (with gradients and optimiser) + activations + context. The bytes per weight of nf4 with
double quantisation (0.5159) are those of Dettmers et al. 2023 (arXiv:2305.14314): 4 bits and 0.127 bits of constants.
Activations are kept for the backward pass: per layer and token 12 hidden + 3 query + key/value + 3 feed-forward values
(gated) or 2 (plain). The context is the CUDA context of a T4, or the libraries that a CPU process has loaded.
"""

from __future__ import annotations

import math
from typing import Any

from clinadapt.config.base import Quantization
from clinadapt.config.classify import POOLED_LAYERS, Train
from clinadapt.models.base_model import BaseModel
from clinadapt.models.lora_targets import HEADS, adapted_layers
from clinadapt.models.memory.instruct import CONTEXT, config_size, frozen_width

_NF4 = 0.5159
_TRAINED = 16  # bytes of a trained fp32 parameter: weight 4, gradient 4, Adam 8


def estimate(base: BaseModel, train: Train, labels: int, device: str) -> dict[str, Any]:
    """Peak bytes by part for full fine-tuning, LoRA and QLoRA side by side.

    Args:
        base: the base model.
        train: settings of the training.
        labels: how many classes the head has.
        device: `cuda` or `cpu`.

    Returns:
        `parameters`, `adapter_parameters`, and per method a dictionary of parts in bytes with their `total`.
    """
    layers = {name: math.prod(shape) for name, shape in base.linear_layers().items()}
    parameters = base.parameters() - layers.get("lm_head", 0)  # a classifier has a head of its own
    quantised = sum(size for name, size in layers.items() if not HEADS & set(name.split(".")))
    adapter = sum(train.lora.r * sum(shape) for shape in adapted_layers(base, train.lora).values())
    saved = _head_inputs(base.config, train) * labels + sum(
        size for name, size in layers.items() if set(train.lora.modules_to_save) & set(name.split("."))
    )
    wide = frozen_width(device, train.precision)
    kept = _activations(base.config, train, device)
    trained = (adapter + saved) * _TRAINED
    methods: dict[str, dict[str, float]] = {
        "full": {"weights": 0.0, "trained": float(parameters * _TRAINED)},
        "LoRA": {"weights": parameters * wide, "trained": trained},
        "QLoRA": {"weights": quantised * _NF4 + (parameters - quantised) * wide, "trained": trained},
    }
    for parts in methods.values():
        parts |= {"activations": kept, "context": float(CONTEXT[device])}
        parts["total"] = sum(parts.values())
    return {"parameters": parameters, "adapter_parameters": adapter + saved, "methods": methods}


def method(quantization: Quantization) -> str:
    """Which of the estimated methods a setting means."""
    return "QLoRA" if quantization == "nf4" else "LoRA"


def _head_inputs(config: dict[str, Any], train: Train) -> int:
    """Weights of the head for each label: mean pooling reads several layers, of the note and of its first window."""
    layers = 2 * min(POOLED_LAYERS, config_size(config, "num_hidden_layers") + 1) if train.pooling == "mean" else 1
    return layers * config_size(config, "hidden_size")


def _activations(config: dict[str, Any], train: Train, device: str) -> float:
    """A CPU keeps fp32 activations; where it computes in 16 bits also 16-bit copies and (eager attention) the scores
    and probabilities of every head. A GPU keeps what the base's width is."""
    wide = frozen_width(device, train.precision) + (2 if device == "cpu" and train.precision != "fp32" else 0)
    hidden = config_size(config, "hidden_size")
    heads = config_size(config, "num_attention_heads")
    key_value = 2 * hidden * config.get("num_key_value_heads", heads) / heads
    gated = 3 if "silu" in str(config.get("hidden_act")) else 2
    per_token = 12 * hidden + 3 * hidden + key_value + gated * config_size(config, "intermediate_size")
    tokens = train.per_device_train_batch_size * train.train_windows * train.windows.max_length
    scores = 2 * heads * train.windows.max_length if device == "cpu" and train.precision != "fp32" else 0
    return config_size(config, "num_hidden_layers") * tokens * (per_token + scores) * wide
