"""An adapter is LoRA in safetensors; whatever else peft would load is refused before it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from clinadapt.errors import UserError
from clinadapt.models.adapter_weights import load_adapter
from clinadapt.models.causal_lm import load_causal_lm


def pickled(folder: Path) -> None:
    weights = folder / "adapter_model.safetensors"
    torch.save(load_file(weights), folder / "adapter_model.bin")
    weights.unlink()


def config(**fields: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (pickled, "has no adapter_model.safetensors: pickled weights are not loaded"),
        (config(peft_type="XLORA", adapters={"0": "hf://someone/else"}), "has no LoRA of the rank"),
        (config(peft_type="PROMPT_TUNING", num_virtual_tokens=4), "has no LoRA of the rank"),
        (config(r=10**6), "has no LoRA of the rank"),
        (config(rank_pattern={"q_proj": 10**6}), "has no LoRA of the rank"),
        (config(r="4"), "has no LoRA of the rank"),
        (config(r=2), "does not fit its base model (RuntimeError)"),
        (config(megatron_config={"a": 1}, megatron_core="os"), "does not fit its base model (ValueError)"),
        (lambda folder: (folder / "adapter_config.json").write_text("[]"), "has no LoRA of the rank"),
        (lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"x" * 99), "not a safetensors file"),
    ],
)
def test_what_is_no_lora_of_its_rank_is_refused(
    change: Callable[[Path], object], reason: str, instruct_adapter: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(instruct_adapter, tmp_path / "adapter"))
    base = load_causal_lm(tiny_llama.as_uri(), "none", "fp32")
    change(folder)
    with pytest.raises(UserError) as refused:
        load_adapter(base, folder)
    assert reason in str(refused.value) and "\n" not in str(refused.value)
