"""Check of the questions: how well a model that sees only the question guesses whether the note answers it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

from clinadapt.data.splits import NoteSplit
from clinadapt.data.tables import iter_batches, iter_rows

MAX_ROWS = 20_000  # a random sample of more
FOLDS = 5
MIN_EACH = 20  # rows that the note answers, and rows that it does not, for an AUC


def check_questions(folder: Path, split: NoteSplit, seed: int = 0) -> dict[str, Any]:
    """AUC of TF-IDF + logistic regression on the question alone, on notes held out by cluster.

    0.5 means that the wording tells nothing, so that refusals need the note; 1.0 that they need the wording only.
    Instructions that contain their note, as those of chats do, are left out.

    Args:
        folder: the output of synthesize; triples.parquet (TRIPLES) is read.
        split: of its notes.
        seed: of the sample, where there are more than MAX_ROWS triples.

    Returns:
        `auc` (None with fewer than MIN_EACH rows of either kind), `rows`, `unanswerable`, and `auc_by_task` and
        `auc_by_source` (source number) where they have enough rows.
    """
    path, notes = folder / "triples.parquet", np.array(split.rows["triples"], dtype=np.int64)
    has_note = [pc.not_equal(batch["note_text"], "").to_numpy() for batch in iter_batches(path, ["note_text"])]
    chosen = np.flatnonzero(np.concatenate([np.empty(0, dtype=bool), *has_note]))
    if len(chosen) > MAX_ROWS:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, MAX_ROWS, replace=False))
    wanted = set(chosen.tolist())
    columns = ["instruction", "answerable", "task", "source"]
    rows = [row for i, row in enumerate(iter_rows(path, columns)) if i in wanted]
    unanswerable = np.array([not row["answerable"] for row in rows], dtype=bool)
    folds = split.clusters[notes[chosen]] % FOLDS if len(rows) else np.empty(0)
    scores = _held_out_scores([row["instruction"] for row in rows], unanswerable, folds)
    result: dict[str, Any] = {"rows": len(rows), "unanswerable": int(unanswerable.sum()), "auc": None}
    if scores is None:
        return result | {"auc_by_task": {}, "auc_by_source": {}}
    result["auc"] = _auc(unanswerable, scores)
    for column in ("task", "source"):
        groups = np.array([str(row[column]) for row in rows])
        by_group = {name: _auc(unanswerable[groups == name], scores[groups == name]) for name in sorted(set(groups))}
        result[f"auc_by_{column}"] = {name: value for name, value in by_group.items() if value is not None}
    return result


def _auc(unanswerable: np.ndarray, scores: np.ndarray) -> float | None:
    if min(unanswerable.sum(), (~unanswerable).sum()) < MIN_EACH:
        return None
    return round(float(roc_auc_score(unanswerable, scores)), 3)


def _held_out_scores(questions: list[str], unanswerable: np.ndarray, folds: np.ndarray) -> np.ndarray | None:
    """Probability of being unanswerable by a model of the other folds; None if a fold leaves too few rows."""
    scores = np.zeros(len(questions))
    for fold in range(FOLDS):
        held_out = folds == fold
        if min(unanswerable[~held_out].sum(), (~unanswerable[~held_out]).sum()) < MIN_EACH:
            return None
        if held_out.any():
            model = make_pipeline(
                TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(max_iter=300)
            )
            model.fit([q for q, out in zip(questions, held_out, strict=True) if not out], unanswerable[~held_out])
            asked = [q for q, out in zip(questions, held_out, strict=True) if out]
            scores[held_out] = model.predict_proba(asked)[:, 1]
    return scores
