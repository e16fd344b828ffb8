"""The models of the profiles t4-phi2 and a100x4-llama3-8b, small and random but with their module names: every target,
template and type is met here before a GPU is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import support
import torch
from safetensors.torch import load_file

from clinadapt.config.base import Lora
from clinadapt.config.instruct import InstructTraining
from clinadapt.models.base_model import describe
from clinadapt.models.lora_targets import adapted_layers
from components.train import instruct

# of Llama-3-8B-Instruct, shortened: no system message changes its form
LLAMA3_TEMPLATE = (
    "{{- bos_token }}{% for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n"
    "{{ message.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


@pytest.fixture(scope="module")
def tiny_llama3(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Path:
    """Grouped queries, a large base of the rotation, an output layer of its own, end and turn as special tokens, no
    pad token."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny-llama3")
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    turns = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": turns})
    tokenizer.eos_token, tokenizer.chat_template = "<|eot_id|>", LLAMA3_TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=224,
        num_hidden_layers=2,
        num_attention_heads=8,
        num_key_value_heads=2,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("name", "modules", "changes"),
    [
        ("tiny_phi", {"q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"}, {"gradient_checkpointing": "always"}),
        (
            "tiny_llama3",
            {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"},
            {"precision": "bf16"},
        ),
    ],
)
def test_qlora_trains_every_linear_layer(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, modules: set[str], changes: dict[str, Any]
) -> None:
    base = request.getfixturevalue(name)
    splits = support.instruct_splits(tmp_path / "splits", base, 8, ["List the drugs.", "What was done?"], 256)
    options: dict[str, Any] = {"precision": "fp32", **changes}
    settings = InstructTraining(
        base_model=base.as_uri(), max_length=512, num_train_epochs=3, learning_rate=5e-3, gradient_accumulation_steps=2,
        lora=Lora(r=8, lora_alpha=16), **options,
    )  # fmt: skip
    result = instruct.run(splits, tmp_path / "adapter", settings)
    losses = [entry["validation_loss"] for entry in result["curve"] if "validation_loss" in entry]
    assert losses[-1] < losses[0]
    weights = load_file(tmp_path / "adapter/adapter_model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    moved = {key.split(".")[-3] for key, tensor in weights.items() if "lora_B" in key and tensor.abs().max() > 0}
    assert moved == modules
    layers = adapted_layers(describe(base.as_uri()), settings.lora)
    assert result["trainable_parameters"] == 8 * sum(out + into for out, into in layers.values())
