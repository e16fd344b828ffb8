"""Merged weights answer as the adapter, also where it adapts an output layer that shares its weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from support import make_adapter
from transformers import AutoConfig, AutoModelForCausalLM

from clinadapt.models.causal_lm import load_causal_lm
from clinadapt.models.chat_template import Question
from clinadapt.models.generator import Generator
from clinadapt.models.merging import load_merged, write_merged

QUESTIONS = [Question("Aspirin 81 mg daily.", "List the drugs.")]


def test_a_tied_output_layer_with_lora(tiny_llama: Path, tmp_path: Path) -> None:
    """Its input embeddings stay as they are."""
    base, adapter, merged = Path(shutil.copytree(tiny_llama, tmp_path / "base")), tmp_path / "adapter", tmp_path / "m"
    config = AutoConfig.from_pretrained(base, tie_word_embeddings=True)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(base)
    make_adapter(adapter, base, seed=1)
    lora = LoraConfig(r=4, target_modules=["q_proj", "lm_head"], task_type="CAUSAL_LM")
    model = get_peft_model(load_causal_lm(base.as_uri(), "none", "fp32"), lora)
    for name, weights in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=1.0)
    model.save_pretrained(adapter)
    merged.mkdir()
    write_merged(adapter, merged)
    (expected, *_), _ = Generator(adapter).answer_losses(QUESTIONS, ["Aspirin"])
    (loss, *_), _ = load_merged(merged, adapter).answer_losses(QUESTIONS, ["Aspirin"])
    (without, *_), _ = Generator(make_adapter(tmp_path / "none", base, seed=1, scale=0)).answer_losses(
        QUESTIONS, ["Aspirin"]
    )
    assert loss == pytest.approx(expected, rel=0.001) and abs(without - expected) > 0.5
