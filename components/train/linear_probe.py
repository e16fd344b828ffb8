"""The linear probe that the head of mean pooling begins as: ridge-penalised softmax regression over label sets on the
base model's standardised states (Kumar et al. 2022, arXiv:2202.10054)."""

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
    """A probe fitted on notes."""

    def __init__(self, states: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> None:
        """
        Args:
            states: as note_states gives them, shape (notes, features).
            targets: distributions over label sets, shape (notes, sets).
            weights: of the sets, shape (sets,).
        """
        scale, middle = states.std(dim=0).clamp_min(1e-6), states.mean(dim=0)
        weight, bias = softmax_regression((states - middle) / scale, targets, weights)
        self.weight = weight / scale
        self.bias = bias - self.weight @ middle

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Shape (notes, sets)."""
        return states @ self.weight.T + self.bias

    def put_into_head(self, model: Any) -> None:
        """Make it the head of a mean-pooling model, which has rows for the whole note and for its first window."""
        base = model.get_base_model()
        trained = getattr(base, head_name(base)).modules_to_save["default"]
        trained.weight.data.copy_(torch.cat(self.weight.chunk(2, dim=1)))
        trained.bias.data.copy_(torch.cat([self.bias, torch.zeros_like(self.bias)]))


def note_states(model: Any, prepared: TokenizedNotes, pad: int, precision: Precision) -> torch.Tensor:
    """What the head of mean pooling reads: states of the whole note and of its first window side by side, shape
    (notes, features)."""
    base = model.get_base_model()
    name = head_name(base)
    head = getattr(base, name)
    setattr(base, name, torch.nn.Identity())
    with model.disable_adapter():
        states, owner, lengths = predict_windows(model, prepared, pad, precision)
    setattr(base, name, head)
    return torch.cat([pool(states, owner, lengths, states.shape[1]), states[first_windows(owner)]], dim=1)


def out_of_fold(
    states: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, clusters: np.ndarray
) -> torch.Tensor:
    """Logits for each note of a probe that was fitted without the note's fold; no cluster is in two folds."""
    logits = torch.empty_like(targets)
    for rest, fold in GroupKFold(FOLDS).split(states, groups=clusters):
        logits[fold] = Probe(states[rest], targets[rest], weights).logits(states[fold])
    return logits


def softmax_regression(
    features: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight, shape (sets, features), and bias, shape (sets,), that minimise soft_cross_entropy and a ridge penalty."""
    weight = torch.zeros(targets.shape[1], features.shape[1], requires_grad=True)
    bias = torch.zeros(targets.shape[1], requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = soft_cross_entropy(features @ weight.T + bias, targets, weights) + RIDGE / 2 * weight.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    return weight.detach(), bias.detach()


def soft_cross_entropy(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Mean over notes of -sum_s w_s p_s log softmax(logits)_s; logits and targets (notes, sets), weights (sets,)."""
    weighted = targets * weights
    return -(weighted * logits.log_softmax(dim=1)).sum() / len(logits)
