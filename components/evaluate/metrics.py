"""Metrics of a classifier over rows, with bootstrap intervals by note cluster.

Every metric is a function of sums over clusters (a confusion matrix, calibration bins, losses), so a bootstrap
replicate is one weighted sum and all replicates together are one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.metrics import roc_auc_score, roc_curve

BINS = 15  # of equal width, as in Guo et al. 2017 (arXiv:1706.04599)
REPLICATES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Held:
    """The held-out notes.

    Attributes:
        counts: rows that list each note under each label, shape (notes, labels).
        cluster: cluster of each note, shape (notes,).
    """

    counts: np.ndarray
    cluster: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """Rows of each note, shape (notes,)."""
        return self.counts.sum(axis=1)

    def ceiling(self) -> float:
        """The best accuracy over these very rows that any function of the text can reach."""
        return float(self.counts.max(axis=1).sum() / self.counts.sum())


def measure(probabilities: np.ndarray, scaled: np.ndarray | None, held: Held, seed: int) -> dict[str, Any]:
    """Everything the report says of one model.

    Args:
        probabilities: (notes, labels), before temperature scaling.
        scaled: the same after it; None for a model that is not scaled.
        held: the notes.
        seed: of the bootstrap.

    Returns:
        metrics: name -> value, low, high; per_class; confusion (labels x labels, rows true); reliability bins.
    """
    sums = _sums(probabilities, scaled if scaled is not None else probabilities, held)
    clusters = len(np.unique(held.cluster))
    weights = np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), REPLICATES)
    k = held.counts.shape[1]
    point = _metrics(sums.sum(axis=0)[None], k)
    spread = _metrics(weights @ sums, k)
    edge = (1 - CONFIDENCE) / 2
    metrics = {
        name: {
            "value": float(point[name][0]),
            "low": float(np.nanquantile(spread[name], edge)),
            "high": float(np.nanquantile(spread[name], 1 - edge)),
        }
        for name in point
        if scaled is not None or not name.endswith("_scaled")
    }
    total = sums.sum(axis=0)
    confusion = total[: k * k].reshape(k, k)
    result = {
        "metrics": metrics,
        "per_class": _per_class(confusion),
        "confusion": confusion.round().astype(int).tolist(),
        "reliability": _reliability(total, k, 0),
    }
    if scaled is not None:
        result["reliability_scaled"] = _reliability(total, k, 1)
    return result


def roc(probabilities: np.ndarray, held: Held, labels: list[str]) -> list[dict[str, Any]]:
    """One against the rest over rows, thinned to at most about 200 points a curve."""
    curves = []
    for i, label in enumerate(labels):
        truth = np.repeat([1, 0], len(held.counts))
        score = np.tile(probabilities[:, i], 2)
        weight = np.concatenate([held.counts[:, i], held.rows - held.counts[:, i]])
        fpr, tpr, thresholds = roc_curve(truth, score, sample_weight=weight)
        keep = np.unique(np.linspace(0, len(fpr) - 1, 200).astype(int))
        curves.append(
            {
                "label": label,
                "fpr": fpr[keep].tolist(),
                "tpr": tpr[keep].tolist(),
                "thresholds": np.minimum(thresholds[keep], 1.0).tolist(),
                "auc": float(roc_auc_score(truth, score, sample_weight=weight)),
            }
        )
    return curves


def compare(a: np.ndarray, b: np.ndarray, held: Held, seed: int) -> dict[str, float]:
    """Paired comparison of two models' accuracy over rows, by cluster.

    Args:
        a, b: predicted label of each note, shape (notes,).

    Returns:
        difference (a - b) with its bootstrap interval; p of a two-sided sign-flip permutation test and p_worse of the
        one-sided test that a is worse (each cluster's difference keeps or changes its sign; 10,000 draws).
    """
    notes = np.arange(len(a))
    return paired(held.counts[notes, a] - held.counts[notes, b], held.rows, held.cluster, seed)


def paired(difference: np.ndarray, weight: np.ndarray, cluster: np.ndarray, seed: int) -> dict[str, float]:
    """Paired comparison of two models by the sums of what tells them apart, by cluster.

    Args:
        difference: a - b of each item, times its weight, shape (items,).
        weight: of each item, shape (items,).
        cluster: of each item, shape (items,).

    Returns:
        as `compare`.
    """
    sums = by_cluster(cluster, np.column_stack([difference, weight]))
    difference, rows = sums[:, 0], sums[:, 1]
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), REPLICATES)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = (weights @ difference) / (weights @ rows)
    moved = difference[difference != 0]
    flips = rng.choice([-1, 1], size=(10_000, len(moved))) @ moved
    observed = moved.sum()
    return {
        "difference": float(observed / rows.sum()),
        "low": float(np.nanquantile(spread, (1 - CONFIDENCE) / 2)),
        "high": float(np.nanquantile(spread, (1 + CONFIDENCE) / 2)),
        "p": float((np.sum(np.abs(flips) >= abs(observed)) + 1) / (len(flips) + 1)),
        "p_worse": float((np.sum(flips <= observed) + 1) / (len(flips) + 1)),
    }


def by_cluster(cluster: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sums of the rows of `values`, shape (items, columns), over each cluster, shape (clusters, columns)."""
    _, place = np.unique(cluster, return_inverse=True)
    sums = np.zeros((place.max() + 1, values.shape[1]))
    np.add.at(sums, place, values)
    return sums


def ratios(top: np.ndarray, bottom: np.ndarray, cluster: np.ndarray, seed: int) -> list[dict[str, float]]:
    """Ratios of sums with bootstrap intervals by cluster.

    Args:
        top, bottom: of each item, shape (items, ratios).
        cluster: of each item, shape (items,).

    Returns:
        value, low and high of each ratio; not a number where its bottom is 0.
    """
    sums = by_cluster(cluster, np.hstack([top, bottom]))
    count, k = len(sums), top.shape[1]
    weights = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), REPLICATES)
    edge = (1 - CONFIDENCE) / 2
    found = []
    for i in range(k):
        if not bottom[:, i].any():
            found.append(dict.fromkeys(("value", "low", "high"), float("nan")))
            continue
        above, below = weights @ sums[:, i], weights @ sums[:, k + i]
        spread = above[below > 0] / below[below > 0]
        low, high = np.quantile(spread, [edge, 1 - edge])
        found.append({"value": float(sums[:, i].sum() / sums[:, k + i].sum()), "low": float(low), "high": float(high)})
    return found


def _sums(probabilities: np.ndarray, scaled: np.ndarray, held: Held) -> np.ndarray:
    """What all metrics are made of, summed by cluster, shape (clusters, columns): the confusion matrix, rows within
    the own label set, rows, then for raw and scaled probabilities log loss and per bin rows, confidence, hits."""
    notes, k = held.counts.shape
    predicted = probabilities.argmax(axis=1)
    confusion = np.zeros((notes, k, k))
    confusion[np.arange(notes), :, predicted] = held.counts
    hits = held.counts[np.arange(notes), predicted]
    columns = [confusion.reshape(notes, -1), (hits > 0) * held.rows, held.rows]
    for p in (probabilities, scaled):
        top = p.max(axis=1)
        bins = np.eye(BINS)[np.minimum((top * BINS).astype(int), BINS - 1)]
        columns += [
            -(held.counts * np.log(np.clip(p, 1e-12, 1))).sum(axis=1),
            bins * held.rows[:, None],
            bins * (top * held.rows)[:, None],
            bins * hits[:, None],
        ]
    return by_cluster(held.cluster, np.column_stack(columns))


def _metrics(sums: np.ndarray, k: int) -> dict[str, np.ndarray]:
    """Metrics of each replicate from its sums, shape (replicates, columns)."""
    confusion = sums[:, : k * k].reshape(-1, k, k)
    own, rows = sums[:, k * k], sums[:, k * k + 1]
    hits = np.einsum("rkk->rk", confusion)
    truth, predicted = confusion.sum(axis=2), confusion.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = hits / truth
        f1 = 2 * hits / (truth + predicted)
    result = {
        "accuracy": hits.sum(axis=1) / rows,
        "own_set_accuracy": own / rows,
        "balanced_accuracy": np.nanmean(recall, axis=1),
        "macro_f1": np.nanmean(f1, axis=1),
    }
    for name, which in (("", 0), ("_scaled", 1)):
        loss, weight, confidence, correct = _calibration(sums, k, which)
        result[f"log_loss{name}"] = loss / rows
        result[f"ece{name}"] = np.abs(confidence - correct).sum(axis=1) / weight.sum(axis=1)
    return result


def _calibration(sums: np.ndarray, k: int, which: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    start = k * k + 2 + which * (1 + 3 * BINS)
    parts = np.split(sums[..., start : start + 1 + 3 * BINS], [1, 1 + BINS, 1 + 2 * BINS], axis=-1)
    return parts[0][..., 0], parts[1], parts[2], parts[3]


def _reliability(total: np.ndarray, k: int, which: int) -> list[dict[str, float]]:
    _, weight, confidence, correct = _calibration(total, k, which)
    return [
        {"confidence": float(c / w), "accuracy": float(h / w), "weight": float(w)}
        for w, c, h in zip(weight, confidence, correct, strict=True)
        if w
    ]


def _per_class(confusion: np.ndarray) -> list[dict[str, float]]:
    hits, truth, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    precision = np.divide(hits, predicted, out=np.zeros_like(hits), where=predicted > 0)
    recall = np.divide(hits, truth, out=np.zeros_like(hits), where=truth > 0)
    return [
        {
            "precision": float(p),
            "recall": float(r),
            "f1": float(2 * h / (t + d)) if t + d else 0.0,
            "support": float(t),
        }
        for p, r, h, t, d in zip(precision, recall, hits, truth, predicted, strict=True)
    ]


def probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Softmax over labels of logits over a temperature, shape (notes, labels)."""
    return softmax(logits / temperature, axis=1)
