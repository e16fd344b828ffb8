"""Temperature scaling of class probabilities (Guo et al. 2017, arXiv:1706.04599)."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax


def fit_temperature(logits: np.ndarray, counts: np.ndarray) -> float:
    """Fit the temperature that minimises the log loss over rows, between 0.05 and 20.

    Args:
        logits: (notes, labels).
        counts: (notes, labels), the rows that list each note under each label.
    """

    def loss(log_t: float) -> float:
        return float(-(counts * log_softmax(logits / np.exp(log_t), axis=1)).sum() / counts.sum())

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded").x))
