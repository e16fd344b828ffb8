"""Metrics over rows, with intervals and paired tests by note cluster.

Similar notes share a cluster, so clusters and not notes are weighted anew in each replicate, by the Bayesian bootstrap
(Rubin 1981, The Annals of Statistics 9, 130-134). Every metric is a function of sums over clusters (a confusion matrix,
calibration bins, losses): one replicate is one weighted sum, and all replicates are one matrix product.

A bootstrap of clusters that have one value has no width, however few they are. So the lower end of what has bounds, a
share or a difference of shares, is that of the clusters and one more at the lowest possible value, the upper end that
of one more at the highest (Gaffke 2005, Three test statistics for a nonparametric one-sided hypothesis on the mean of a
nonnegative variable, Mathematical Methods of Statistics 14, 451-467; Learned-Miller and Thomas 2019, arXiv:1905.06208).
Where clusters are single rows that are right or wrong, this is the exact interval of Clopper and Pearson (1934).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import betaincinv, softmax
from sklearn.metrics import roc_auc_score, roc_curve

BINS = 15  # of equal width, as in Guo et al. 2017 (arXiv:1706.04599)
REPLICATES = 2000
PERMUTATIONS = 10_000
CONFIDENCE = 0.95
EDGE = (1 - CONFIDENCE) / 2
SHARE = (0.0, 1.0)  # bounds of a share
_ROC_POINTS = 200
_SHARES = ("accuracy", "any_label_accuracy", "balanced_accuracy", "macro_f1")  # metrics between 0 and 1


@dataclass(frozen=True)
class HeldOutNotes:
    """Labels and clusters of the held-out notes. A note listed under several labels has a row for each listing.

    Attributes:
        counts: rows of each note under each label, shape (notes, labels).
        cluster: cluster of each note, shape (notes,).
    """

    counts: np.ndarray
    cluster: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """Rows of each note, shape (notes,)."""
        return self.counts.sum(axis=1)

    def ceiling(self) -> float:
        """Best accuracy over these rows that any function of the text can reach: each note's most frequent label."""
        return float(self.counts.max(axis=1).sum() / self.counts.sum())


def measure(probabilities: np.ndarray, scaled: np.ndarray | None, notes: HeldOutNotes, seed: int) -> dict[str, Any]:
    """Metrics of one classifier with their intervals.

    Args:
        probabilities: shape (notes, labels), before temperature scaling.
        scaled: shape (notes, labels), after temperature scaling; None for a model that is not scaled.
        notes: the held-out notes.
        seed: of the bootstrap.

    Returns:
        `metrics`: name -> value, low and high (shares between 0 and 1; log loss in nats) and, of the accuracies, `of`
        (rows); `per_class`: precision, recall, f1, support and intervals of each label; `confusion`: rows, shape
        (labels, labels), by true and predicted label; `reliability` and, where scaled, `reliability_scaled`:
        confidence, accuracy and weight (rows) of each bin that is not empty.
    """
    sums = _cluster_sums(probabilities, scaled if scaled is not None else probabilities, notes)
    weights = _replicate_weights(np.random.default_rng(seed), len(sums))
    labels = notes.counts.shape[1]
    total = sums.sum(axis=0)
    metrics = {
        name: entry
        for name, entry in _estimates(sums, weights, labels).items()
        if scaled is not None or not name.endswith("_scaled")
    }
    for name in ("accuracy", "any_label_accuracy"):
        metrics[name]["of"] = int(notes.rows.sum())
    confusion = total[: labels * labels].reshape(labels, labels)
    result = {
        "metrics": metrics,
        "per_class": _per_class(sums[:, : labels * labels].reshape(-1, labels, labels), weights),
        "confusion": confusion.round().astype(int).tolist(),
        "reliability": _reliability(total, labels, scaled=False),
    }
    if scaled is not None:
        result["reliability_scaled"] = _reliability(total, labels, scaled=True)
    return result


def _estimates(sums: np.ndarray, weights: np.ndarray, labels: int) -> dict[str, dict[str, float]]:
    """Value, low, high and clusters of each metric.

    Args:
        sums: of `_cluster_sums`, shape (clusters, columns).
        weights: of `_replicate_weights`, shape (replicates, clusters + 1).
    """
    values, plain, extra = _metrics(sums.sum(axis=0)[None], labels), weights[:, :-1] @ sums, weights[:, -1:]
    replicates = _metrics(plain, labels)
    low, high = (_metrics(plain + extra * row, labels) for row in _extreme_clusters(sums.mean(axis=0), labels))
    estimates = {}
    for name, each in replicates.items():
        lowest, highest = (low[name], high[name]) if name in _SHARES else (each, each)
        ends = float(np.nanquantile(lowest, EDGE)), float(np.nanquantile(highest, 1 - EDGE))
        entry = {"value": float(values[name][0]), "low": ends[0], "high": ends[1], "clusters": len(sums)}
        estimates[name] = _debiased(entry, float(each.mean())) if name.startswith("ece") else entry
    return estimates


def _extreme_clusters(mean: np.ndarray, labels: int) -> tuple[np.ndarray, np.ndarray]:
    """The sums of two clusters with the labels of the mean one: all its rows predicted wrongly (evenly among the other
    labels), and all rightly."""
    truth = mean[: labels * labels].reshape(labels, labels).sum(axis=1)
    rows = mean[labels * labels + 1]
    right = np.diag(truth)
    wrong = (truth[:, None] - right) / max(1, labels - 1)
    rest = np.zeros(len(mean) - labels * labels - 2)
    return np.concatenate([wrong.ravel(), [0.0, rows], rest]), np.concatenate([right.ravel(), [rows, rows], rest])


def _debiased(entry: dict[str, float], mean: float) -> dict[str, float]:
    """A calibration error less its bias: noise in the bins makes the mean of absolute gaps too large, and that of a
    replicate by as much again, which shows how much (Efron and Tibshirani 1993, An Introduction to the Bootstrap,
    chapter 10). Estimate and interval are never below 0; the interval holds the estimate.

    Args:
        entry: value, low and high of the error as it is.
        mean: of the replicates.

    Returns:
        value, low and high without the bias, clusters, and `plain`, the error as it is.
    """
    bias = mean - entry["value"]
    value, low, high = (max(0.0, entry[key] - times * bias) for key, times in (("value", 1), ("low", 2), ("high", 2)))
    return {**entry, "value": value, "low": min(low, value), "high": max(high, value), "plain": entry["value"]}


def roc(probabilities: np.ndarray, notes: HeldOutNotes, labels: list[str]) -> list[dict[str, Any]]:
    """One-vs-rest ROC curves over rows, thinned to at most 200 points a curve.

    Args:
        probabilities: shape (notes, labels).

    Returns:
        label, fpr, tpr, thresholds and auc of each label.
    """
    curves = []
    for i, label in enumerate(labels):
        truth = np.repeat([1, 0], len(notes.counts))
        score = np.tile(probabilities[:, i], 2)
        weight = np.concatenate([notes.counts[:, i], notes.rows - notes.counts[:, i]])
        fpr, tpr, thresholds = roc_curve(truth, score, sample_weight=weight)
        points = np.unique(np.linspace(0, len(fpr) - 1, _ROC_POINTS).astype(int))
        curves.append(
            {
                "label": label,
                "fpr": fpr[points].tolist(),
                "tpr": tpr[points].tolist(),
                "thresholds": np.minimum(thresholds[points], 1.0).tolist(),
                "auc": float(roc_auc_score(truth, score, sample_weight=weight)),
            }
        )
    return curves


def compare(a: np.ndarray, b: np.ndarray, notes: HeldOutNotes, seed: int) -> dict[str, float]:
    """Paired comparison of the accuracy of two models over rows, by cluster.

    Args:
        a, b: index of the predicted label of each note, shape (notes,).

    Returns:
        The same as `paired`.
    """
    index = np.arange(len(a))
    return paired(notes.counts[index, a] - notes.counts[index, b], notes.rows, notes.cluster, seed)


def paired(difference: np.ndarray, weight: np.ndarray, cluster: np.ndarray, seed: int) -> dict[str, float]:
    """Paired comparison of two models a and b by cluster.

    The test is a sign-flip permutation test: if the models are equally good, the difference of a cluster is as likely
    as its negative (Edgington and Onghena 2007, Randomization Tests; for NLP systems Dror et al. 2018,
    doi:10.18653/v1/P18-1128). It draws 10,000 sign patterns.

    Args:
        difference: a - b, times the weight, of each item, shape (items,).
        weight: of each item, shape (items,).
        cluster: of each item, shape (items,).
        seed: of the bootstrap and the permutations.

    Returns:
        `difference` (weighted mean of a - b) with `low` and `high` of its interval; `p` of the two-sided test,
        `p_worse` of the one-sided test that a is worse, and the number of `clusters`.
    """
    sums = by_cluster(cluster, np.column_stack([difference, weight]))
    difference, rows = sums[:, 0], sums[:, 1]
    rng = np.random.default_rng(seed)
    low, high = interval(difference, rows, _replicate_weights(rng, len(rows)), (-1.0, 1.0))
    nonzero = difference[difference != 0]
    flipped = rng.choice([-1, 1], size=(PERMUTATIONS, len(nonzero))) @ nonzero
    observed = nonzero.sum()
    return {
        "difference": float(observed / rows.sum()),
        "low": low,
        "high": high,
        "p": float((np.sum(np.abs(flipped) >= abs(observed)) + 1) / (len(flipped) + 1)),
        "p_worse": float((np.sum(flipped <= observed) + 1) / (len(flipped) + 1)),
        "clusters": int((rows > 0).sum()),
    }


def interval(
    numerators: np.ndarray, denominators: np.ndarray, weights: np.ndarray, bounds: tuple[float, float]
) -> tuple[float, float]:
    """Ends of the interval of a ratio of sums over clusters.

    Args:
        numerators, denominators: of each cluster, shape (clusters,); not all denominators are 0.
        weights: of `_replicate_weights`, shape (replicates, clusters + 1).
        bounds: lowest and highest possible ratio of a cluster; infinite where there is no bound.
    """
    above, below = weights[:, :-1] @ numerators, weights[:, :-1] @ denominators
    extra = weights[:, -1] * denominators[denominators > 0].mean()
    low, high = (
        (above + bound * extra) / (below + extra) if math.isfinite(bound) else above / below for bound in bounds
    )
    return float(np.quantile(low, EDGE)), float(np.quantile(high, 1 - EDGE))


def ratios(
    numerators: np.ndarray,
    denominators: np.ndarray,
    cluster: np.ndarray,
    seed: int,
    bounds: Sequence[tuple[float, float]] = (),
) -> list[dict[str, float]]:
    """Ratios of sums with intervals by cluster.

    Args:
        numerators, denominators: of each item, shape (items, ratios).
        cluster: of each item, shape (items,).
        seed: of the replicates.
        bounds: of each ratio, as of `interval`; those of a share where they are left out.

    Returns:
        value, low and high of each ratio, NaN where its denominators are all 0; the number of clusters where they are
        not; and `of`, their sum.
    """
    sums = by_cluster(cluster, np.hstack([numerators, denominators]))
    weights = _replicate_weights(np.random.default_rng(seed), len(sums))
    count = numerators.shape[1]
    estimates = []
    for i, (above, below) in enumerate(zip(sums.T[:count], sums.T[count:], strict=True)):
        value = low = high = float("nan")
        if below.any():
            value = float(above.sum() / below.sum())
            low, high = interval(above, below, weights, bounds[i] if bounds else SHARE)
        of = {"clusters": int((below > 0).sum()), "of": int(below.sum())}
        estimates.append({"value": value, "low": low, "high": high, **of})
    return estimates


def exact_upper(value: float, count: int, confidence: float = CONFIDENCE) -> float:
    """Upper end of the exact interval of a share (Clopper and Pearson 1934): 0 of 20 may still be 17 % (of 95 %)."""
    successes = value * count
    return float(betaincinv(successes + 1, count - successes, (1 + confidence) / 2)) if successes < count else 1.0


def by_cluster(cluster: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sum the rows of `values`, shape (items, columns), within each cluster: shape (clusters, columns)."""
    _, index = np.unique(cluster, return_inverse=True)
    sums = np.zeros((index.max() + 1, values.shape[1]))
    np.add.at(sums, index, values)
    return sums


def probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Softmax over labels of logits / temperature, shape (notes, labels)."""
    return softmax(logits / temperature, axis=1)


def _replicate_weights(rng: np.random.Generator, clusters: int) -> np.ndarray:
    """Weights of each cluster and of one more in each replicate, shape (replicates, clusters + 1); their shares have
    a flat Dirichlet distribution."""
    return rng.exponential(size=(REPLICATES, clusters + 1))


def _cluster_sums(probabilities: np.ndarray, scaled: np.ndarray, notes: HeldOutNotes) -> np.ndarray:
    """Sums by cluster from which all metrics follow, shape (clusters, columns).

    Columns: the flattened confusion matrix; rows whose prediction is one of the note's labels; rows; then, for raw and
    for scaled probabilities, the log loss and per bin rows, confidence and correct rows.
    """
    count, labels = notes.counts.shape
    index, predicted = np.arange(count), probabilities.argmax(axis=1)
    confusion = np.zeros((count, labels, labels))
    confusion[index, :, predicted] = notes.counts
    correct = notes.counts[index, predicted]
    columns = [confusion.reshape(count, -1), (correct > 0) * notes.rows, notes.rows]
    for p in (probabilities, scaled):
        confidence = p.max(axis=1)
        bins = np.eye(BINS)[np.minimum((confidence * BINS).astype(int), BINS - 1)]
        columns += [
            -(notes.counts * np.log(np.clip(p, 1e-12, 1))).sum(axis=1),
            bins * notes.rows[:, None],
            bins * (confidence * notes.rows)[:, None],
            bins * correct[:, None],
        ]
    return by_cluster(notes.cluster, np.column_stack(columns))


def _metrics(sums: np.ndarray, labels: int) -> dict[str, np.ndarray]:
    """Metrics, each of shape (replicates,), from the sums of each replicate, shape (replicates, columns)."""
    confusion = sums[:, : labels * labels].reshape(-1, labels, labels)
    own_label, rows = sums[:, labels * labels], sums[:, labels * labels + 1]
    correct = np.einsum("rkk->rk", confusion)
    truth, predicted = confusion.sum(axis=2), confusion.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = correct / truth
        f1 = 2 * correct / (truth + predicted)
    result = {
        "accuracy": correct.sum(axis=1) / rows,
        "any_label_accuracy": own_label / rows,
        "balanced_accuracy": np.nanmean(recall, axis=1),
        "macro_f1": np.nanmean(f1, axis=1),
    }
    for suffix, scaled in (("", False), ("_scaled", True)):
        loss, weight, confidence, hits = _calibration_sums(sums, labels, scaled)
        result[f"log_loss{suffix}"] = loss / rows
        # Expected calibration error, Guo et al. 2017 (arXiv:1706.04599), equation 3
        result[f"ece{suffix}"] = np.abs(confidence - hits).sum(axis=1) / weight.sum(axis=1)
    return result


def _calibration_sums(
    sums: np.ndarray, labels: int, scaled: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Log loss, shape (...), and per bin rows, confidence and correct rows, each of shape (..., BINS)."""
    start = labels * labels + 2 + int(scaled) * (1 + 3 * BINS)
    parts = np.split(sums[..., start : start + 1 + 3 * BINS], [1, 1 + BINS, 1 + 2 * BINS], axis=-1)
    return parts[0][..., 0], parts[1], parts[2], parts[3]


def _reliability(total: np.ndarray, labels: int, scaled: bool) -> list[dict[str, float]]:
    _, weight, confidence, correct = _calibration_sums(total, labels, scaled)
    return [
        {"confidence": float(c / w), "accuracy": float(h / w), "weight": float(w)}
        for w, c, h in zip(weight, confidence, correct, strict=True)
        if w
    ]


def _per_class(confusions: np.ndarray, weights: np.ndarray) -> list[dict[str, Any]]:
    """Precision, recall, f1 and support of each label, and `intervals` of precision and recall where they have rows.

    Args:
        confusions: of each cluster, shape (clusters, labels, labels).
        weights: of `_replicate_weights`.
    """
    sides = {"precision": confusions.sum(axis=1), "recall": confusions.sum(axis=2)}  # (clusters, labels)
    entries = []
    for k in range(confusions.shape[1]):
        correct, support = confusions[:, k, k], float(sides["recall"][:, k].sum())
        entry: dict[str, Any] = {"support": support, "intervals": {}}
        for name, rows in sides.items():
            entry[name] = float(correct.sum() / rows[:, k].sum()) if rows[:, k].any() else 0.0
            if rows[:, k].any():
                entry["intervals"][name] = list(interval(correct, rows[:, k], weights, SHARE))
        together = support + float(sides["precision"][:, k].sum())
        entry["f1"] = 2 * float(correct.sum()) / together if together else 0.0
        entries.append(entry)
    return entries
