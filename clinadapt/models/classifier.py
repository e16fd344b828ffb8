"""A sequence classifier with a LoRA adapter: load it, cut notes into windows, pool their logits, predict.

All code that turns text into class probabilities is here: training validates with it, evaluation scores with it, the
command line and the review page predict with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import softmax
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.modeling_outputs import SequenceClassifierOutput

from clinadapt.config.base import Precision, Quantization
from clinadapt.config.classify import POOLED_LAYERS, Pooling, Windows
from clinadapt.errors import UserError
from clinadapt.models.adapter_card import ClassifyCard
from clinadapt.models.adapter_weights import load_adapter
from clinadapt.models.base_model import fetch
from clinadapt.models.devices import (
    autocast,
    base_dtype,
    device,
    prepare_frozen_base,
    quantization_config,
    resolve_precision,
)
from clinadapt.models.label_sets import label_logits
from clinadapt.models.lora_targets import HEADS

# Modules that stay in full precision when the base is quantized. As patterns: transformers matches a bare name with the
# beginning or the end of a module's path, and would miss the dense layer in `bert.pooler.dense`.
_UNQUANTISED = [rf"(.*\.)?{name}" for name in sorted(HEADS)]
_TOKENS_PER_BATCH = 8192  # of windows in a forward pass, padding included


@dataclass(frozen=True)
class TokenizedNotes:
    """Notes as token windows.

    Attributes:
        windows: for each note, its windows as lists of token ids, special tokens included.
        token_counts: (notes,), tokens of each complete note, special tokens excluded.
        seen_token_counts: (notes,), how many of them are in the note's windows.
    """

    windows: list[list[list[int]]]
    token_counts: np.ndarray
    seen_token_counts: np.ndarray

    def unseen_token_share(self) -> float:
        """Share of the tokens of all notes that the model does not see, from 0 to 1."""
        return float(1 - self.seen_token_counts.sum() / max(1, self.token_counts.sum()))


def load_tokenizer(folder: Path) -> Any:
    """Load the tokenizer of a base model or adapter; if it has no pad token, eos is used (pooling goes by length)."""
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_sequence_classifier(
    uri: str,
    output_names: Sequence[str],
    quantization: Quantization,
    precision: Precision,
    pooling: Pooling,
    pad_token_id: int,
    seed: int,
) -> torch.nn.Module:
    """Load a frozen base model, its dropout off, with an untrained head. What the base model lacks (`BaseModel.drawn`)
    is drawn from the seed, differently on each kind of device: an adapter has to bring it along.

    Args:
        uri: of the base model.
        output_names: names of the head's outputs, in order.
        quantization: `nf4` for QLoRA, else `none`.
        precision: of the computation, resolved (not `auto`).
        pooling: what the head reads (see `clinadapt.config.classify.ClassifyTraining`).
        pad_token_id: of the tokenizer.
        seed: that the head is drawn from.

    Raises:
        UserError: the model is not found, or its architecture has no sequence classifier that can pool this way.
    """
    torch.manual_seed(seed)
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            fetch(uri),
            id2label=dict(enumerate(output_names)),
            label2id={name: i for i, name in enumerate(output_names)},
            pad_token_id=pad_token_id,
            ignore_mismatched_sizes=True,  # of a head for other labels; preflight has compared the rest
            dtype=base_dtype(precision),
            # on a CPU SDPA trains faster in fp32 and slower in bf16
            attn_implementation="eager" if precision == "bf16" and not torch.cuda.is_available() else None,
            use_safetensors=True,
            trust_remote_code=False,
            quantization_config=quantization_config(quantization, precision, skip_modules=_UNQUANTISED),
            device_map={"": device()},
        )
    except (ValueError, OSError, KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:200]
        raise UserError(f"base model '{uri}' cannot be loaded as a sequence classifier: {reason}") from error
    prepare_frozen_base(model)
    if pooling == "mean":
        _use_mean_pooling(model)
    return model


def head_name(model: torch.nn.Module) -> str:
    """The name of a sequence classifier's head: `score` in decoders, else `classifier`."""
    return "score" if hasattr(model, "score") else "classifier"


def check_linear_head(model: torch.nn.Module) -> None:
    """Raises UserError where a sequence classifier has no linear head, which mean pooling replaces."""
    if not isinstance(getattr(model, head_name(model), None), torch.nn.Linear):
        raise UserError(f"{type(model).__name__} has no linear head: use pooling 'model'")


def _use_mean_pooling(model: Any) -> None:
    """Replace the head and the forward pass of a sequence classifier.

    The new head reads the mean over a window's tokens of each of the last POOLED_LAYERS layers, side by side: shape
    (windows, layers x hidden). It gives two groups of logits, shape (windows, 2 x outputs): for the window as part of
    its note, and for the window as the note's first (see `pool`).
    """
    check_linear_head(model)
    name = head_name(model)
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


def tokenize_notes(tokenizer: Any, texts: Sequence[str], windows: Windows) -> TokenizedNotes:
    """Cut notes into windows of tokens. A special token that a note spells out is read as plain text."""
    encoded = tokenizer(
        list(texts),
        max_length=windows.max_length,
        truncation=True,
        return_overflowing_tokens=True,
        split_special_tokens=True,
        return_attention_mask=False,
        return_token_type_ids=False,
    )
    special_tokens = tokenizer.num_special_tokens_to_add()
    by_note: list[list[list[int]]] = [[] for _ in texts]
    token_counts = np.zeros(len(texts), dtype=np.int64)
    seen_token_counts = np.zeros(len(texts), dtype=np.int64)
    for note, ids in zip(encoded["overflow_to_sample_mapping"], encoded["input_ids"], strict=True):
        token_counts[note] += len(ids) - special_tokens
        if len(by_note[note]) < windows.max_windows:
            by_note[note].append(ids)
            seen_token_counts[note] += len(ids) - special_tokens
    return TokenizedNotes(by_note, token_counts, seen_token_counts)


def pad_batch(windows: Sequence[Sequence[int]], pad_token_id: int) -> dict[str, torch.Tensor]:
    """Pad windows on the right.

    Returns:
        `input_ids` and `attention_mask`, both of shape (windows, longest).
    """
    longest = max(map(len, windows))
    ids = torch.full((len(windows), longest), pad_token_id)
    mask = torch.zeros_like(ids)
    for row, window in enumerate(windows):
        ids[row, : len(window)] = torch.tensor(window)
        mask[row, : len(window)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def pool(logits: torch.Tensor, note_index: torch.Tensor, lengths: torch.Tensor, outputs: int) -> torch.Tensor:
    """Average the logits of each note's windows, weighted by length. Where the head gives two groups of logits, the
    average of the first group is added to the second group of the note's first window.

    Args:
        logits: (windows, outputs) or (windows, 2 x outputs).
        note_index: (windows,), the note that each window belongs to; ascending from 0.
        lengths: (windows,), in tokens.
        outputs: number of outputs for a note.

    Returns:
        (notes, outputs) in fp32.
    """
    logits, notes = logits.float(), int(note_index[-1]) + 1
    weights = lengths.to(logits.device, torch.float32)
    total = torch.zeros(notes, device=logits.device).index_add(0, note_index, weights)
    weighted = logits[:, :outputs] * (weights / total[note_index])[:, None]
    mean = torch.zeros(notes, outputs, device=logits.device).index_add(0, note_index, weighted)
    if logits.shape[1] == outputs:
        return mean
    return mean + logits[first_windows(note_index), outputs:]


def first_windows(note_index: torch.Tensor) -> torch.Tensor:
    """The index of each note's first window, shape (notes,).

    Args:
        note_index: (windows,), as in `pool`.
    """
    windows = note_index.bincount()
    return windows.cumsum(0) - windows


def predict_logits(model: Any, notes: TokenizedNotes, pad_token_id: int, precision: Precision) -> np.ndarray:
    """Pooled logits, shape (notes, outputs)."""
    return pool(*predict_windows(model, notes, pad_token_id, precision), model.config.num_labels).numpy()


def predict_windows(
    model: torch.nn.Module, notes: TokenizedNotes, pad_token_id: int, precision: Precision
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Run the model on every window. Windows of similar length share a batch; the same notes in the same order give
    the same bits.

    Returns:
        (what the head returns, shape (windows, width); note_index, shape (windows,); lengths, shape (windows,)), on the
        CPU, as `pool` takes them.
    """
    model.eval()
    windows = [window for note in notes.windows for window in note]
    lengths = [len(window) for window in windows]
    rows: list[torch.Tensor] = [torch.empty(0)] * len(windows)
    with torch.inference_mode(), autocast(precision):
        for batch in _batches(lengths):
            inputs = pad_batch([windows[i] for i in batch], pad_token_id)
            logits = model(**{name: tensor.to(device()) for name, tensor in inputs.items()}).logits
            for i, row in zip(batch, logits.float().cpu(), strict=True):
                rows[i] = row
    note_index = torch.tensor([i for i, note in enumerate(notes.windows) for _ in note])
    return torch.stack(rows), note_index, torch.tensor(lengths)


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices of windows, longest first, in batches of at most _TOKENS_PER_BATCH padded tokens (or one window)."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and lengths[batch[0]] * (len(batch) + 1) > _TOKENS_PER_BATCH:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


class Classifier:
    """A base model with a classify adapter, ready to predict.

    Attributes:
        card: the adapter's ClassifyCard.
        model: the peft model, or the merged model.
    """

    def __init__(self, folder: Path, merged: Path | None = None) -> None:
        """Load the adapter in `folder` (adapter_model.safetensors, clinadapt.json, tokenizer) onto its base model.

        Args:
            folder: of the adapter.
            merged: folder of a model with the adapter already merged, to predict with instead.

        Raises:
            UserError: the base model is not available, or is not the one that the adapter was trained on.
        """
        self.card = ClassifyCard.read(folder)
        self.card.check_base()
        self.precision = resolve_precision(self.card.precision)
        self.tokenizer = load_tokenizer(folder)
        base = load_sequence_classifier(
            merged.as_uri() if merged else self.card.base_model,
            self.card.set_names(),
            "none" if merged else self.card.quantization,
            self.precision,
            self.card.pooling,
            self.tokenizer.pad_token_id,
            self.card.seed,
        )
        self.model: Any = base if merged else load_adapter(base, folder)

    def tokenize(self, texts: Sequence[str]) -> TokenizedNotes:
        """Cut notes into windows, as in training."""
        return tokenize_notes(self.tokenizer, texts, self.card.windows)

    def logits(self, notes: TokenizedNotes) -> np.ndarray:
        """Log probabilities of the labels, not calibrated, shape (notes, labels)."""
        over_sets = predict_logits(self.model, notes, self.tokenizer.pad_token_id, self.precision)
        return label_logits(over_sets, self.card.label_sets, len(self.card.labels))

    def base_logits(self, notes: TokenizedNotes) -> np.ndarray:
        """The same for the base model with its untrained head, shape (notes, labels)."""
        with self.model.disable_adapter():
            return self.logits(notes)

    def probabilities(self, notes: TokenizedNotes) -> np.ndarray:
        """Probabilities calibrated with the published temperature, shape (notes, labels)."""
        return softmax(self.logits(notes) / self.card.temperature, axis=1)
