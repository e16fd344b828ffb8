"""Tiny random models of many architectures: what is trained, judged and served is the model's own forward pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import support
import torch
import transformers
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy

from clinadapt.config.base import Lora
from clinadapt.config.instruct import InstructTraining
from clinadapt.models.base_model import describe
from clinadapt.models.causal_lm import load_causal_lm
from clinadapt.models.causal_loss import Loss
from clinadapt.models.chat_template import Question, load_tokenizer
from clinadapt.models.generator import Generator
from clinadapt.models.merging import merge_causal_lm
from clinadapt.models.prefix_tree import collate
from clinadapt.models.tree_check import tree_fault
from components.train import instruct
from components.train.packing import pack_examples

SMALL: dict[str, Any] = {
    "vocab_size": 600, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1, "initializer_range": 0.3,
}  # fmt: skip
NO_GROUPS = {name: value for name, value in SMALL.items() if name != "num_key_value_heads"}
WINDOW = 24  # tokens, fewer than an example has
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "Llama": ("Llama", SMALL),
    "Mistral with a window": ("Mistral", SMALL | {"sliding_window": WINDOW}),
    "Qwen2": ("Qwen2", SMALL),
    "Qwen2 with windows": ("Qwen2", SMALL | {"use_sliding_window": True, "sliding_window": WINDOW,
                                             "max_window_layers": 1}),
    "Qwen3": ("Qwen3", SMALL | {"head_dim": 16}),
    "Phi-2": ("Phi", SMALL | {"partial_rotary_factor": 0.5, "resid_pdrop": 0.1, "attention_dropout": 0.1}),
    "Phi-3": ("Phi3", SMALL | {"sliding_window": WINDOW}),
    "Gemma 2": ("Gemma2", SMALL | {"head_dim": 16, "sliding_window": WINDOW, "attn_logit_softcapping": 5.0,
                                   "final_logit_softcapping": 3.0}),
    "Gemma 3": ("Gemma3", SMALL | {"head_dim": 16, "sliding_window": WINDOW, "sliding_window_pattern": 2,
                                   "layer_types": ["sliding_attention", "full_attention"]}),
    "Granite": ("Granite", SMALL | {"logits_scaling": 16.0, "residual_multiplier": 0.3, "embedding_multiplier": 3.0}),
    "Cohere": ("Cohere", SMALL | {"logit_scale": 0.25}),
    "Cohere 2": ("Cohere2", SMALL | {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]}),
    "GPT-2": ("GPT2", {"vocab_size": 600, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512,
                       "bos_token_id": 0, "eos_token_id": 1, "initializer_range": 0.3}),
    "GPT-NeoX": ("GPTNeoX", NO_GROUPS | {"attention_dropout": 0.1}),
    "OLMo 2": ("Olmo2", SMALL),
    "SmolLM3": ("SmolLM3", SMALL | {"no_rope_layers": [1, 0]}),
    "Falcon-H1": ("FalconH1", SMALL | {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8,
                                       "mamba_chunk_size": 16, "head_dim": 8}),
    "LFM2": ("Lfm2", SMALL | {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False}),
    "Mixtral": ("Mixtral", SMALL | {"num_local_experts": 4, "router_jitter_noise": 0.1}),
    "Qwen3-MoE": ("Qwen3Moe", SMALL | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}),
    "gpt-oss": ("GptOss", SMALL | {"num_local_experts": 4, "head_dim": 16, "sliding_window": WINDOW,
                                   "layer_types": ["sliding_attention", "full_attention"]}),
}  # fmt: skip
PADDED = {"Falcon-H1": "recurrent", "LFM2": "differ|the loss of a tree"}  # name -> why not packed
QUESTIONS = [
    Question("MEDICATIONS: Aspirin 81 mg daily, lisinopril 10 mg daily.", "List the medications."),
    Question("Knee pain after a fall. X-ray shows no fracture.", "Does the note mention a fracture?"),
    Question("x", "Say what COPD stands for."),
]


@pytest.fixture(scope="module", params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def base(name: str, tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    kind, sizes = MODELS[name]
    folder = tmp_path_factory.mktemp("base")
    config_class = getattr(transformers, f"{kind}TextConfig" if kind == "Gemma3" else f"{kind}Config")
    transformers.AutoModelForCausalLM.from_config(config_class(**sizes)).save_pretrained(folder)
    load_tokenizer(tiny_llama).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def splits(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    asks = ["List the drugs.", "What was done?"]
    return support.instruct_splits(tmp_path_factory.mktemp("matrix"), tiny_llama, 4, asks, 160, characters=120)


@pytest.fixture(scope="module")
def adapter(base: Path, splits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "adapter"
    settings = InstructTraining(
        base_model=base.as_uri(), quantization="none", precision="fp32", max_length=320, num_train_epochs=2,
        learning_rate=0.02, lora=Lora(r=2, lora_alpha=4),
    )  # fmt: skip
    result = instruct.run(splits, folder, settings)
    losses = [entry["validation_loss"] for entry in result["curve"] if "validation_loss" in entry]
    assert all(map(np.isfinite, losses))
    return folder


def own_loss(model: Any, ids: list[int], prompt: int) -> torch.Tensor:
    """Summed loss of an example by nothing but the model's own forward: one row, no padding."""
    logits = model(input_ids=torch.tensor([ids])).logits[0, prompt - 1 : -1]
    return cross_entropy(logits.float(), torch.tensor(ids[prompt:]), reduction="sum")


def test_packed_examples_have_their_own_losses_and_gradients(name: str, base: Path, splits: Path) -> None:
    fault = tree_fault(describe(base.as_uri()))
    assert bool(fault) == (name in PADDED), fault
    if fault:
        assert any(part in fault for part in PADDED[name].split("|")), fault
    model = load_causal_lm(base.as_uri(), "none", "fp32")
    table = pq.read_table(splits / "train.parquet")
    packs = pack_examples(table, 320, not fault)
    embeddings = model.get_input_embeddings().weight.requires_grad_()
    expected = sum(own_loss(model, row["input_ids"], row["prompt_tokens"]) for row in table.to_pylist())
    (expected_gradient,) = torch.autograd.grad(expected, embeddings)
    model.train()
    packed = sum(Loss(model, not fault)(**collate([packs[i]])).sum() for i in range(len(packs)))
    (gradient,) = torch.autograd.grad(packed, embeddings)
    assert packed.item() == pytest.approx(expected.item(), rel=1e-4)
    assert (gradient - expected_gradient).norm() <= 1e-3 * expected_gradient.norm()


def test_what_was_trained_is_judged_and_served(base: Path, adapter: Path, splits: Path) -> None:
    """Losses in evaluation are those of the plain model with its adapter, answers those of the merged model by
    transformers alone, together or one by one."""
    weights = load_file(adapter / "adapter_model.safetensors")
    assert any(tensor.abs().max() > 0 for key, tensor in weights.items() if "lora_B" in key)
    generator = Generator(adapter)
    losses, _ = generator.answer_losses(QUESTIONS, ["Aspirin; lisinopril", "No.", "A lung disease"])
    merged = merge_causal_lm(base.as_uri(), adapter).eval()
    prompts = generator.template.encode_prompts(QUESTIONS, [1000] * 3)
    answers = generator.template.encode_answers(["Aspirin; lisinopril", "No.", "A lung disease"])
    with torch.inference_mode():
        for prompt, answer, loss in zip(prompts, answers, losses, strict=True):
            own = own_loss(merged, prompt.input_ids + answer, len(prompt.input_ids))
            assert loss == pytest.approx(own.item(), rel=1e-3)
        together = generator.answers(QUESTIONS, max_new_tokens=8)
        for prompt, answer in zip(prompts, together, strict=True):
            ids = torch.tensor([prompt.input_ids])
            settings = generator.stopping.generation_config(8)
            served = merged.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings)
            assert generator.stopping.cut(served[0, ids.shape[1] :].tolist())[0] == answer.tokens
