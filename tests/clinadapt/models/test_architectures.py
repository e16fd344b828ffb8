"""The base models of the profiles, small: same architecture, same names of modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import LlamaConfig, LlamaForCausalLM, PhiConfig, PhiForCausalLM

from clinadapt.config.base import Lora
from clinadapt.errors import UserError
from clinadapt.models.base_model import describe
from clinadapt.models.causal_lm import load_causal_lm
from clinadapt.models.lora_targets import adapted_layers
from components.train.causal_trainer import add_lora
from pipelines.named_settings import load_profile, profile_names

SMALL: dict[str, Any] = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
MODELS = {
    "t4-phi2": (PhiForCausalLM, PhiConfig(**SMALL, intermediate_size=256, partial_rotary_factor=0.4)),
    "a100x4-llama3-8b": (
        LlamaForCausalLM,
        LlamaConfig(
            **SMALL,
            intermediate_size=192,
            num_key_value_heads=1,
            rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
        ),
    ),
}
LAYERS = {
    "t4-phi2": {"q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"},
    "a100x4-llama3-8b": {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"},
}


@pytest.fixture(scope="module", params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    kind, config = MODELS[name]
    path = tmp_path_factory.mktemp(name)
    kind(config).save_pretrained(path)
    return path


@pytest.mark.parametrize("stage", ["pretrain", "instruct"])
def test_the_layers_that_peft_adapts_are_those_of_the_profile(name: str, folder: Path, stage: str) -> None:
    settings = getattr(load_profile(name), stage)
    if settings is None:
        pytest.skip("the profile has no such stage")
    found = adapted_layers(describe(folder.as_uri()), settings.lora)
    assert {layer.rpartition(".")[2] for layer in found} == LAYERS[name]
    model = add_lora(load_causal_lm(folder.as_uri(), settings.quantization, "fp32"), settings.lora, 0)
    adapted = {
        module_name.removeprefix("base_model.model."): [module.out_features, module.in_features]
        for module_name, module in model.named_modules()
        if isinstance(module, BaseTunerLayer) and module.r
    }
    assert adapted == found


def test_names_of_an_older_phi_are_refused(name: str, folder: Path) -> None:
    with pytest.raises(UserError, match="LoRA target 'Wqkv' matches no module of the base model: it has"):
        adapted_layers(describe(folder.as_uri()), Lora(target_modules=["q_proj", "Wqkv"]))


def test_every_profile_with_a_base_model_of_the_hub_is_here() -> None:
    loaded = {name: load_profile(name) for name in profile_names("instruct")}
    assert {n for n, p in loaded.items() if p.instruct.base_model.startswith("hf://")} == set(MODELS)
