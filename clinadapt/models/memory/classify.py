"""How much memory a training step of the classify recipe needs, from configuration and headers alone.

peak = weights + adapter (with gradients and optimizer) + activations + context. The bytes per weight of nf4 with
double quantization (0.5159) are those of Dettmers et al. 2023 (arXiv:2305.14314): 4 bits and 0.127 bits of constants.
Activations saved for the backward pass are, per layer and token, 12 hidden + 3 query + key/value + 3 feed-forward
values (gated) or 2 (plain).
"""

from __future__ import annotations

import math
from typing import Any

from clinadapt.config.base import Quantization
from clinadapt.config.classify import POOLED_LAYERS, ClassifyTraining
from clinadapt.models.base_model import BaseModel
from clinadapt.models.lora_targets import body_layers
from clinadapt.models.memory.sizes import CONTEXT, adapter_parameters, config_size, frozen_weight_bytes

_NF4_BYTES = 0.5159  # of a weight
_TRAINED_BYTES = 16  # of a trained fp32 parameter: weight 4, gradient 4, Adam 8


def estimate(base: BaseModel, train: ClassifyTraining, labels: int, device: str) -> dict[str, Any]:
    """Estimate the peak memory in bytes for full fine-tuning, LoRA and QLoRA side by side.

    Args:
        base: the base model.
        train: settings of the training.
        labels: number of classes of the head.
        device: `cuda` or `cpu`.

    Returns:
        `parameters`, `adapter_parameters`, and in `methods` for each method its parts in bytes with their `total`.
    """
    lm_head = base.tensors.get("lm_head.weight")  # a classifier has a head of its own in its place
    parameters = base.parameters() - (math.prod(lm_head[1]) if lm_head else 0)
    quantized = sum(map(math.prod, body_layers(base).values()))
    adapter = adapter_parameters(base, train.lora) + _head_inputs(base.config, train) * labels
    weight_bytes = frozen_weight_bytes(device, train.precision)
    trained = adapter * _TRAINED_BYTES
    methods: dict[str, dict[str, float]] = {
        "full": {"weights": 0.0, "trained": float(parameters * _TRAINED_BYTES)},
        "LoRA": {"weights": parameters * weight_bytes, "trained": trained},
        "QLoRA": {"weights": quantized * _NF4_BYTES + (parameters - quantized) * weight_bytes, "trained": trained},
    }
    activations = _activations(base.config, train, device)
    for parts in methods.values():
        parts |= {"activations": activations, "context": float(CONTEXT[device])}
        parts["total"] = sum(parts.values())
    return {"parameters": parameters, "adapter_parameters": adapter, "methods": methods}


def method(quantization: Quantization) -> str:
    """Which of the estimated methods the settings choose."""
    return "QLoRA" if quantization == "nf4" else "LoRA"


def _head_inputs(config: dict[str, Any], train: ClassifyTraining) -> int:
    """Weights of the head per label: mean pooling reads several layers of the complete note and of its first window."""
    layers = 2 * min(POOLED_LAYERS, config_size(config, "num_hidden_layers") + 1) if train.pooling == "mean" else 1
    return layers * config_size(config, "hidden_size")


def _activations(config: dict[str, Any], train: ClassifyTraining, device: str) -> float:
    """Bytes. A CPU saves activations in fp32, and if it computes in 16 bits also 16-bit copies and (eager attention)
    the scores and probabilities of every head. A GPU saves them in the width of the base's weights."""
    mixed_on_cpu = device == "cpu" and train.precision != "fp32"
    value = frozen_weight_bytes(device, train.precision) + (2 if mixed_on_cpu else 0)
    hidden = config_size(config, "hidden_size")
    heads = config_size(config, "num_attention_heads")
    key_value = 2 * hidden * config.get("num_key_value_heads", heads) / heads
    feed_forward_copies = 3 if "silu" in str(config.get("hidden_act")) else 2
    per_token = 12 * hidden + 3 * hidden + key_value + feed_forward_copies * config_size(config, "intermediate_size")
    tokens = train.per_device_train_batch_size * train.train_windows * train.windows.max_length
    scores = 2 * heads * train.windows.max_length if mixed_on_cpu else 0
    return config_size(config, "num_hidden_layers") * tokens * (per_token + scores) * value
