"""Preflight asks the model that training will load: what would fail there is refused here, without a weight read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from clinadapt.config.base import Lora
from clinadapt.errors import UserError
from clinadapt.models.base_model import describe
from clinadapt.models.causal_check import checked_causal_lm
from clinadapt.models.chat_template import load_tokenizer
from clinadapt.models.lora_targets import adapted_layers, body_layers
from clinadapt.models.meta_check import checked_classifier

SIZES = {"vocab_size": 600, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
         "num_attention_heads": 4}  # fmt: skip
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path, tiny_llama: Path) -> Make:
    """Save a small model of an architecture, with a tokenizer whose pad token is `pad`."""

    def build(kind: str, pad: str | None = None, head: str = "CausalLM", **sizes: Any) -> Path:
        torch.manual_seed(0)
        config = getattr(transformers, f"{kind}Config")(**SIZES | sizes)
        getattr(transformers, f"AutoModelFor{head}").from_config(config).save_pretrained(tmp_path / "base")
        tokenizer = load_tokenizer(tiny_llama)
        tokenizer.pad_token = pad
        tokenizer.save_pretrained(tmp_path / "base")
        return tmp_path / "base"

    return build


def test_weights_that_are_missing_are_noticed(make: Make) -> None:
    """Whether an index lists them or not."""
    folder = make("Llama")
    weights = load_file(folder / "model.safetensors")
    first = {name: weight for name, weight in weights.items() if "layers.1." not in name}
    save_file(first, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"lacks 9 of its weights \(model.layers.1.input_layernorm.weight\): fetch"):
        checked_causal_lm(describe(folder.as_uri()), 64)
    index = {"weight_map": {name: "model.safetensors" if name in first else "model-2.safetensors" for name in weights}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"lacks 1 of 2 weight files \(model-2.safetensors\)"):
        describe(folder.as_uri())


def test_weights_of_another_shape_are_noticed(make: Make) -> None:
    folder = make("Llama")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 64}))
    with pytest.raises(UserError, match=r"down_proj|gate_proj|up_proj|size mismatch|mismatch"):
        checked_causal_lm(describe(folder.as_uri()), 64)


def test_the_model_has_the_layers_that_its_class_has(make: Make) -> None:
    base = checked_causal_lm(describe(make("GPT2", num_hidden_layers=1).as_uri()), 64)
    adapted = adapted_layers(base, Lora(target_modules=["c_attn"]))
    assert adapted == {"transformer.h.0.attn.c_attn": [96, 32]}


def test_experts_in_one_tensor_are_no_layers(make: Make) -> None:
    """They stay in 16 bits under nf4, and LoRA cannot adapt them by their name in the files."""
    base = describe(make("Mixtral", num_local_experts=4, num_key_value_heads=2).as_uri())
    assert any("experts" in name for name in body_layers(base))
    checked = checked_causal_lm(base, 64)
    assert not any("experts" in name for name in body_layers(checked))
    with pytest.raises(UserError, match="LoRA target 'w1' matches no module"):
        adapted_layers(checked, Lora(target_modules=["w1"]))


def test_gpt2_has_as_many_positions_as_it_has(make: Make) -> None:
    base = describe(make("GPT2", n_positions=64).as_uri())
    assert checked_causal_lm(base, 64)
    with pytest.raises(UserError, match="max_length is 65 and .* reads 64 tokens at most: set max_length to that"):
        checked_causal_lm(base, 65)


def test_roberta_counts_its_positions_from_the_padding_on(make: Make) -> None:
    base = describe(make("Roberta", "</s>", "MaskedLM", max_position_embeddings=66, pad_token_id=1).as_uri())
    assert checked_classifier(base, "model", 64)
    with pytest.raises(UserError, match=r"windows.max_length is 66 and .* reads 64 tokens at most"):
        checked_classifier(base, "model", 66)
    with pytest.raises(UserError, match="RobertaForSequenceClassification has no linear head: use pooling 'model'"):
        checked_classifier(base, "mean", 64)


def test_a_padding_token_beyond_the_embeddings(make: Make) -> None:
    base = describe(make("Bert", "[PAD]", "MaskedLM").as_uri())
    with pytest.raises(UserError, match="the padding token of the tokenizer is number 600 and the base model has 600"):
        checked_classifier(base, "mean", 64)


@pytest.mark.parametrize(
    ("kind", "sizes"), [("Gemma2", {"head_dim": 16, "num_key_value_heads": 2}), ("Phi3", {"num_key_value_heads": 2})]
)
def test_what_training_can_load_passes(make: Make, kind: str, sizes: dict[str, Any]) -> None:
    assert checked_causal_lm(describe(make(kind, pad_token_id=1, **sizes).as_uri()), 4096).modules


def test_an_architecture_that_needs_its_own_code_is_refused(make: Make) -> None:
    folder = make("Llama")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "new_llm"}))
    with pytest.raises(UserError, match="architecture 'new_llm' is not in transformers"):
        checked_causal_lm(describe(folder.as_uri()), 64)
