"""The cheap models that an adapter has to beat: majority class, and TF-IDF with logistic regression."""

from __future__ import annotations

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from clinadapt.data.text import is_unspaced, words

REGULARISATION = (1.0, 10.0, 30.0)  # candidate values of C, scikit-learn's inverse regularisation strength


def majority(train_counts: np.ndarray, notes: int) -> np.ndarray:
    """Share of each label among the training rows, repeated for every note.

    Args:
        train_counts: rows of each training note under each label, shape (training notes, labels).
        notes: number of notes to predict.

    Returns:
        Probabilities, shape (notes, labels).
    """
    share = train_counts.sum(axis=0) / train_counts.sum()
    return np.tile(share, (notes, 1))


def tfidf(texts: dict[str, list[str]], counts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Fit logistic regression on TF-IDF of words and word pairs, and predict.

    The model is fitted on the rows of `train`; `C` is chosen by the log loss on `validation`.

    Args:
        texts: split (train, validation, test) -> texts of its notes.
        counts: split (train, validation) -> rows of each note under each label, shape (notes, labels).

    Returns:
        Split (validation, test) -> log probabilities, shape (notes, labels).
    """
    note, label = np.nonzero(counts["train"])
    weight = counts["train"][note, label]
    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2, tokenizer=_terms, token_pattern=None)
    try:
        train = vectorizer.fit_transform(texts["train"])[note]
    except ValueError:  # no word is in two notes
        train = vectorizer.set_params(min_df=1).fit_transform(texts["train"])[note]
    features = {name: vectorizer.transform(texts[name]) for name in ("validation", "test")}
    fitted = [LogisticRegression(C=c, max_iter=2000).fit(train, label, sample_weight=weight) for c in REGULARISATION]
    losses = [-(counts["validation"] * m.predict_log_proba(features["validation"])).sum() for m in fitted]
    best = fitted[int(np.argmin(losses))]
    return {name: best.predict_log_proba(x) for name, x in features.items()}


def _terms(text: str) -> list[str]:
    """Words of two characters and more, and the characters of scripts without blanks."""
    return [word for word in words(text) if len(word) > 1 or is_unspaced(word)]
