"""A sequence classifier with a LoRA adapter: load it, cut notes into windows, pool their logits, predict.

The only place that turns text into class probabilities: training validates with it, evaluation scores with it, the
command line and the review page answer with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from scipy.special import softmax
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.modeling_outputs import SequenceClassifierOutput

from clinadapt.config.base import Precision, Quantization
from clinadapt.config.classify import POOLED_LAYERS, Pooling, Windows
from clinadapt.errors import UserError
from clinadapt.models.adapter_card import ClassifyCard
from clinadapt.models.base_model import fetch
from clinadapt.models.devices import (
    autocast,
    base_dtype,
    device,
    prepare_frozen_base,
    quantization_config_for,
    resolve_precision,
)
from clinadapt.models.label_sets import label_logits

# Kept in full precision when the base is quantised. As patterns: transformers takes a bare name for the beginning or
# the end of a module's path, and would miss the dense layer in `bert.pooler.dense`.
_HEADS = [rf"(.*\.)?{name}" for name in ("classifier", "score", "pooler")]
_TOKENS_A_BATCH = 8192


@dataclass(frozen=True)
class Prepared:
    """Notes as token windows.

    Attributes:
        windows: per note, its windows as lists of token ids, special tokens included.
        tokens: per note, tokens of the whole note without special tokens, shape (notes,).
        seen: per note, how many of them stand in its windows, shape (notes,).
    """

    windows: list[list[list[int]]]
    tokens: np.ndarray
    seen: np.ndarray

    def unseen_share(self) -> float:
        """Share of all tokens that the model does not see."""
        return float(1 - self.seen.sum() / max(1, self.tokens.sum()))


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a base model or adapter; its pad token is eos where it has none (pooling goes by length)."""
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_base(
    uri: str,
    outputs: Sequence[str],
    quantization: Quantization,
    precision: Precision,
    pooling: Pooling,
    pad: int,
    seed: int,
) -> torch.nn.Module:
    """A base model with an untrained head (drawn from `seed`) for `outputs`; its own dropout is off, as it is frozen.

    Raises:
        UserError: the model cannot be found, or its architecture has no sequence classifier that can pool this way.
    """
    torch.manual_seed(seed)
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            fetch(uri),
            num_labels=len(outputs),
            id2label=dict(enumerate(outputs)),
            label2id={name: i for i, name in enumerate(outputs)},
            pad_token_id=pad,
            dtype=base_dtype(precision),
            # on a CPU SDPA trains faster in fp32 and slower in bf16
            attn_implementation="eager" if precision == "bf16" and not torch.cuda.is_available() else "sdpa",
            use_safetensors=True,
            trust_remote_code=False,
            quantization_config=quantization_config_for(quantization, precision, keep=_HEADS),
            device_map={"": device()},
        )
    except (ValueError, OSError, KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:200]
        raise UserError(f"base model '{uri}' cannot be loaded as a sequence classifier: {reason}") from error
    prepare_frozen_base(model)
    if pooling == "mean":
        _pool_by_mean(model)
    return model


def head_name(model: torch.nn.Module) -> str:
    """What a sequence classifier calls its head."""
    return "score" if hasattr(model, "score") else "classifier"


def _pool_by_mean(model: Any) -> None:
    """Give a sequence classifier a head that reads mean states and has two rows of logits for each window: as a part of
    the note, and as its beginning."""
    name = head_name(model)
    if not isinstance(getattr(model, name, None), torch.nn.Linear):
        raise UserError(f"{type(model).__name__} has no linear head: use pooling 'model'")
    layers = min(POOLED_LAYERS, model.config.num_hidden_layers + 1)
    head = torch.nn.Linear(layers * model.config.hidden_size, 2 * model.config.num_labels, device=model.device)
    torch.nn.init.normal_(head.weight, std=0.02)
    torch.nn.init.zeros_(head.bias)
    setattr(model, name, head)

    def forward(input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: Any) -> SequenceClassifierOutput:
        body = model.base_model(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True)
        mask = attention_mask[:, :, None].float()
        means = [(states.float() * mask).sum(1) / mask.sum(1) for states in body.hidden_states[-layers:]]
        return SequenceClassifierOutput(logits=getattr(model, name)(torch.cat(means, dim=1)))  # peft wraps the head

    model.forward = forward


def prepare(tokenizer: Any, texts: Sequence[str], windows: Windows) -> Prepared:
    """Tokenise notes into windows. A special token that a note spells out is read as plain text."""
    encoded = tokenizer(
        list(texts),
        max_length=windows.max_length,
        truncation=True,
        return_overflowing_tokens=True,
        split_special_tokens=True,
        return_attention_mask=False,
        return_token_type_ids=False,
    )
    extra = tokenizer.num_special_tokens_to_add()
    cut: list[list[list[int]]] = [[] for _ in texts]
    tokens = np.zeros(len(texts), dtype=np.int64)
    seen = np.zeros(len(texts), dtype=np.int64)
    for owner, ids in zip(encoded["overflow_to_sample_mapping"], encoded["input_ids"], strict=True):
        tokens[owner] += len(ids) - extra
        if len(cut[owner]) < windows.max_windows:
            cut[owner].append(ids)
            seen[owner] += len(ids) - extra
    return Prepared(cut, tokens, seen)


def pad_batch(windows: Sequence[Sequence[int]], pad: int) -> dict[str, torch.Tensor]:
    """Right-padded input_ids and attention_mask, shape (windows, longest)."""
    longest = max(map(len, windows))
    ids = torch.full((len(windows), longest), pad)
    mask = torch.zeros_like(ids)
    for row, window in enumerate(windows):
        ids[row, : len(window)] = torch.tensor(window)
        mask[row, : len(window)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def pool(logits: torch.Tensor, owner: torch.Tensor, lengths: torch.Tensor, outputs: int) -> torch.Tensor:
    """Average the logits of each note's windows, weighted by their lengths. Where the head gives two rows of logits,
    the average of the first ones and the second one of the note's first window are added.

    Args:
        logits: (windows, outputs) or (windows, 2 x outputs).
        owner: (windows,), the number of the note that a window belongs to; ascending, from 0.
        lengths: (windows,), in tokens.
        outputs: of a note.

    Returns:
        (notes, outputs) in fp32.
    """
    logits, notes = logits.float(), int(owner[-1]) + 1
    weights = lengths.to(logits.device, torch.float32)
    total = torch.zeros(notes, device=logits.device).index_add(0, owner, weights)
    weighted = logits[:, :outputs] * (weights / total[owner])[:, None]
    mean = torch.zeros(notes, outputs, device=logits.device).index_add(0, owner, weighted)
    if logits.shape[1] == outputs:
        return mean
    return mean + logits[first_windows(owner), outputs:]


def first_windows(owner: torch.Tensor) -> torch.Tensor:
    """Where the first window of each note stands, shape (notes,); `owner` as in `pool`."""
    windows = owner.bincount()
    return windows.cumsum(0) - windows


def predict_logits(model: Any, prepared: Prepared, pad: int, precision: Precision) -> np.ndarray:
    """Pooled logits of every note, shape (notes, outputs)."""
    return pool(*predict_windows(model, prepared, pad, precision), model.config.num_labels).numpy()


def predict_windows(
    model: torch.nn.Module, prepared: Prepared, pad: int, precision: Precision
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the head says of every window, shape (windows, width), with the windows' owners and lengths (see `pool`).
    Windows of like length share a batch; the same notes in the same order give the same bits."""
    model.eval()
    flat = [(window, owner) for owner, cut in enumerate(prepared.windows) for window in cut]
    order = sorted(range(len(flat)), key=lambda i: -len(flat[i][0]))
    logits: list[torch.Tensor] = [torch.empty(0)] * len(flat)
    with torch.inference_mode(), autocast(precision):
        for batch in _batches(order, [len(window) for window, _ in flat]):
            inputs = pad_batch([flat[i][0] for i in batch], pad)
            out = model(**{name: tensor.to(device()) for name, tensor in inputs.items()}).logits
            for i, row in zip(batch, out.float().cpu(), strict=True):
                logits[i] = row
    owner = torch.tensor([owner for _, owner in flat])
    lengths = torch.tensor([len(window) for window, _ in flat])
    return torch.stack(logits), owner, lengths


def _batches(order: list[int], lengths: list[int]) -> Iterator[list[int]]:
    batch: list[int] = []
    for i in order:
        if batch and lengths[batch[0]] * (len(batch) + 1) > _TOKENS_A_BATCH:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


class Classifier:
    """A base model with an adapter, ready to answer."""

    def __init__(self, folder: Path, merged: Path | None = None) -> None:
        """Load the adapter in `folder` (adapter_model.safetensors, clinadapt.json, tokenizer) onto its base model.

        Args:
            folder: of the adapter.
            merged: a model with the adapter in it already, which predicts instead.

        Raises:
            UserError: the base model cannot be had, or is not the one that the adapter was trained on.
        """
        self.card = ClassifyCard.read(folder)
        self.card.check_base()
        self.precision = resolve_precision(self.card.precision)
        self.tokenizer = load_tokenizer(folder)
        base = load_base(
            merged.as_uri() if merged else self.card.base_model,
            self.card.set_names(),
            "none" if merged else self.card.quantization,
            self.precision,
            self.card.pooling,
            self.tokenizer.pad_token_id,
            self.card.seed,
        )
        self.model: Any = base if merged else PeftModel.from_pretrained(base, str(folder))

    def prepare(self, texts: Sequence[str]) -> Prepared:
        """Cut notes into windows, as in training."""
        return prepare(self.tokenizer, texts, self.card.windows)

    def logits(self, prepared: Prepared) -> np.ndarray:
        """Log probabilities of the labels, shape (notes, labels)."""
        over_sets = predict_logits(self.model, prepared, self.tokenizer.pad_token_id, self.precision)
        return label_logits(over_sets, self.card.label_sets, len(self.card.labels))

    def base_logits(self, prepared: Prepared) -> np.ndarray:
        """The same of the base model with its untrained head."""
        with self.model.disable_adapter():
            return self.logits(prepared)

    def probabilities(self, prepared: Prepared) -> np.ndarray:
        """Calibrated probabilities, shape (notes, labels): softmax of the logits over the published temperature."""
        return softmax(self.logits(prepared) / self.card.temperature, axis=1)
