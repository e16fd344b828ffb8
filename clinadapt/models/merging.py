"""An adapter merged into its base model: weights that any program loads without peft."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from clinadapt.models import chat_template
from clinadapt.models.adapter_card import ClassifyCard, InstructCard, adapter_recipe
from clinadapt.models.adapter_weights import load_adapter
from clinadapt.models.base_model import fetch
from clinadapt.models.classifier import Classifier, head_name, load_sequence_classifier, load_tokenizer
from clinadapt.models.devices import prepare_frozen_base
from clinadapt.models.generator import Generator
from clinadapt.models.stopping import Stopping

HEAD = "head.safetensors"  # weight and bias of a mean-pooling head in fp32: no transformers class pools that way
_SHARD = "5GB"


def merge_causal_lm(uri: str, adapter: Path) -> Any:
    """Merge an adapter into the published weights of its base model, on the CPU and in the dtype they came in. Merging
    into the 4-bit weights instead would round the sum once more.

    Args:
        uri: of the base model.
        adapter: folder of the adapter.
    """
    base = AutoModelForCausalLM.from_pretrained(fetch(uri), dtype="auto", use_safetensors=True, trust_remote_code=False)
    prepare_frozen_base(base)
    return _merge(base, adapter)


def write_merged(adapter: Path, output: Path) -> str:
    """Merge a published adapter into its base model; write weights, configuration and tokenizer.

    Args:
        adapter: folder of a published version.
        output: folder to write to. An instruct adapter becomes a causal language model with its chat template and a
            greedy generation config; a classifier becomes a sequence classifier with its outputs named in config.json,
            or with mean pooling the encoder and, beside it, HEAD.

    Returns:
        The dtype of the weights: `float16` or `bfloat16` as the base model has it, else `float16`, as vLLM's
        `--dtype auto` reads such a model.
    """
    if adapter_recipe(adapter) == "instruct":
        card = InstructCard.read(adapter)
        base_model = card.base_model
        tokenizer = chat_template.load_tokenizer(adapter)
        model = merge_causal_lm(base_model, adapter)
        stopping = Stopping.of(model.generation_config, tokenizer, chat_template.Template(tokenizer).end)
        model.generation_config = stopping.generation_config(card.max_new_tokens)
    else:
        classify_card = ClassifyCard.read(adapter)
        base_model = classify_card.base_model
        tokenizer = load_tokenizer(adapter)
        model = _merged_classifier(classify_card, adapter, tokenizer.pad_token_id, output)
    base_dtype = AutoConfig.from_pretrained(fetch(base_model), trust_remote_code=False).dtype
    dtype = base_dtype if base_dtype in (torch.float16, torch.bfloat16) else torch.float16
    model.to("cpu", dtype).save_pretrained(output, max_shard_size=_SHARD)
    tokenizer.save_pretrained(output)
    return str(dtype).removeprefix("torch.")


def load_merged(folder: Path, adapter: Path) -> Generator | Classifier:
    """Load what `write_merged` wrote to `folder`, with the same interface as the adapter."""
    if adapter_recipe(adapter) == "instruct":
        return Generator(adapter, merged=folder)
    classifier = Classifier(adapter, merged=folder)
    if classifier.card.pooling == "mean":
        getattr(classifier.model, head_name(classifier.model)).load_state_dict(load_file(folder / HEAD))
    return classifier


def _merged_classifier(card: ClassifyCard, adapter: Path, pad_token_id: int, output: Path) -> Any:
    """The merged sequence classifier; with mean pooling its encoder, after writing the head to `output`."""
    base = load_sequence_classifier(
        card.base_model, card.set_names(), "none", "fp32", card.pooling, pad_token_id, card.seed
    )
    model = _merge(base, adapter)
    if card.pooling == "model":
        return model
    head = getattr(model, head_name(model)).state_dict()
    save_file({name: weights.cpu().contiguous() for name, weights in head.items()}, output / HEAD)
    return model.base_model


def _merge(base: Any, adapter: Path) -> Any:
    model = load_adapter(base, adapter)
    if isinstance(output := base.get_output_embeddings(), BaseTunerLayer):
        plain = output.get_base_layer()
        plain.weight = torch.nn.Parameter(plain.weight.detach().clone())  # no longer that of the input embeddings
        base.config.tie_word_embeddings = False
    return model.merge_and_unload(progressbar=sys.stderr.isatty())
