"""Tiny random models of many architectures: a classifier that is trained, published or merged gives the same logits, of
its own forward pass, or preflight refuses it by name."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file
from scipy.special import log_softmax
from transformers import AutoTokenizer

from clinadapt.config.base import Lora
from clinadapt.config.classify import ClassifyTraining, Notes, Split, Windows
from clinadapt.data.tables import read_split
from clinadapt.errors import UserError
from clinadapt.models.base_model import describe
from clinadapt.models.classifier import Classifier
from clinadapt.models.lora_targets import adapted_layers
from clinadapt.models.merging import load_merged, write_merged
from clinadapt.models.meta_check import checked_classifier
from components.download.classify import run as download
from components.format.classify import run as format_notes
from components.train.classify import run as train

SMALL: dict[str, Any] = {
    "vocab_size": 600, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1, "initializer_range": 0.2,
}  # fmt: skip
GROUPS = SMALL | {"num_key_value_heads": 2}
WINDOW = 16  # tokens, fewer than a note has
# name -> (configuration class, class that the base model was trained as, sizes)
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "BERT": ("Bert", "", SMALL),
    "BERT without a pooler": ("Bert", "ForMaskedLM", SMALL),
    "BERT, a classifier of 3 labels": ("Bert", "ForSequenceClassification", SMALL | {"num_labels": 3}),
    "RoBERTa": ("Roberta", "ForMaskedLM", SMALL | {"max_position_embeddings": 66}),
    "DeBERTa": ("DebertaV2", "ForMaskedLM", SMALL | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"],
                                                     "position_buckets": 16, "share_att_key": True}),
    "DistilBERT": ("DistilBert", "ForMaskedLM", {"vocab_size": 600, "dim": 32, "hidden_dim": 48, "n_layers": 2,
                                                 "n_heads": 4, "pad_token_id": 1, "initializer_range": 0.2}),
    "ModernBERT": ("ModernBert", "ForMaskedLM", SMALL | {"local_attention": WINDOW, "cls_token_id": 0,
                                                         "global_attn_every_n_layers": 2}),
    "Llama": ("Llama", "ForCausalLM", GROUPS),
    "Mistral with a window": ("Mistral", "ForCausalLM", GROUPS | {"sliding_window": WINDOW}),
    "Gemma 3": ("Gemma3", "ForCausalLM", GROUPS | {"head_dim": 16, "sliding_window": WINDOW,
                                                   "layer_types": ["sliding_attention", "full_attention"]}),
    "GPT-2": ("GPT2", "ForCausalLM", {"vocab_size": 600, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64,
                                 "bos_token_id": 0, "eos_token_id": 1, "initializer_range": 0.2}),
}  # fmt: skip
# What the base model lacks, beside the output: drawn at random, trained and saved
DRAWN = {"BERT without a pooler": {"bert.pooler"}, "DeBERTa": {"pooler"}, "DistilBERT": {"pre_classifier"}}
# (name, pooling) -> what preflight says
REFUSED = {("RoBERTa", "mean"): "has no linear head: use pooling 'model'"}
CASES = [(name, "model") for name in MODELS] + [
    (name, "mean") for name in ("BERT", "RoBERTa", "DistilBERT", "ModernBERT", "Llama")
]
WORDS = {"Cardiology": "heart valve murmur aorta angina", "Urology": "bladder prostate urine stone catheter"}


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 notes of two or three windows."""
    draw, folder = random.Random(0), tmp_path_factory.mktemp("words")
    with (folder / "notes.csv").open("w", newline="") as file:
        csv.writer(file).writerow(["transcription", "medical_specialty"])
        for i in range(40):
            label, words = list(WORDS.items())[i % 2]
            text = " ".join(draw.choices([*words.split(), "patient", "seen", "today", "plan"], k=18 + i % 20))
            csv.writer(file).writerow([text, label])
    download((folder / "notes.csv").as_uri(), folder / "dataset", Notes())
    format_notes(folder / "dataset", folder / "splits", Split())
    return folder / "splits"


@pytest.fixture(scope="module")
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def base(name: str, tiny_bert: Path, tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    kind, head, sizes = MODELS[name]
    folder = tmp_path_factory.mktemp("base")
    config = getattr(transformers, f"{kind}TextConfig" if kind == "Gemma3" else f"{kind}Config")(**sizes)
    getattr(transformers, f"AutoModel{head}").from_config(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_llama if head == "ForCausalLM" else tiny_bert).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("name", "pooling"), CASES, indirect=["name"])
def test_what_was_trained_is_judged_and_served(
    name: str, base: Path, splits: Path, tmp_path: Path, pooling: str
) -> None:
    """Reloaded and merged it has the same logits, those of each window alone through transformers' own forward pass,
    and LoRA adapts what preflight says."""
    if (name, pooling) in REFUSED:
        with pytest.raises(UserError, match=REFUSED[name, pooling]):
            checked_classifier(describe(base.as_uri()), pooling, 32)
        return
    settings = ClassifyTraining(
        base_model=base.as_uri(), lora=Lora(r=2, lora_alpha=4), precision="fp32", pooling=pooling,
        windows=Windows(max_length=32, max_windows=3), num_train_epochs=2, learning_rate=0.02,
    )  # fmt: skip
    checked, adapter, merged = checked_classifier(describe(base.as_uri()), pooling, 32), tmp_path / "a", tmp_path / "m"
    drawn = {name for name in checked.drawn if name not in ("classifier", "score")}
    assert drawn == (DRAWN.get(name, set()) if pooling == "model" else set())
    curve = train(splits, adapter, settings)["curve"]
    assert all(np.isfinite(entry["validation_loss"]) for entry in curve if "validation_loss" in entry)
    weights = load_file(adapter / "adapter_model.safetensors")
    adapted = {key.split(".", 2)[2].rpartition(".lora_B")[0] for key, weight in weights.items()
               if "lora_B" in key and weight.abs().max() > 0}  # fmt: skip
    assert adapted == set(adapted_layers(checked, settings.lora))
    classifier = Classifier(adapter)
    notes = classifier.tokenize(read_split(splits, "test")["text"].to_pylist())
    logits = classifier.logits(notes)
    classifier.card.model_copy(update={"seed": 7}).write(adapter)  # another device draws other weights
    assert (Classifier(adapter).logits(notes) == logits).all()
    assert max(map(len, notes.windows)) > 1
    assert np.abs(classifier.base_logits(notes) - logits).max() > 1e-3
    merged.mkdir()
    write_merged(adapter, merged)
    assert load_merged(merged, adapter).logits(notes) == pytest.approx(logits, abs=0.02)  # in 16 bits
    if pooling == "model":
        assert alone(merged, notes.windows) == pytest.approx(logits, abs=0.02)


def alone(folder: Path, notes: list[list[list[int]]]) -> np.ndarray:
    """Log probabilities by transformers alone, window by window without padding."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    rows = []
    with torch.inference_mode():
        for windows in notes:
            each = [model(input_ids=torch.tensor([window])).logits[0].numpy() for window in windows]
            rows.append(np.average(each, axis=0, weights=[len(window) for window in windows]))
    return log_softmax(np.array(rows), axis=1)
