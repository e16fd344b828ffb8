"""The linear probe that initializes the head of mean pooling: softmax regression with a ridge penalty, over label sets,
on the standardised hidden states of the base model (Kumar et al. 2022, arXiv:2202.10054)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.model_selection import GroupKFold

from clinadapt.config.base import Precision
from clinadapt.models.classifier import TokenizedNotes, first_windows, head_name, pool, predict_windows

RIDGE = 0.07  # strong, so that the probe leaves something to the adapter
FOLDS = 5


class Probe:
    """A linear probe fitted on notes."""

    def __init__(self, states: torch.Tensor, targets: torch.Tensor, class_weights: torch.Tensor) -> None:
        """
        Args:
            states: as note_states returns them, shape (notes, features).
            targets: distributions over label sets, shape (notes, sets).
            class_weights: of the label sets, shape (sets,).
        """
        scale, mean = states.std(dim=0).clamp_min(1e-6), states.mean(dim=0)
        weight, bias = softmax_regression((states - mean) / scale, targets, class_weights)
        self.weight = weight / scale
        self.bias = bias - self.weight @ mean

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Logits over label sets, shape (notes, sets), of states with shape (notes, features)."""
        return states @ self.weight.T + self.bias

    def initialize_head(self, model: Any) -> None:
        """Copy the probe into the head of a mean-pooling model, which has one block of rows for the note and one for
        its first window."""
        base = model.get_base_model()
        head = getattr(base, head_name(base)).modules_to_save["default"]
        head.weight.data.copy_(torch.cat(self.weight.chunk(2, dim=1)))
        head.bias.data.copy_(torch.cat([self.bias, torch.zeros_like(self.bias)]))


def note_states(model: Any, prepared: TokenizedNotes, pad: int, precision: Precision) -> torch.Tensor:
    """The input of a mean-pooling head: pooled hidden states of the note and those of its first window, concatenated.

    Args:
        model: a PeftModel of a sequence classifier; its adapter is disabled meanwhile.
        prepared: the notes.
        pad: id of the padding token.
        precision: that it computes in.

    Returns:
        fp32, shape (notes, features), features twice the hidden size.
    """
    base = model.get_base_model()
    name = head_name(base)
    head = getattr(base, name)
    setattr(base, name, torch.nn.Identity())
    with model.disable_adapter():
        states, owner, lengths = predict_windows(model, prepared, pad, precision)
    setattr(base, name, head)
    return torch.cat([pool(states, owner, lengths, states.shape[1]), states[first_windows(owner)]], dim=1)


def out_of_fold(
    states: torch.Tensor, targets: torch.Tensor, class_weights: torch.Tensor, clusters: np.ndarray
) -> torch.Tensor:
    """Cross-validated logits, shape (notes, sets): of each note by a probe fitted on the other folds. A cluster, shape
    (notes,), is never split over two folds."""
    logits = torch.empty_like(targets)
    for rest, fold in GroupKFold(FOLDS).split(states, groups=clusters):
        logits[fold] = Probe(states[rest], targets[rest], class_weights).logits(states[fold])
    return logits


def softmax_regression(
    features: torch.Tensor, targets: torch.Tensor, class_weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Minimise soft_cross_entropy plus a ridge penalty by L-BFGS.

    Args:
        features: shape (notes, features).
        targets: shape (notes, sets).
        class_weights: shape (sets,).

    Returns:
        Weight, shape (sets, features), and bias, shape (sets,).
    """
    weight = torch.zeros(targets.shape[1], features.shape[1], requires_grad=True)
    bias = torch.zeros(targets.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        logits = features @ weight.T + bias
        value = soft_cross_entropy(logits, targets, class_weights) + RIDGE / 2 * weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return weight.detach(), bias.detach()


def soft_cross_entropy(logits: torch.Tensor, targets: torch.Tensor, class_weights: torch.Tensor) -> torch.Tensor:
    """Mean over notes of -sum_s w_s p_s log softmax(logits)_s; logits and targets (notes, sets), weights (sets,)."""
    weighted = targets * class_weights
    return -(weighted * logits.log_softmax(dim=1)).sum() / len(logits)
