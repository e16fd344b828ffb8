"""How much memory a training step of a causal language model needs, from configuration and headers alone.

Weights, LoRA, gradients and optimiser are counted, not estimated. Activations are the tensors that autograd keeps for
the backward pass, by the operations of transformers' decoder layers under peft's LoRA on every linear layer and sdpa
with a mask; `_kept` lists them. What the allocator's fragmentation adds is no part: leave HEADROOM.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from clinadapt.artifacts.hashing import sha256_json
from clinadapt.config.base import Lora, Precision
from clinadapt.config.instruct import BUILTIN_LLAMA, Instruct, Llama, Pretrain, TrainingSettings
from clinadapt.errors import UserError
from clinadapt.models.base_model import BaseModel, describe
from clinadapt.models.lora_targets import HEADS, adapted_layers

CONTEXT = {"cuda": 141 * 2**20, "cpu": 650 * 2**20}  # of CUDA on a T4; the libraries that a CPU process has loaded
HEADROOM = 0.1  # of a GPU, left to fragmentation and to the estimate's own error
TILE = 1024  # tokens whose logits exist at a time, as the loss is cut
METHODS = ("full", "LoRA", "QLoRA")
BATCH = "per_device_train_batch_size"
_BLOCK, _OUTER = 64, 256  # weights that share a constant in nf4, constants that share one in double quantisation
_TABLES = 4 * (16 + 256 + 1)  # bytes a layer: both code books and the offset, in fp32
_ALIASES = {
    "hidden_size": ("dim", "n_embd", "d_model"),
    "num_attention_heads": ("n_heads", "n_head"),
    "num_hidden_layers": ("n_layers", "n_layer"),
    "intermediate_size": ("hidden_dim", "n_inner"),
}


@dataclass(frozen=True)
class Shape:
    """What decides the activations of a decoder. Sizes in values a token."""

    layers: int
    hidden: int
    query: int
    key_value: int
    feed_forward: int
    vocabulary: int
    gated: bool
    query_norms: bool
    mixed: bool  # 16-bit values beside fp32 ones, else fp32 alone
    wide: int  # bytes of a value of the stream between layers


def estimate(
    base: BaseModel, settings: Instruct | Pretrain, available: float, device: str, processes: int = 1
) -> dict[str, Any]:
    """Peak bytes of one process by part, for full fine-tuning, LoRA and QLoRA side by side.

    Args:
        base: the base model.
        settings: of a stage of training.
        available: bytes of the device; decides where `gradient_checkpointing` is auto.
        device: `cuda` or `cpu`.
        processes: that train together; they exchange gradients through a copy of them.

    Returns:
        `parameters`, `adapter_parameters`, and per method a dictionary of parts in bytes with their `total`;
        `checkpointed`: per method whether activations are computed again in the backward pass.
    """
    parts = {name: _parts(base, settings, name, available, device, processes) for name in METHODS}
    return {
        "parameters": base.parameters(),
        "adapter_parameters": _adapter(base, settings.lora),
        "methods": {name: found for name, (found, _) in parts.items()},
        "checkpointed": {name: checkpointed for name, (_, checkpointed) in parts.items()},
    }


def checkpointing_needed(base: BaseModel, settings: Instruct | Pretrain, gpu_bytes: float, device: str) -> bool:
    """Whether training with all activations kept takes more of `gpu_bytes` than HEADROOM leaves."""
    return _total(base, settings, method(settings), device, False)["total"] > (1 - HEADROOM) * gpu_bytes


def weights_on_disk(base: BaseModel) -> int:
    """Bytes of a base model's safetensors files, without their headers."""
    return sum(
        int(re.sub(r"\D*(\d+).*", r"\1", dtype)) // 8 * math.prod(shape) for dtype, shape in base.tensors.values()
    )


def method(settings: Instruct | Pretrain) -> str:
    """Which of METHODS a setting means."""
    if isinstance(settings, Pretrain) and settings.method == "full":
        return "full"
    return "QLoRA" if settings.quantization == "nf4" else "LoRA"


def smaller(base: BaseModel, settings: Instruct | Pretrain, available: float, device: str, processes: int = 1) -> str:
    """What would fit where these settings do not: the largest batch, length or rank, each with all else as it is.

    Returns:
        `fits with per_device_train_batch_size 1, or max_length 384, or rank 8`, or what else can be done.
    """

    def fits(changed: Instruct | Pretrain) -> bool:
        return _parts(base, changed, method(changed), available, device, processes)[0]["total"] <= available

    def largest(name: str, values: range, change: Callable[[int], dict[str, Any]]) -> Iterator[str]:
        """By bisection: what is larger needs more."""
        if fitting := bisect_left(values, True, key=lambda n: not fits(settings.model_copy(update=change(n)))):
            yield f"{name} {values[fitting - 1]}"

    lora = settings.lora
    ways = [
        *largest(BATCH, range(1, settings.per_device_train_batch_size), lambda n: {BATCH: n}),
        *largest("max_length", range(64, settings.max_length, 64), lambda n: {"max_length": n}),
        *largest("rank", range(1, lora.r if method(settings) != "full" else 1),
                 lambda n: {"lora": lora.model_copy(update={"r": n})}),
    ]  # fmt: skip
    if ways:
        return f"fits with {', or '.join(ways)}"
    least = settings.model_copy(update={BATCH: 1, "lora": lora.model_copy(update={"r": 1})})
    if both := [
        *largest("max_length", range(64, settings.max_length + 1, 64), lambda n: {**dict(least), "max_length": n})
    ]:
        return f"fits with per_device_train_batch_size 1, rank 1 and {both[0]} together"
    if method(settings) != "QLoRA":
        return "fits in no batch, length or rank: use nf4, a smaller base model or a larger GPU"
    return "fits in no batch, length or rank: use a smaller base model or a larger GPU"


def rule_of_thumb(parameters: int) -> tuple[float, float]:
    """Bytes of full fine-tuning as slides have it: 2 GB of weights, 2 of gradients and 2 to 12 of optimiser for each
    billion parameters, activations not counted."""
    return 6.0 * parameters, 16.0 * parameters


def described(uri: str, pretrain: Pretrain | None) -> BaseModel:
    """A base model as `describe` tells it, or the one that pretrain makes. Raises UserError as `describe`, or where
    there is no section to make it by."""
    if uri != BUILTIN_LLAMA:
        return describe(uri)
    if pretrain is None:
        raise UserError("builtin://llama is made by pretrain: choose a profile that has the section pretrain")
    return llama(pretrain.llama)


def stages(instruct: Instruct, pretrain: Pretrain | None) -> dict[str, Instruct | Pretrain]:
    """The stages of training by name, as they will be run: what begins from nothing is trained in full."""
    if pretrain is None:
        return {"instruct": instruct}
    if instruct.base_model == BUILTIN_LLAMA:
        pretrain = pretrain.model_copy(update={"method": "full"})
    return {"pretrain": pretrain, "instruct": instruct}


def llama(shape: Llama) -> BaseModel:
    """The base model that pretrain makes from nothing, as its configuration and headers would say it."""
    head = shape.hidden_size // shape.num_attention_heads
    key_value = shape.num_key_value_heads * head
    sizes = {
        "self_attn.q_proj": [shape.hidden_size, shape.hidden_size],
        "self_attn.k_proj": [key_value, shape.hidden_size],
        "self_attn.v_proj": [key_value, shape.hidden_size],
        "self_attn.o_proj": [shape.hidden_size, shape.hidden_size],
        "mlp.gate_proj": [shape.intermediate_size, shape.hidden_size],
        "mlp.up_proj": [shape.intermediate_size, shape.hidden_size],
        "mlp.down_proj": [shape.hidden_size, shape.intermediate_size],
        "input_layernorm": [shape.hidden_size],
        "post_attention_layernorm": [shape.hidden_size],
    }
    tensors = {
        f"model.layers.{layer}.{name}.weight": ("F32", size)
        for layer in range(shape.num_hidden_layers)
        for name, size in sizes.items()
    }
    tensors["model.embed_tokens.weight"] = ("F32", [shape.vocab_size, shape.hidden_size])
    tensors["model.norm.weight"] = ("F32", [shape.hidden_size])
    config = {
        "model_type": "llama",
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.num_hidden_layers,
        "num_attention_heads": shape.num_attention_heads,
        "num_key_value_heads": shape.num_key_value_heads,
        "vocab_size": shape.vocab_size,
        "hidden_act": "silu",
    }
    return BaseModel(BUILTIN_LLAMA, sha256_json(shape.model_dump()), config, tensors)


def config_size(config: dict[str, Any], name: str) -> int:
    """A size by its usual name in config.json, or by those of DistilBERT and GPT-2. Raises UserError without it."""
    for alias in (name, *_ALIASES[name]):
        if config.get(alias):
            return config[alias]
    if name == "intermediate_size":
        return 4 * config_size(config, "hidden_size")
    raise UserError(f"config.json of the base model names no {name}: this architecture is not known")


def frozen_width(device: str, precision: Precision) -> int:
    """Bytes of a frozen weight as training keeps it: fp32 on a CPU, 16 bits on a GPU unless fp32 is asked for."""
    return 4 if device == "cpu" or precision == "fp32" else 2


def _parts(
    base: BaseModel, settings: Instruct | Pretrain, name: str, available: float, device: str, processes: int
) -> tuple[dict[str, float], bool]:
    """Parts of a method, and whether its activations are checkpointed."""
    wanted = settings.gradient_checkpointing
    kept = _total(base, settings, name, device, False, processes)
    if wanted == "never" or (wanted == "auto" and kept["total"] <= (1 - HEADROOM) * available):
        return kept, False
    return _total(base, settings, name, device, True, processes), True


def _total(
    base: BaseModel, settings: Instruct | Pretrain, name: str, device: str, checkpointed: bool, processes: int = 1
) -> dict[str, float]:
    trained = base.parameters() if name == "full" else _adapter(base, settings.lora)
    wide = frozen_width(device, settings.precision)
    shape = _shape(base, settings, device)
    activations, logits = _activations(base, shape, settings, name, checkpointed)
    parts = {
        "weights": {"full": 4 * base.parameters(), "LoRA": wide * base.parameters()}.get(name, _nf4(base, wide)),
        "LoRA": 0 if name == "full" else 4 * trained,
        "gradients": 4 * trained * (1 if processes == 1 else 2),
        "optimiser": 8 * trained,
        "activations": activations,
        "logits": logits,
        "context": CONTEXT[device],
    }
    return parts | {"total": sum(parts.values())}


def _adapter(base: BaseModel, lora: Lora) -> int:
    """Parameters of LoRA, and those of whole modules that are trained beside it."""
    layers = base.linear_layers()
    saved = (size for name, size in layers.items() if set(lora.modules_to_save) & set(name.split(".")))
    return lora.r * sum(map(sum, adapted_layers(base, lora).values())) + sum(map(math.prod, saved))


def _inner(base: BaseModel) -> list[int]:
    """Weights of each linear layer that nf4 quantises: all but heads."""
    return [math.prod(size) for name, size in base.linear_layers().items() if not HEADS & set(name.split("."))]


def _nf4(base: BaseModel, wide: int) -> int:
    """Bytes of a base in nf4 with double quantisation (Dettmers et al. 2023, arXiv:2305.14314) as bitsandbytes keeps
    it: 4 bits a weight, an 8-bit constant for 64 of them, an fp32 one for 256 of those, and small tables."""
    quantised = _inner(base)
    blocks = [math.ceil(n / _BLOCK) for n in quantised]
    small = sum(math.ceil(n / 2) for n in quantised) + sum(n + 4 * math.ceil(n / _OUTER) + _TABLES for n in blocks)
    return small + wide * (base.parameters() - sum(quantised))


def _shape(base: BaseModel, settings: TrainingSettings, device: str) -> Shape:
    config = base.config
    hidden, heads = config_size(config, "hidden_size"), config_size(config, "num_attention_heads")
    head = config.get("head_dim") or hidden // heads
    names = {name.rpartition(".")[2] for name in base.linear_layers()}
    return Shape(
        layers=config_size(config, "num_hidden_layers"),
        hidden=hidden,
        query=heads * head,
        key_value=head * (config.get("num_key_value_heads") or heads),
        feed_forward=config_size(config, "intermediate_size"),
        vocabulary=config["vocab_size"],
        gated="gate_proj" in names,
        query_norms=any("q_norm" in name for name in base.tensors),
        mixed=settings.precision in ("bf16", "fp16") or (device == "cuda" and settings.precision == "auto"),
        wide=frozen_width(device, settings.precision),
    )


def _activations(
    base: BaseModel, shape: Shape, settings: TrainingSettings, name: str, checkpointed: bool
) -> tuple[float, float]:
    """Bytes of activations and of logits at the peak.

    Logits come while all that is kept is there, and are gone before the first layer needs room to work; so of both the
    larger counts, and activations are given without what the logits make room for.
    """
    tokens = settings.per_device_train_batch_size * settings.max_length
    inner = _inner(base)
    value = 2 if shape.mixed else 4
    mask = settings.per_device_train_batch_size * settings.max_length**2
    layer = tokens * _kept(shape) + mask * value
    ends = tokens * shape.hidden * (4 + 2 * value) + mask  # the last norm, and the states that predict
    cast = 2 * sum(inner) if shape.mixed and (name == "full" or (name == "LoRA" and shape.wide == 4)) else 0
    work = tokens * (4 * shape.hidden + 3 * value * shape.feed_forward)  # gradients on their way through a layer
    if name == "QLoRA":
        work += value * max(inner)  # a layer's weights, dequantised
    if checkpointed:
        kept, room = shape.layers * tokens * shape.hidden * shape.wide, layer + work
        cast = cast // shape.layers if name == "LoRA" else cast
    else:
        kept, room = shape.layers * layer, work
    logits = min(TILE, tokens) * shape.vocabulary * (16 if shape.mixed else 12)  # output, fp32, log p, their gradients
    return kept + ends + cast + max(0, room - logits), logits


def _kept(shape: Shape) -> int:
    """Bytes a token and layer that autograd keeps, LoRA on every linear layer.

    Attention: query, key and value (repeated for every head under a mask) and its output, which is the output layer's
    input. A gated block: inputs of two norms in fp32 and their outputs; gate, its activation, up, their product. phi:
    one norm, cast for each of four layers under autocast; the tanh form of GELU, computed in steps, half of them in
    fp32.
    """
    value = 2 if shape.mixed else 4
    attention = 4 * value * shape.query
    norms = 4 * (shape.query + shape.key_value) if shape.query_norms else 0
    if shape.gated:
        return 2 * (4 + value) * shape.hidden + norms + attention + 4 * value * shape.feed_forward
    copies = 4 if shape.mixed else 1
    return (4 + copies * value) * shape.hidden + norms + attention + (16 if shape.mixed else 20) * shape.feed_forward
