"""The memory estimate, held against what torch allocates."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.nn import Params4bit
from transformers import AutoModelForCausalLM, LlamaConfig

from clinadapt.config.base import Lora, Resources
from clinadapt.config.classify import ClassifyTraining, Windows
from clinadapt.errors import UserError
from clinadapt.models.base_model import BaseModel, describe
from clinadapt.models.memory.available import machine_memory
from clinadapt.models.memory.classify import estimate, method
from clinadapt.models.meta_check import checked_classifier
from components.preflight.classify import check_memory
from components.train.classify import load_with_adapter

LABELS = list("abcde")


def settings(base: Path | str, **changes: Any) -> ClassifyTraining:
    uri = base.as_uri() if isinstance(base, Path) else base
    return ClassifyTraining(base_model=uri, precision="fp32", **{"lora": Lora(r=8), **changes})


def size(tensors: Iterable[torch.Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def after_one_step(train: ClassifyTraining) -> tuple[int, int]:
    """Bytes of the frozen weights, and of trained weights, gradients and optimizer after a step of AdamW."""
    base = checked_classifier(describe(train.base_model), train.pooling, train.windows.max_length)
    model = load_with_adapter(base, train, LABELS, "fp32", 1)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained)
    tokens = torch.ones(2, 8, dtype=torch.long)
    model(input_ids=tokens, attention_mask=tokens).logits.sum().backward()
    optimizer.step()
    states = [t for state in optimizer.state.values() for name, t in state.items() if name != "step"]
    gradients = [p.grad for p in trained if p.grad is not None]
    frozen = [p for name, p in model.named_parameters() if not p.requires_grad and "original_module" not in name]
    return size(frozen), size([*trained, *gradients, *states])


@pytest.mark.parametrize("lora", [Lora(r=8), Lora(r=4, target_modules=["q_proj", "v_proj"])])
def test_bytes_of_a_llama(tiny_llama: Path, lora: Lora) -> None:
    train = settings(tiny_llama, lora=lora)
    found = estimate(describe(train.base_model), train, len(LABELS), "cpu")["methods"]["LoRA"]
    assert (found["weights"], found["trained"]) == after_one_step(train)


def test_bytes_of_mean_pooling(tiny_llama: Path) -> None:
    """All but the biases of the head, which the estimate leaves out."""
    train = settings(tiny_llama, pooling="mean")
    found = estimate(describe(train.base_model), train, len(LABELS), "cpu")["methods"]["LoRA"]
    frozen, trained = after_one_step(train)
    assert (found["weights"], found["trained"] + 16 * 2 * len(LABELS)) == (frozen, trained)


def test_bytes_of_a_bert_with_its_pooler(tiny_bert: Path) -> None:
    """All but the biases of pooler and head, which the estimate leaves out; the pooler is kept twice."""
    train = settings(tiny_bert, lora=Lora(r=8, modules_to_save=["pooler"]))
    found = estimate(describe(train.base_model), train, len(LABELS), "cpu")["methods"]["LoRA"]
    frozen, trained = after_one_step(train)
    assert found["trained"] + 16 * (64 + len(LABELS)) == trained
    assert found["weights"] - 4 * (64 * 64 + 64) == frozen


def test_nf4_with_double_quantization() -> None:
    """Bytes a weight of a layer as large as TinyLlama's."""
    weight = Params4bit(torch.randn(2048, 2048), requires_grad=False, quant_type="nf4", compress_statistics=True)
    weight = weight.to("cpu")
    state = weight.quant_state
    constants = [state.absmax, state.state2.absmax]
    assert (size([weight.data]) + size(constants)) / 2048**2 == pytest.approx(0.5159, abs=1e-4)


@pytest.fixture(scope="module")
def tinyllama() -> BaseModel:
    """TinyLlama-1.1B by its configuration, without weights."""
    config = LlamaConfig(
        vocab_size=32000,
        hidden_size=2048,
        intermediate_size=5632,
        num_hidden_layers=22,
        num_attention_heads=32,
        num_key_value_heads=4,
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    tensors = {name: ("BF16", list(p.shape)) for name, p in model.named_parameters()}
    return BaseModel("hf://TinyLlama/TinyLlama-1.1B-Chat-v1.0", "", config.to_dict(), tensors)


def test_tinyllama_on_a_t4(tinyllama: BaseModel) -> None:
    train = settings(
        tinyllama.uri, lora=Lora(r=8, target_modules=["q_proj", "v_proj"]), per_device_train_batch_size=2,
        train_windows=1,
        windows=Windows(max_length=1024), quantization="nf4",
    )  # fmt: skip
    train = train.model_copy(update={"precision": "auto"})
    assert tinyllama.parameters() == 1_100_048_384
    found = estimate(tinyllama, train, labels=5, device="cuda")
    assert found["parameters"] == 1_100_048_384 - 32000 * 2048
    assert found["adapter_parameters"] == 1_126_400 + 5 * 2048
    parts = found["methods"]["QLoRA"]
    quantized = 22 * (2 * 2048 * 2048 + 2 * 2048 * 256 + 3 * 2048 * 5632)
    assert parts["weights"] == pytest.approx(quantized * 0.5159 + (32000 + 45) * 2048 * 2)
    assert all(
        parts["total"] == math.fsum(v for k, v in parts.items() if k != "total") for parts in found["methods"].values()
    )
    totals = {name: parts["total"] / 2**30 for name, parts in found["methods"].items()}
    assert totals["QLoRA"] < totals["LoRA"] < 15 < totals["full"]


def test_what_makes_it_larger(tiny_llama: Path) -> None:
    base = describe(tiny_llama.as_uri())

    def total(**changes: Any) -> float:
        train = settings(tiny_llama, **changes)
        return estimate(base, train, 5, "cpu")["methods"][method(train.quantization)]["total"]

    usual = total()
    assert total(quantization="nf4") < usual
    for change in (
        {"per_device_train_batch_size": 32},
        {"train_windows": 4},
        {"windows": Windows(max_length=512)},
        {"lora": Lora(r=64)},
    ):
        assert total(**change) > usual


def test_what_does_not_fit_is_refused(tiny_llama: Path, tinyllama: BaseModel) -> None:
    gpu = Resources(gpu=1, gpu_memory_gib=15)
    train = settings(tinyllama.uri, windows=Windows(max_length=1024), per_device_train_batch_size=2, train_windows=1)
    check_memory(tinyllama, train, gpu)
    with pytest.raises(
        UserError, match=r"needs about \d+\.\d GiB and there are 15\.0: lower per_device_train_batch_size.* or use nf4"
    ):
        check_memory(tinyllama, train.model_copy(update={"per_device_train_batch_size": 64}), gpu)
    base = describe(tiny_llama.as_uri())
    check_memory(base, settings(tiny_llama), Resources())
    with pytest.raises(UserError, match="lower per_device_train_batch_size"):
        check_memory(base, settings(tiny_llama, per_device_train_batch_size=10**6), Resources())
    assert machine_memory() > 2**30
