"""Temperature scaling of class probabilities (Guo et al. 2017, arXiv:1706.04599)."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax


def temperature(logits: np.ndarray, counts: np.ndarray) -> float:
    """The temperature that minimises log loss over rows; logits and counts (notes, labels)."""

    def loss(log_t: float) -> float:
        return float(-(counts * log_softmax(logits / np.exp(log_t), axis=1)).sum() / counts.sum())

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded").x))
