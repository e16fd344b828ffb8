"""The memory estimate of causal language models, held against what torch allocates."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PhiConfig,
    Qwen2Config,
    Qwen3Config,
)

from clinadapt.config.base import Lora
from clinadapt.config.instruct import InstructTraining, Pretraining
from clinadapt.config.instruct import Llama as Small
from clinadapt.models.base_model import BaseModel, _read_config, describe, read_header
from clinadapt.models.builtin_llama import describe_builtin_llama, training_stages
from clinadapt.models.causal_lm import load_causal_lm
from clinadapt.models.causal_loss import Loss
from clinadapt.models.memory.instruct import (
    METHODS,
    checkpointing_needed,
    estimate,
    method,
    rule_of_thumb,
    suggest_smaller_settings,
    weights_on_disk,
)
from components.train.causal_trainer import add_lora
from pipelines.named_settings import load_profile

SMALL: dict[str, Any] = {
    "vocab_size": 600, "hidden_size": 64, "intermediate_size": 144, "num_hidden_layers": 2, "num_attention_heads": 4,
}  # fmt: skip
CONFIGS = {
    "phi": PhiConfig(**SMALL),
    "llama": LlamaConfig(**SMALL, num_key_value_heads=2),
    "mistral": MistralConfig(**SMALL, num_key_value_heads=2),
    "qwen2": Qwen2Config(**SMALL, num_key_value_heads=2, tie_word_embeddings=True),
    "qwen3": Qwen3Config(**SMALL, num_key_value_heads=2, head_dim=32),
    "phi3": Phi3Config(**SMALL, num_key_value_heads=2, pad_token_id=0),
    "gemma3": Gemma3TextConfig(**SMALL, num_key_value_heads=2, head_dim=32),
}
# As their config.json on the hub have it
PHI_2 = PhiConfig(
    vocab_size=51200, hidden_size=2560, intermediate_size=10240, num_hidden_layers=32, num_attention_heads=32,
)  # fmt: skip
LLAMA_3_8B = LlamaConfig(
    vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
    num_key_value_heads=8,
)  # fmt: skip
T4, A100 = 15 * 2**30, 80 * 2**30


@pytest.fixture(scope="module", params=CONFIGS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with random weights."""
    path = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(CONFIGS[request.param]).save_pretrained(path)
    return path


def without_weights(config: Any, folder: Path) -> str:
    """The URI of a model whose safetensors file has a true header and nothing but a hole behind it."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    header, end = {}, 0
    for name, parameter in model.named_parameters():
        begin, end = end, end + 2 * parameter.numel()
        header[name] = {"dtype": "F16", "shape": list(parameter.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    os.truncate(path, 8 + len(text) + end)
    config.save_pretrained(folder)
    return folder.as_uri()


def of_full_size(config: Any, folder: Path) -> BaseModel:
    """The same as `describe` has it, without the digest of a hole of gigabytes."""
    uri = without_weights(config, folder)
    return BaseModel(uri, "", _read_config(folder / "config.json", uri), read_header(folder / "model.safetensors"))


@pytest.fixture(scope="module")
def phi_2(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return of_full_size(PHI_2, tmp_path_factory.mktemp("phi-2"))


@pytest.fixture(scope="module")
def llama_3(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return of_full_size(LLAMA_3_8B, tmp_path_factory.mktemp("llama-3"))


def size(tensors: Iterable[torch.Tensor]) -> int:
    """Bytes of tensors, each counted once."""
    return sum({t.data_ptr(): t.nbytes for t in tensors}.values())


def quantization(model: torch.nn.Module) -> list[torch.Tensor]:
    """What bitsandbytes keeps beside the 4-bit weights."""
    states = [p.quant_state for p in model.parameters() if getattr(p, "quant_state", None) is not None]
    return [t for s in states for t in (s.absmax, s.code, s.offset, s.state2.absmax, s.state2.code)]


def after_one_step(model: torch.nn.Module) -> dict[str, int]:
    trained = [p for p in model.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.data = parameter.data.float()
    optimizer = torch.optim.AdamW(trained)
    model(input_ids=torch.ones(1, 8, dtype=torch.long)).logits.sum().backward()
    optimizer.step()
    lora = [p for name, p in model.named_parameters() if "lora_" in name]
    rest = [p for name, p in model.named_parameters() if "lora_" not in name]
    moments = [t for state in optimizer.state.values() for name, t in state.items() if name != "step"]
    return {
        "weights": size([*rest, *quantization(model)]),
        "LoRA": size(lora),
        "gradients": size(p.grad for p in trained if p.grad is not None),
        "optimizer": size(moments),
    }


COUNTED = ("weights", "LoRA", "gradients", "optimizer")


@pytest.fixture
def in_nf4(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights stay in nf4, as on a GPU."""
    monkeypatch.setattr("clinadapt.models.causal_lm.dequantize", lambda *_: None)


def test_a_small_base_in_nf4_is_held_dequantized_on_a_cpu(folder: Path) -> None:
    settings = InstructTraining(base_model=folder.as_uri(), precision="fp32", max_length=64)
    model = add_lora(load_causal_lm(settings.base_model, "nf4", "fp32"), settings.lora, 0)
    assert not quantization(model)
    found = estimate(describe(settings.base_model), settings, 2**40, "cpu")["methods"]["QLoRA"]
    assert {part: found[part] for part in COUNTED} == after_one_step(model)


def test_a_large_base_stays_in_nf4_on_a_cpu(phi_2: BaseModel) -> None:
    settings = load_profile("t4-phi2").instruct.model_copy(update={"precision": "fp32"})
    weights = [estimate(phi_2, settings, T4, device)["methods"]["QLoRA"]["weights"] for device in ("cpu", "cuda")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.usefixtures("in_nf4")
def test_the_counted_bytes_are_those_that_torch_allocates(folder: Path, name: str) -> None:
    uri = folder.as_uri()
    settings = InstructTraining(base_model=uri, lora=Lora(r=8), precision="fp32", max_length=64)
    model = load_causal_lm(uri, "nf4" if name == "QLoRA" else "none", "fp32")
    model = model.requires_grad_(True) if name == "full" else add_lora(model, settings.lora, 0)
    found = estimate(describe(uri), settings, 2**40, "cuda")["methods"][name]
    assert {part: found[part] for part in COUNTED} == after_one_step(model)


@pytest.mark.usefixtures("in_nf4")
def test_lora_on_some_layers(folder: Path) -> None:
    fused = "phi3" in folder.name
    lora = Lora(r=4, target_modules=["qkv_proj", "o_proj"] if fused else ["q_proj", "v_proj"])
    settings = InstructTraining(base_model=folder.as_uri(), lora=lora, precision="fp32", max_length=64)
    model = add_lora(load_causal_lm(settings.base_model, "nf4", "fp32"), settings.lora, 0)
    found = estimate(describe(settings.base_model), settings, 2**40, "cuda")
    assert found["adapter_parameters"] == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert {part: found["methods"]["QLoRA"][part] for part in COUNTED} == after_one_step(model)


def saved_by_autograd(model: torch.nn.Module, tokens: int) -> int:
    """Bytes that autograd keeps for the backward pass of the decoder, without parameters."""
    parameters = {p.data_ptr() for p in model.parameters()} | {t.data_ptr() for t in quantization(model)}
    saved: dict[int, int] = {}

    def save(tensor: torch.Tensor) -> torch.Tensor:
        if (storage := tensor.untyped_storage()).data_ptr() not in parameters:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    ends = torch.full((1, tokens), tokens)
    batch = {"input_ids": torch.ones(1, tokens, dtype=torch.long), "position_ids": torch.arange(tokens)[None]}
    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        loss = Loss(model)(**batch, subtree_ends=ends, predicting_positions=torch.tensor([0]), labels=torch.tensor([1]))
    loss.backward()
    return sum(saved.values())


@pytest.mark.usefixtures("in_nf4")
def test_activations_are_what_autograd_saves(folder: Path) -> None:
    """And room for the gradients that pass through one layer."""
    settings = InstructTraining(
        base_model=folder.as_uri(), lora=Lora(r=1), precision="fp32", max_length=256, gradient_checkpointing="never"
    )
    model = add_lora(load_causal_lm(settings.base_model, "nf4", "fp32"), settings.lora, 0).train()
    found = saved_by_autograd(model, settings.max_length)
    parts = estimate(describe(settings.base_model), settings, 2**40, "cuda")["methods"]["QLoRA"]
    assert found <= parts["activations"] <= 1.15 * found


def test_phi_2_of_full_size(phi_2: BaseModel) -> None:
    """Its 2.78 billion parameters on a T4: 4-bit weights and adapter counted by hand, activations recomputed."""
    settings = load_profile("t4-phi2").instruct
    found = estimate(phi_2, settings, T4, "cuda")
    assert found["parameters"] == 2_779_683_840
    assert found["adapter_parameters"] == 32 * 16 * (4 * 2 * 2560 + 2 * (2560 + 10240))
    layers = 32 * [*4 * [2560 * 2560], *2 * [2560 * 10240]]
    constants = sum(n // 64 + 4 * (n // 64 // 256) + 1092 for n in layers)
    assert found["methods"]["QLoRA"]["weights"] == sum(layers) / 2 + constants + 2 * (2_779_683_840 - sum(layers))
    totals = {name: parts["total"] / 2**30 for name, parts in found["methods"].items()}
    assert totals["QLoRA"] < totals["LoRA"] < 15 < totals["full"]
    assert found["checkpointed"]["QLoRA"]
    assert checkpointing_needed(phi_2, settings, T4, "cuda")
    assert not checkpointing_needed(phi_2, settings, A100, "cuda")


def test_llama_3_8b_of_full_size(llama_3: BaseModel) -> None:
    profile = load_profile("a100x4-llama3-8b")
    assert llama_3.parameters() == 8_030_261_248
    for settings in (profile.pretrain, profile.instruct):
        found = estimate(llama_3, settings, A100, "cuda", 4)["methods"]
        assert found[method(settings)]["total"] < 0.9 * A100 < found["full"]["total"]
    assert found["LoRA"]["gradients"] == 2 * 4 * 16 * 32 * (2 * 8192 + 2 * 5120 + 3 * 18432)


def test_parts_add_up_to_the_total(llama_3: BaseModel) -> None:
    methods = estimate(llama_3, load_profile("a100x4-llama3-8b").instruct, A100, "cuda")["methods"]
    assert set(methods) == set(METHODS)
    for parts in methods.values():
        assert parts["total"] == sum(value for name, value in parts.items() if name != "total")


@pytest.mark.parametrize("name", ["per_device_train_batch_size", "max_length", "rank"])
def test_what_is_advised_fits_and_the_next_larger_does_not(phi_2: BaseModel, name: str) -> None:
    settings = load_profile("t4-phi2").instruct.model_copy(
        update={
            "per_device_train_batch_size": 32,
            "max_length": 2048,
            "lora": Lora(r=256),
            "gradient_checkpointing": "always",
        }
    )
    have = 12 * 2**30

    def total(value: int) -> float:
        change = {"lora": Lora(r=value)} if name == "rank" else {name: value}
        return estimate(phi_2, settings.model_copy(update=change), have, "cuda")["methods"]["QLoRA"]["total"]

    advice = suggest_smaller_settings(phi_2, settings, have, "cuda")
    assert advice.startswith("fits with per_device_train_batch_size ")
    values = dict(way.removeprefix("or ").rsplit(" ", 1) for way in advice.removeprefix("fits with ").split(", "))
    if name == "rank":
        assert "rank" not in values and total(1) > have
    else:
        value = int(values[name])
        assert total(value) <= have < total(value + (64 if name == "max_length" else 1))


def test_a_rank_is_advised_where_it_helps(phi_2: BaseModel) -> None:
    settings = load_profile("t4-phi2").instruct.model_copy(
        update={"per_device_train_batch_size": 1, "max_length": 64, "lora": Lora(r=4096)}
    )
    advice = suggest_smaller_settings(phi_2, settings, T4, "cuda")
    rank = int(advice.removeprefix("fits with rank "))
    fitting, larger = (
        estimate(phi_2, settings.model_copy(update={"lora": Lora(r=r)}), T4, "cuda")["methods"]["QLoRA"]["total"]
        for r in (rank, rank + 1)
    )
    assert fitting <= T4 < larger


@pytest.mark.parametrize(
    ("change", "gib", "message"),
    [
        (
            {"per_device_train_batch_size": 64, "max_length": 8192},
            4,
            "fits with per_device_train_batch_size 1, rank 1 and max_length ",
        ),
        ({}, 1, "fits in no batch, length or rank: use a smaller base model or a larger GPU"),
        ({"quantization": "none"}, 1, "fits in no batch, length or rank: use nf4"),
    ],
)
def test_where_one_change_is_not_enough(phi_2: BaseModel, change: dict[str, Any], gib: int, message: str) -> None:
    settings = load_profile("t4-phi2").instruct.model_copy(update=change)
    assert suggest_smaller_settings(phi_2, settings, gib * 2**30, "cuda").startswith(message)


def test_the_rule_of_thumb_of_the_slides() -> None:
    assert rule_of_thumb(10**9) == (6e9, 16e9)


def test_the_llama_that_pretrain_makes() -> None:
    shape = Small(
        vocab_size=600, hidden_size=64, intermediate_size=144, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(LlamaConfig(**SMALL, num_key_value_heads=2, tie_word_embeddings=True))
    tensors = {name: list(p.shape) for name, p in model.named_parameters()}
    assert {name: size for name, (_, size) in describe_builtin_llama(shape).tensors.items()} == tensors
    instruct = InstructTraining(base_model="builtin://llama")
    assert {name: method(stage) for name, stage in training_stages(instruct, Pretraining(llama=shape)).items()} == {
        "pretrain": "full", "instruct": "QLoRA",
    }  # fmt: skip
    assert (
        describe_builtin_llama(shape).digest
        != describe_builtin_llama(shape.model_copy(update={"num_attention_heads": 2})).digest
    )


def test_weights_on_disk(phi_2: BaseModel, tiny_llama: Path) -> None:
    assert weights_on_disk(phi_2) == 2 * phi_2.parameters()
    assert weights_on_disk(describe(tiny_llama.as_uri())) == 4 * describe(tiny_llama.as_uri()).parameters()


@pytest.mark.parametrize("folder", ["phi"], indirect=True)
def test_the_command_says_whether_it_fits(clinadapt: Any, folder: Path) -> None:
    done = clinadapt("estimate", "-p", "t4-phi2", "--base-model", str(folder), "--json")
    assert done.returncode == 0, done.stderr
    estimate = json.loads(done.stdout)
    assert estimate["stages"]["instruct"]["fits"] and estimate["available_bytes"] == T4
    assert "rule of thumb" in done.stderr and "QLoRA, batch 2 x 1024 tokens, rank 16" in done.stderr


@pytest.mark.parametrize("folder", ["phi"], indirect=True)
def test_the_command_says_what_would_fit(clinadapt: Any, folder: Path, tmp_path: Path) -> None:
    profile = load_profile("t4-phi2").model_dump()
    profile["instruct"] |= {"base_model": folder.as_uri(), "max_length": 2**16}
    path = tmp_path / "long.yaml"
    path.write_text(json.dumps(profile))
    done = clinadapt("estimate", "-p", str(path), "--json")
    estimate = json.loads(done.stdout)["stages"]["instruct"]
    assert not estimate["fits"] and "length" in estimate["advice"] and estimate["advice"] in done.stderr
