"""The figures of an audit: exposure, whether canaries are remembered, and whether training notes can be told apart."""

from __future__ import annotations

import hmac
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

LEVEL = 0.05  # of false alarms
_WINDOW = 8  # words in a row
_WORD = re.compile(r"\w+")


def exposure(canary: float, others: Sequence[float]) -> float:
    """Exposure of a canary in bits: log2 of the number of phrases compared over the rank of its own, by loss (Carlini
    et al. 2019); those of equal loss share their ranks."""
    losses = np.asarray(others)
    rank = 1 + (losses < canary).sum() + (losses == canary).sum() / 2
    return math.log2((len(losses) + 1) / rank)


def remembered(trained: Sequence[float], control: Sequence[float]) -> dict[str, float | bool]:
    """Whether trained canaries gained more exposure than canaries that were not trained.

    Both were drawn alike, so that the one-sided test of Mann and Whitney (1947) raises a false alarm in LEVEL of the
    audits at most, whatever training does to all phrases alike.

    Args:
        trained, control: exposure in the adapter less that in the base model, in bits.
    """
    differs = len({*trained, *control}) > 1
    p = float(mannwhitneyu(trained, control, alternative="greater").pvalue) if differs else 1.0
    return {"trained": float(np.mean(trained)), "control": float(np.mean(control)), "p": p, "alarm": p <= LEVEL}


def membership_auc(
    trained: Sequence[float] | NDArray[np.float64], held_out: Sequence[float] | NDArray[np.float64]
) -> dict[str, float]:
    """How well loss tells examples that were trained from those that were held out: AUC with its 95 % interval (Hanley
    and McNeil 1982); 0.5: not at all.

    Args:
        trained, held_out: loss per token in the adapter less that in the base model.
    """
    n, m = len(trained), len(held_out)
    auc = float(mannwhitneyu(held_out, trained).statistic) / (n * m)
    first, second = auc / (2 - auc), 2 * auc * auc / (1 + auc)
    variance = (auc * (1 - auc) + (n - 1) * (first - auc * auc) + (m - 1) * (second - auc * auc)) / (n * m)
    half = 1.959964 * math.sqrt(max(variance, 0.0))
    return {"value": auc, "low": max(0.0, auc - half), "high": min(1.0, auc + half)}


class TrainingText:
    """HMACs of all runs of _WINDOW words of training texts, under a key that is thrown away: no text is kept."""

    def __init__(self, texts: Iterable[str], key: bytes) -> None:
        self._key = key
        self._runs = {run for text in texts for run in self._of(text)}

    def share(self, texts: Sequence[str]) -> float:
        """Share of the texts in which a run of training text stands."""
        return sum(any(run in self._runs for run in self._of(text)) for text in texts) / max(len(texts), 1)

    def _of(self, text: str) -> Iterable[bytes]:
        words = _WORD.findall(text.casefold())
        for start in range(len(words) - _WINDOW + 1):
            yield hmac.digest(self._key, " ".join(words[start : start + _WINDOW]).encode(), "sha256")[:12]


def simulated_gains(rng: np.random.Generator, canaries: int, gain: float, others: int = 255) -> NDArray[np.float64]:
    """Gains in exposure of canaries whose phrase training makes more likely.

    The scores of phrases under the base model and the adapter are normal, and correlated as those of one family of
    models are (0.8).

    Args:
        rng: source of randomness.
        canaries: how many.
        gain: by which training raises the score of the own phrase, in standard deviations of the phrases' scores.
        others: phrases that each is compared with.
    """
    base = rng.standard_normal((canaries, others + 1))
    adapter = 0.8 * base + 0.6 * rng.standard_normal((canaries, others + 1))
    adapter[:, 0] += gain
    scores = [[exposure(-row[0], -row[1:]) for row in table] for table in (base, adapter)]
    return np.subtract(scores[1], scores[0])


def verdict(groups: dict[str, dict[str, Any]]) -> str:
    """`remembers` if an alarm was raised in any group, at LEVEL over all groups together (Holm 1979)."""
    ordered = sorted(float(group["p"]) for group in groups.values())
    return "remembers" if ordered and ordered[0] * len(ordered) <= LEVEL else "no memory shown"
