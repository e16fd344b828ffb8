"""Tensor names and shapes of a decoder by its config.json, as transformers saves them: without the files themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Tensors = dict[str, tuple[str, list[int]]]


@dataclass(frozen=True)
class _Architecture:
    """What distinguishes a decoder from a Llama.

    Attributes:
        attention_biases: biases on query, key and value.
        query_norms: query and key are normalized per head.
        output_norms: the outputs of attention and feed-forward are normalized too (Gemma).
        fused: query, key and value in one layer, gate and up in another (Phi-3).
    """

    attention_biases: bool = False
    query_norms: bool = False
    output_norms: bool = False
    fused: bool = False


_ARCHITECTURES = {
    "llama": _Architecture(),
    "mistral": _Architecture(),
    "qwen2": _Architecture(attention_biases=True),
    "qwen3": _Architecture(query_norms=True),
    "gemma2": _Architecture(output_norms=True),
    "gemma3_text": _Architecture(query_norms=True, output_norms=True),
    "phi3": _Architecture(fused=True),
}


def decoder_tensors(config: dict[str, Any], dtype: str) -> Tensors:
    """Tensor name -> (dtype, shape) of a model with this config.json, every tensor in `dtype` (safetensors' name).

    Tied embeddings are one tensor. `model_type` is phi, gemma3 (with its vision tower) or one of those above.
    """
    if config["model_type"] == "phi":
        shapes = _phi(config)
    elif config["model_type"] == "gemma3":
        shapes = _gemma3(config)
    else:
        shapes = _decoder(config, "model.")
    return {name: (dtype, shape) for name, shape in shapes.items()}


def _decoder(config: dict[str, Any], prefix: str) -> dict[str, list[int]]:
    architecture = _ARCHITECTURES[config["model_type"]]
    hidden, vocabulary = config["hidden_size"], config["vocab_size"]
    layer = _attention(config, architecture) | _feed_forward(config, architecture)
    norms = ["input_layernorm", "post_attention_layernorm"]
    if architecture.output_norms:
        norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
    layer |= {f"{norm}.weight": [hidden] for norm in norms}
    shapes = _layers(f"{prefix}layers", config["num_hidden_layers"], layer)
    shapes |= {f"{prefix}embed_tokens.weight": [vocabulary, hidden], f"{prefix}norm.weight": [hidden]}
    return shapes if config["tie_word_embeddings"] else shapes | {"lm_head.weight": [vocabulary, hidden]}


def _attention(config: dict[str, Any], architecture: _Architecture) -> dict[str, list[int]]:
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    head = config.get("head_dim") or hidden // heads
    query, key_value = heads * head, config.get("num_key_value_heads", heads) * head
    outputs = {"q_proj": query, "k_proj": key_value, "v_proj": key_value}
    if architecture.fused:
        outputs = {"qkv_proj": query + 2 * key_value}
    shapes = {f"self_attn.{name}.weight": [size, hidden] for name, size in outputs.items()}
    if architecture.attention_biases:
        shapes |= {f"self_attn.{name}.bias": [size] for name, size in outputs.items()}
    if architecture.query_norms:
        shapes |= {f"self_attn.{name}.weight": [head] for name in ("q_norm", "k_norm")}
    return shapes | {"self_attn.o_proj.weight": [hidden, query]}


def _feed_forward(config: dict[str, Any], architecture: _Architecture) -> dict[str, list[int]]:
    hidden, width = config["hidden_size"], config["intermediate_size"]
    inputs = {"gate_up_proj": 2 * width} if architecture.fused else {"gate_proj": width, "up_proj": width}
    shapes = {f"mlp.{name}.weight": [size, hidden] for name, size in inputs.items()}
    return shapes | {"mlp.down_proj.weight": [hidden, width]}


def _phi(config: dict[str, Any]) -> dict[str, list[int]]:
    hidden, width, vocabulary = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    layer = _linear("input_layernorm", [hidden]) | _linear("mlp.fc1", [width, hidden])
    layer |= _linear("mlp.fc2", [hidden, width])
    for name in ("q_proj", "k_proj", "v_proj", "dense"):
        layer |= _linear(f"self_attn.{name}", [hidden, hidden])
    shapes = _layers("model.layers", config["num_hidden_layers"], layer)
    shapes |= {"model.embed_tokens.weight": [vocabulary, hidden]}
    return shapes | _linear("model.final_layernorm", [hidden]) | _linear("lm_head", [vocabulary, hidden])


def _gemma3(config: dict[str, Any]) -> dict[str, list[int]]:
    """The decoder, and the vision tower (SigLIP) that a multimodal Gemma 3 also loads."""
    text = config["text_config"] | {"tie_word_embeddings": True}
    vision = config["vision_config"]
    hidden, width, patch = vision["hidden_size"], vision["intermediate_size"], vision["patch_size"]
    layer = _linear("mlp.fc1", [width, hidden]) | _linear("mlp.fc2", [hidden, width])
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        layer |= _linear(f"self_attn.{name}", [hidden, hidden])
    layer |= _linear("layer_norm1", [hidden]) | _linear("layer_norm2", [hidden])
    tower, projector = "model.vision_tower", "model.multi_modal_projector"
    return {
        **_decoder(text, "model.language_model."),
        **_layers(f"{tower}.encoder.layers", vision["num_hidden_layers"], layer),
        **_linear(f"{tower}.embeddings.patch_embedding", [hidden, 3, patch, patch]),
        f"{tower}.embeddings.position_embedding.weight": [(vision["image_size"] // patch) ** 2, hidden],
        **_linear(f"{tower}.post_layernorm", [hidden]),
        f"{projector}.mm_input_projection_weight": [hidden, text["hidden_size"]],
        f"{projector}.mm_soft_emb_norm.weight": [hidden],
    }


def _linear(name: str, shape: list[int]) -> dict[str, list[int]]:
    """A weight and its bias."""
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def _layers(prefix: str, count: int, layer: dict[str, list[int]]) -> dict[str, list[int]]:
    return {f"{prefix}.{i}.{name}": shape for i in range(count) for name, shape in layer.items()}
