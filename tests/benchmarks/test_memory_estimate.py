"""The memory estimate beside the peak that CUDA tells, for eight settings of random models; prints the error.

make bench, or: python -m pytest tests/benchmarks/test_memory_estimate.py --benchmarks -s
Needs a GPU of 16 GB or more, and no model hub: phi-2 and a Llama of 1.1 billion parameters get random weights here.
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bitsandbytes.optim import AdamW32bit
from transformers import AutoModelForCausalLM, LlamaConfig, PhiConfig

from clinadapt.config.base import Lora
from clinadapt.config.instruct import InstructTraining
from clinadapt.models.base_model import describe
from clinadapt.models.causal_lm import load_causal_lm
from clinadapt.models.causal_loss import Loss
from clinadapt.models.devices import autocast, resolve_precision
from clinadapt.models.memory.instruct import estimate, method
from clinadapt.models.memory.sizes import CONTEXT
from clinadapt.models.prefix_tree import Segment, build_pack, collate
from components.train.causal_trainer import add_lora

MODELS = {
    "phi-2": PhiConfig(
        vocab_size=51200, hidden_size=2560, intermediate_size=10240, num_hidden_layers=32, num_attention_heads=32
    ),
    "llama-1b": LlamaConfig(
        vocab_size=32000, hidden_size=2048, intermediate_size=5632, num_hidden_layers=22, num_attention_heads=32,
        num_key_value_heads=4,
    ),
}  # fmt: skip
# (model, quantization, rank, batch, length, gradient_checkpointing)
SETTINGS = [
    ("phi-2", "nf4", 4, 2, 512, "always"),
    ("phi-2", "nf4", 16, 2, 1024, "always"),
    ("phi-2", "nf4", 16, 1, 512, "never"),
    ("phi-2", "none", 16, 1, 1024, "always"),
    ("llama-1b", "nf4", 16, 4, 1024, "always"),
    ("llama-1b", "nf4", 16, 2, 1024, "never"),
    ("llama-1b", "none", 16, 2, 1024, "never"),
    ("llama-1b", "none", 64, 8, 512, "always"),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The models with random weights, in 16 bits."""
    made = {}
    for name, config in MODELS.items():
        made[name] = tmp_path_factory.mktemp(name)
        with torch.device("cuda"):
            model = AutoModelForCausalLM.from_config(config, dtype=torch.float16)
        model.save_pretrained(made[name])
        del model
    return made


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_memory_estimate(folders: dict[str, Path]) -> None:
    print(f"\n{torch.cuda.get_device_name()}; GiB without context")
    print("model     method  rank  batch x length  activations  estimate  measured  error")
    errors = []
    for name, quantization, rank, batch, length, checkpoint in SETTINGS:
        settings = InstructTraining(
            base_model=folders[name].as_uri(), quantization=quantization, lora=Lora(r=rank),
            per_device_train_batch_size=batch,
            max_length=length, gradient_checkpointing=checkpoint,
        )  # fmt: skip
        have = torch.cuda.get_device_properties(0).total_memory
        found = estimate(describe(settings.base_model), settings, have, "cuda")["methods"][method(settings)]
        expected, measured = found["total"] - CONTEXT["cuda"], peak(settings)
        errors.append(expected / measured - 1)
        print(f"{name:9} {method(settings):6} {rank:5} {batch:6} x {length:<8} {checkpoint:11} "
              f"{expected / 2**30:9.2f} {measured / 2**30:9.2f} {errors[-1]:+7.1%}")  # fmt: skip
    print(f"mean of the absolute error {np.mean(np.abs(errors)):.1%}, worst {max(map(abs, errors)):.1%}")
    assert max(map(abs, errors)) < 0.3


def peak(settings: InstructTraining) -> int:
    """Bytes that torch has allocated at most in two steps of training on full packs, each one long answer. The
    optimizer is the unpaged one, for torch does not count pages."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    precision = resolve_precision("auto")
    model = add_lora(load_causal_lm(settings.base_model, settings.quantization, precision), settings.lora, 0)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.data = parameter.data.float()
    if settings.gradient_checkpointing == "always":
        model.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})
    loss, optimizer = Loss(model).train(), AdamW32bit(trained)
    for _ in range(2):
        batch = _batch(settings)
        with autocast(precision):
            value = loss(**batch).mean()
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
    return torch.cuda.max_memory_allocated() - before


def _batch(settings: InstructTraining) -> dict[str, Any]:
    pack = build_pack([Segment(np.arange(settings.max_length) % 1000, 1)])
    return {name: tensor.cuda() for name, tensor in collate([pack] * settings.per_device_train_batch_size).items()}
