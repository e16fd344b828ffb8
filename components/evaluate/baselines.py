"""The cheap models that an adapter has to beat: majority class, and TF-IDF with logistic regression."""

from __future__ import annotations

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

REGULARISATION = (1.0, 10.0, 30.0)


def majority(train_counts: np.ndarray, notes: int) -> np.ndarray:
    """The share of each label among the training rows, for every note; shape (notes, labels)."""
    share = train_counts.sum(axis=0) / train_counts.sum()
    return np.tile(share, (notes, 1))


def tfidf(texts: dict[str, list[str]], counts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Logits (log probabilities) of TF-IDF over words and word pairs with logistic regression.

    It trains on the rows of `train` and chooses its regularisation by the log loss on `validation`.

    Args:
        texts: train, validation and test -> texts of the notes.
        counts: train and validation -> rows under each label, shape (notes, labels).

    Returns:
        validation and test -> logits, shape (notes, labels).
    """
    note, label = np.nonzero(counts["train"])
    weight = counts["train"][note, label]
    vectors = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2)
    train = vectors.fit_transform(texts["train"])[note]
    held = {name: vectors.transform(texts[name]) for name in ("validation", "test")}
    fitted = [LogisticRegression(C=c, max_iter=2000).fit(train, label, sample_weight=weight) for c in REGULARISATION]
    losses = [-(counts["validation"] * m.predict_log_proba(held["validation"])).sum() for m in fitted]
    best = fitted[int(np.argmin(losses))]
    return {name: best.predict_log_proba(x) for name, x in held.items()}
