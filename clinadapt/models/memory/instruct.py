"""How much memory a training step of a causal language model needs, from configuration and headers alone.

Weights, LoRA, gradients and optimizer are counted, not estimated. Activations are the tensors that autograd saves for
the backward pass, by the operations of transformers' decoder layers under peft's LoRA on every linear layer and SDPA
with a mask; `_saved_bytes_per_token` lists them. Fragmentation in the allocator is not included: leave HEADROOM.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from clinadapt.config.instruct import InstructTraining, Pretraining, TrainingSettings
from clinadapt.models.base_model import BaseModel
from clinadapt.models.lora_targets import body_layers
from clinadapt.models.memory.sizes import (
    CONTEXT,
    adapter_parameters,
    config_size,
    decoder_config,
    frozen_weight_bytes,
    held_dequantized,
)

HEADROOM = 0.1  # share of a GPU left for fragmentation and the error of the estimate
TILE = 1024  # tokens: the loss is computed in tiles, and only one tile's logits exist at a time
METHODS = ("full", "LoRA", "QLoRA")
_BATCH = "per_device_train_batch_size"
# nf4 in bitsandbytes: weights that share a constant, and constants that share one in double quantization
_BLOCK, _CONSTANTS_PER_BLOCK = 64, 256
_TABLES = 4 * (16 + 256 + 1)  # bytes per layer: both code books and the offset, in fp32


@dataclass(frozen=True)
class DecoderShape:
    """What the activations of a decoder depend on. Widths in values per token.

    Attributes:
        layers: number of decoder layers.
        hidden, query, key_value, feed_forward, vocabulary: widths; query and key/value over all heads.
        gated: whether the feed-forward block has a gate (Llama, Mistral, Qwen, Gemma, Phi-3).
        query_norms: whether query and key are normalized (Qwen3, Gemma 3).
        output_norms: whether the outputs of attention and feed-forward are normalized too (Gemma).
        mixed: whether 16-bit values are computed beside fp32 ones.
        residual_bytes: bytes of a value in the residual stream.
    """

    layers: int
    hidden: int
    query: int
    key_value: int
    feed_forward: int
    vocabulary: int
    gated: bool
    query_norms: bool
    output_norms: bool
    mixed: bool
    residual_bytes: int

    @property
    def value_bytes(self) -> int:
        """Bytes of a computed value."""
        return 2 if self.mixed else 4


def estimate(
    base: BaseModel, settings: InstructTraining | Pretraining, available: float, device: str, processes: int = 1
) -> dict[str, Any]:
    """Estimate the peak memory in bytes of one process for full fine-tuning, LoRA and QLoRA side by side.

    Args:
        base: the base model.
        settings: of a stage of training.
        available: memory of the device in bytes; decides where `gradient_checkpointing` is auto.
        device: `cuda` or `cpu`.
        processes: that train together; more than one exchange gradients through a copy of them.

    Returns:
        `parameters`, `adapter_parameters`, in `methods` for each method its parts in bytes with their `total`, and in
        `checkpointed` for each method whether activations are recomputed in the backward pass.
    """
    results = {name: _parts(base, settings, name, available, device, processes) for name in METHODS}
    return {
        "parameters": base.parameters(),
        "adapter_parameters": adapter_parameters(base, settings.lora),
        "methods": {name: parts for name, (parts, _) in results.items()},
        "checkpointed": {name: checkpointed for name, (_, checkpointed) in results.items()},
    }


def checkpointing_needed(
    base: BaseModel, settings: InstructTraining | Pretraining, gpu_bytes: float, device: str
) -> bool:
    """Whether training with all activations saved takes more of `gpu_bytes` than HEADROOM leaves."""
    return _peak(base, settings, method(settings), device, False)["total"] > (1 - HEADROOM) * gpu_bytes


def weights_on_disk(base: BaseModel) -> int:
    """Bytes of a base model's safetensors files, without their headers."""
    return sum(
        int(re.sub(r"\D*(\d+).*", r"\1", dtype)) // 8 * math.prod(shape) for dtype, shape in base.tensors.values()
    )


def method(settings: InstructTraining | Pretraining) -> str:
    """Which of METHODS the settings choose."""
    if isinstance(settings, Pretraining) and settings.method == "full":
        return "full"
    return "QLoRA" if settings.quantization == "nf4" else "LoRA"


def suggest_smaller_settings(
    base: BaseModel, settings: InstructTraining | Pretraining, available: float, device: str, processes: int = 1
) -> str:
    """Suggest what would fit: the largest batch, length or rank, each with everything else unchanged.

    Args:
        base, settings, available, device, processes: as in `estimate`.

    Returns:
        Such as `fits with per_device_train_batch_size 1, or max_length 384, or rank 8`, or what else to change.
    """

    def fits(changed: InstructTraining | Pretraining) -> bool:
        return _parts(base, changed, method(changed), available, device, processes)[0]["total"] <= available

    def largest(name: str, values: range, change: Callable[[int], dict[str, Any]]) -> Iterator[str]:
        """By bisection, as a larger value needs more memory."""
        if fitting := bisect_left(values, True, key=lambda n: not fits(settings.model_copy(update=change(n)))):
            yield f"{name} {values[fitting - 1]}"

    lora = settings.lora
    options = [
        *largest(_BATCH, range(1, settings.per_device_train_batch_size), lambda n: {_BATCH: n}),
        *largest("max_length", range(64, settings.max_length, 64), lambda n: {"max_length": n}),
        *largest("rank", range(1, lora.r if method(settings) != "full" else 1),
                 lambda n: {"lora": lora.model_copy(update={"r": n})}),
    ]  # fmt: skip
    if options:
        return f"fits with {', or '.join(options)}"
    smallest = settings.model_copy(update={_BATCH: 1, "lora": lora.model_copy(update={"r": 1})})
    if lengths := [
        *largest("max_length", range(64, settings.max_length + 1, 64), lambda n: {**dict(smallest), "max_length": n})
    ]:
        return f"fits with per_device_train_batch_size 1, rank 1 and {lengths[0]} together"
    if method(settings) != "QLoRA":
        return "fits in no batch, length or rank: use nf4, a smaller base model or a larger GPU"
    return "fits in no batch, length or rank: use a smaller base model or a larger GPU"


def rule_of_thumb(parameters: int) -> tuple[float, float]:
    """Bytes of full fine-tuning, low and high, by the usual rule: per parameter 2 for weights, 2 for gradients and 2 to
    12 for the optimizer, without activations."""
    return 6.0 * parameters, 16.0 * parameters


def _parts(
    base: BaseModel,
    settings: InstructTraining | Pretraining,
    method: str,
    available: float,
    device: str,
    processes: int,
) -> tuple[dict[str, float], bool]:
    """(parts of the peak in bytes, whether activations are checkpointed)."""
    checkpointing = settings.gradient_checkpointing
    peak = _peak(base, settings, method, device, False, processes)
    if checkpointing == "never" or (checkpointing == "auto" and peak["total"] <= (1 - HEADROOM) * available):
        return peak, False
    return _peak(base, settings, method, device, True, processes), True


def _peak(
    base: BaseModel,
    settings: InstructTraining | Pretraining,
    method: str,
    device: str,
    checkpointed: bool,
    processes: int = 1,
) -> dict[str, float]:
    """Parts of the peak in bytes, with their total."""
    trained = base.parameters() if method == "full" else adapter_parameters(base, settings.lora)
    frozen_bytes = frozen_weight_bytes(device, settings.precision)
    shape = _shape(base, settings, device)
    activations, logits = _activations(base, shape, settings, method, checkpointed)
    weights = {"full": 4 * base.parameters(), "LoRA": frozen_bytes * base.parameters()}
    parts = {
        "weights": weights.get(method, _quantized(base, frozen_bytes, shape.value_bytes, device)),
        "LoRA": 0 if method == "full" else 4 * trained,
        "gradients": 4 * trained * (1 if processes == 1 else 2),
        "optimizer": 8 * trained,
        "activations": activations,
        "logits": logits,
        "context": CONTEXT[device],
    }
    return parts | {"total": sum(parts.values())}


def _quantized(base: BaseModel, frozen_bytes: int, value_bytes: int, device: str) -> int:
    """Bytes of a base in nf4 with double quantization (Dettmers et al. 2023, arXiv:2305.14314) as bitsandbytes stores
    it: 4 bits per weight, an 8-bit constant for 64 of them, an fp32 one for 256 of those, and small tables."""
    quantized = [math.prod(shape) for shape in body_layers(base).values()]
    rest = frozen_bytes * (base.parameters() - sum(quantized))
    if held_dequantized(sum(quantized), value_bytes, device):
        return value_bytes * sum(quantized) + rest
    blocks = [math.ceil(n / _BLOCK) for n in quantized]
    four_bit = sum(math.ceil(n / 2) for n in quantized)
    constants = sum(n + 4 * math.ceil(n / _CONSTANTS_PER_BLOCK) + _TABLES for n in blocks)
    return four_bit + constants + rest


def _shape(base: BaseModel, settings: TrainingSettings, device: str) -> DecoderShape:
    config = decoder_config(base.config)
    hidden, heads = config_size(config, "hidden_size"), config_size(config, "num_attention_heads")
    head = config.get("head_dim") or hidden // heads
    layer_types = {name.rpartition(".")[2] for name in base.linear_layers()}
    return DecoderShape(
        layers=config_size(config, "num_hidden_layers"),
        hidden=hidden,
        query=heads * head,
        key_value=head * (config.get("num_key_value_heads") or heads),
        feed_forward=config_size(config, "intermediate_size"),
        vocabulary=config["vocab_size"],
        gated=bool({"gate_proj", "gate_up_proj"} & layer_types),
        query_norms=any("q_norm" in name for name in base.tensors),
        output_norms=any("post_feedforward_layernorm" in name for name in base.tensors),
        mixed=settings.precision in ("bf16", "fp16") or (device == "cuda" and settings.precision == "auto"),
        residual_bytes=frozen_weight_bytes(device, settings.precision),
    )


def _activations(
    base: BaseModel, shape: DecoderShape, settings: TrainingSettings, method: str, checkpointed: bool
) -> tuple[float, float]:
    """(activations, logits) at the peak, in bytes.

    Logits exist while all saved activations do, and are freed before the first layer of the backward pass needs its
    working memory. Only the larger of the two counts, so activations are returned without what the logits cover.
    """
    tokens = settings.per_device_train_batch_size * settings.max_length
    layer_sizes = [math.prod(size) for size in body_layers(base).values()]
    value = shape.value_bytes
    mask = settings.per_device_train_batch_size * settings.max_length**2
    layer = tokens * _saved_bytes_per_token(shape) + mask * value
    ends = tokens * shape.hidden * (4 + 2 * value) + mask  # the last norm, and the states that predict
    fp32_weights = method == "full" or (method == "LoRA" and shape.residual_bytes == 4)
    cast_weights = 2 * sum(layer_sizes) if shape.mixed and fp32_weights else 0
    working = tokens * (4 * shape.hidden + 3 * value * shape.feed_forward)  # gradients on their way through a layer
    if method == "QLoRA":
        working += value * max(layer_sizes)  # a layer's weights, dequantized
    if checkpointed:
        saved, working = shape.layers * tokens * shape.hidden * shape.residual_bytes, layer + working
        cast_weights = cast_weights // shape.layers if method == "LoRA" else cast_weights
    else:
        saved = shape.layers * layer
    logits = min(TILE, tokens) * shape.vocabulary * (16 if shape.mixed else 12)  # output, fp32, log p, their gradients
    return saved + ends + cast_weights + max(0, working - logits), logits


def _saved_bytes_per_token(shape: DecoderShape) -> int:
    """Bytes per token and layer that autograd saves, with LoRA on every linear layer.

    Attention: query, key and value (repeated for every head under a mask) and its output, which is the input of the
    output layer. A gated block: inputs of two norms in fp32 and their outputs; gate, its activation, up, their product;
    of norms of outputs the input in fp32.
    phi: one norm, cast for each of four layers under autocast; the tanh form of GELU, computed in steps, half of them
    in fp32.
    """
    value = shape.value_bytes
    attention = 4 * value * shape.query
    norms = 4 * (shape.query + shape.key_value) if shape.query_norms else 0
    if shape.output_norms:
        norms += 2 * 4 * shape.hidden
    if shape.gated:
        return 2 * (4 + value) * shape.hidden + norms + attention + 4 * value * shape.feed_forward
    copies = 4 if shape.mixed else 1
    return (4 + copies * value) * shape.hidden + norms + attention + (16 if shape.mixed else 20) * shape.feed_forward
