"""What the corrections of people changed: answers to the very questions that were corrected and trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clinadapt.clinical.claims import missing_claims, unsupported
from clinadapt.clinical.refusals import is_refusal
from clinadapt.data.schemas.feedback import FEEDBACK_FILE
from clinadapt.evaluation.text_metrics import matches, token_f1
from components.evaluate.generation import ModelAnswers
from components.evaluate.metrics import ratios

MOST = 200  # corrections that are asked; of more, the first by their row, which is a hash


def read_corrected(splits: Path, schema: pa.Schema) -> pa.Table:
    """The training rows with corrections, at most MOST of them, that format wrote; no row where there are none."""
    path = splits / FEEDBACK_FILE
    return pq.read_table(path, schema=schema).slice(0, MOST) if path.exists() else schema.empty_table()


def is_right(answer: str, row: Mapping[str, Any]) -> bool:
    """Whether an answer says what the correction says: the same words, or all its claims and none that the note does
    not support; a refusal where it is one.

    Args:
        answer: of a model.
        row: of schema EXAMPLES, with `decimal_comma`.
    """
    if not row["answerable"] or is_refusal(answer):
        return is_refusal(answer) and not row["answerable"]
    comma = row["decimal_comma"]
    if matches(answer, row["answer"], "exact", comma):
        return True
    missing, stated = missing_claims(answer, row["answer"], row["note_text"], comma)
    return bool(stated) and not missing and not unsupported(answer, row["note_text"], row["instruction"], comma)


def answers_on_corrections(
    rows: Sequence[Mapping[str, Any]], answers: Mapping[str, ModelAnswers], titles: Mapping[str, str], seed: int
) -> dict[str, Any]:
    """Score the answers to corrected questions.

    Args:
        rows: of schema EXAMPLES, with `decimal_comma`.
        answers: of each model to the rows.
        titles: model -> its title.
        seed: of the bootstrap.

    Returns:
        Empty without rows; else `feedback`: `rows`, and `models`: title, `right` (answers), and `right_share` and
        `token_f1` with intervals.
    """
    if not rows:
        return {}
    cluster = np.array([row["cluster"] for row in rows])
    models = {}
    for name, model in answers.items():
        pairs = list(zip(model.texts, rows, strict=True))
        right = np.array([is_right(text, row) for text, row in pairs], dtype=float)
        overlap = np.array([token_f1(text, row["answer"], row["decimal_comma"]) for text, row in pairs])
        estimates = ratios(np.column_stack([right, overlap]), np.ones((len(rows), 2)), cluster, seed)
        shares = dict(zip(("right_share", "token_f1"), estimates, strict=True))
        models[name] = {"title": titles[name], "right": int(right.sum()), **shares}
    return {"feedback": {"rows": len(rows), "models": models}}


def labels_on_corrections(
    notes: pa.Table, predicted: Mapping[str, Sequence[str]], titles: Mapping[str, str], seed: int
) -> dict[str, Any]:
    """Score the predictions for notes with a corrected label, as `answers_on_corrections`, without `token_f1`.

    Args:
        notes: of schema SPLIT.
        predicted: model -> label of each note.
        titles: model -> its title.
        seed: of the bootstrap.
    """
    cluster, labels = notes["cluster"].to_numpy(), [listed[0] for listed in notes["labels"].to_pylist()]
    models = {}
    for name, given in predicted.items():
        right = np.array([a == b for a, b in zip(given, labels, strict=True)], dtype=float)
        (share,) = ratios(right[:, None], np.ones((len(right), 1)), cluster, seed)
        models[name] = {"title": titles[name], "right": int(right.sum()), "right_share": share}
    return {"rows": len(notes), "models": models}


def describe(scored: Mapping[str, Any]) -> str:
    """The result as a line of a log."""
    counts = ", ".join(f"{model['title']} {model['right']}" for model in scored["models"].values())
    return f"right answers to the {scored['rows']} corrected questions that were trained on: {counts}"
