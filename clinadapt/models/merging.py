"""An adapter merged into its base model: weights that any program loads without peft."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

from clinadapt.models import chat_template as template
from clinadapt.models.adapter_card import ClassifyCard, InstructCard, adapter_recipe
from clinadapt.models.base_model import fetch
from clinadapt.models.classifier import Classifier, head_name, load_base, load_tokenizer
from clinadapt.models.devices import prepare_frozen_base
from clinadapt.models.generator import Generator

HEAD = "head.safetensors"  # weight and bias in fp32, where no class of transformers pools as the head was trained
_SHARD = "5GB"


def merge_causal(uri: str, adapter: Path) -> Any:
    """A base model with the adapter in a folder merged into the weights as they were published, never into their 4-bit
    form, which would round the sum once more; in main memory, in the precision that the base model came in."""
    base = AutoModelForCausalLM.from_pretrained(fetch(uri), dtype="auto", use_safetensors=True, trust_remote_code=False)
    prepare_frozen_base(base)
    return _merge(base, adapter)


def write_merged(adapter: Path, output: Path) -> str:
    """Merge a published adapter into its base model; write weights, configuration and tokenizer.

    Args:
        adapter: a published version.
        output: the folder to write to. Of an instruct adapter it holds a causal language model with its chat template
            and a greedy generation config; of a classifier a sequence classifier whose outputs are named in
            config.json, or where its head reads mean states the encoder and, beside it, HEAD.

    Returns:
        What the weights are kept in: the base model's own 16 bits, or `float16` where it has others, as vLLM's
        `--dtype auto` reads such a model.
    """
    if adapter_recipe(adapter) == "instruct":
        card = InstructCard.read(adapter)
        tokenizer = template.load_tokenizer(adapter)
        model = merge_causal(card.base_model, adapter)
        eos = tokenizer.eos_token_id
        model.generation_config = GenerationConfig(
            do_sample=False, max_new_tokens=card.max_new_tokens, eos_token_id=eos, pad_token_id=eos
        )
    else:
        tokenizer = load_tokenizer(adapter)
        model = _merged_classifier(adapter, tokenizer.pad_token_id, output)
    own = AutoConfig.from_pretrained(fetch(_base(adapter)), trust_remote_code=False).dtype
    dtype = own if own in (torch.float16, torch.bfloat16) else torch.float16
    model.to("cpu", dtype).save_pretrained(output, max_shard_size=_SHARD)
    tokenizer.save_pretrained(output)
    return str(dtype).removeprefix("torch.")


def load_merged(folder: Path, adapter: Path) -> Generator | Classifier:
    """What `write_merged` wrote, to be asked as the adapter is."""
    if adapter_recipe(adapter) == "instruct":
        return Generator(adapter, merged=folder)
    classifier = Classifier(adapter, merged=folder)
    if classifier.card.pooling == "mean":
        getattr(classifier.model, head_name(classifier.model)).load_state_dict(load_file(folder / HEAD))
    return classifier


def _merged_classifier(adapter: Path, pad: int, output: Path) -> Any:
    card = ClassifyCard.read(adapter)
    base = load_base(card.base_model, card.set_names(), "none", "fp32", card.pooling, pad, card.seed)
    model = _merge(base, adapter)
    if card.pooling == "model":
        return model
    head = getattr(model, head_name(model)).state_dict()
    save_file({name: weights.cpu().contiguous() for name, weights in head.items()}, output / HEAD)
    return model.base_model


def _merge(base: Any, adapter: Path) -> Any:
    return PeftModel.from_pretrained(base, str(adapter)).merge_and_unload(progressbar=sys.stderr.isatty())


def _base(adapter: Path) -> str:
    return (InstructCard if adapter_recipe(adapter) == "instruct" else ClassifyCard).read(adapter).base_model
