"""Compare the answers of an adapter in the store with those of its evaluation.

python -m clinadapt.registry.reload_check STORE PREFIX SPLITS EVALUATION

Runs in a process of its own, so that nothing of training or evaluation is in memory. Prints one line of JSON: answers,
different (how many differ from predictions.parquet) and, for a classifier, the largest difference of a logit.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from clinadapt.artifacts.hashing import read_json
from clinadapt.data.schemas.instruct import EXAMPLES
from clinadapt.data.tables import read_split
from clinadapt.models.adapter_card import adapter_recipe
from clinadapt.models.chat_template import Question
from clinadapt.models.classifier import Classifier
from clinadapt.models.generator import Generator
from clinadapt.models.reproducibility import RELOAD_SAMPLE, answer_digest, answer_reload_sample
from clinadapt.storage import open_store
from clinadapt.storage.transfer import download_folder


def compare(store_uri: str, prefix: str, splits: Path, evaluation: Path) -> dict[str, float]:
    """Count the held-out notes or instructions whose answer differs from the evaluation in any bit.

    Args:
        store_uri, prefix: the adapter.
        splits: the folder that format wrote.
        evaluation: the folder that evaluate wrote.

    Returns:
        answers, different and, for a classifier, largest.
    """
    with tempfile.TemporaryDirectory() as scratch:
        adapter = Path(scratch)
        download_folder(open_store(store_uri), prefix, adapter)
        if adapter_recipe(adapter) == "instruct":
            return _compare_answers(adapter, splits, evaluation)
        return _compare_logits(adapter, splits, evaluation)


def _compare_logits(adapter: Path, splits: Path, evaluation: Path) -> dict[str, float]:
    classifier = Classifier(adapter)
    test = read_split(splits, "test")
    logits = classifier.logits(classifier.tokenize(test["text"].to_pylist()))  # (notes, labels)
    predictions = pq.read_table(evaluation / "predictions.parquet")
    if predictions["note_id"].to_pylist() != test["note_id"].to_pylist():
        raise SystemExit("the evaluation is of other notes")
    evaluated = np.column_stack([predictions[f"logit_{i}"] for i in range(logits.shape[1])])
    difference = np.abs(logits - evaluated).max(axis=1)
    return {"answers": len(logits), "different": int((difference > 0).sum()), "largest": float(difference.max())}


def _compare_answers(adapter: Path, splits: Path, evaluation: Path) -> dict[str, float]:
    """The first RELOAD_SAMPLE answers only: each costs one forward pass per token."""
    predictions = pq.read_table(evaluation / "predictions.parquet").slice(0, RELOAD_SAMPLE)
    test = pq.read_table(splits / "test.parquet", schema=EXAMPLES).take(predictions["index"])
    if predictions["note_id"].to_pylist() != test["note_id"].to_pylist():
        raise SystemExit("the evaluation is of other notes")
    pairs = zip(test["note_text"].to_pylist(), test["instruction"].to_pylist(), strict=True)
    questions = [Question(note, instruction) for note, instruction in pairs]
    settings = read_json(evaluation / "evaluation.json")
    answers = answer_reload_sample(Generator(adapter), questions, settings["max_new_tokens"], settings["batch_size"])
    expected = predictions["digest"].to_pylist()
    different = sum(answer_digest(answer) != evaluated for answer, evaluated in zip(answers, expected, strict=True))
    return {"answers": len(answers), "different": different}


def main() -> None:
    print(json.dumps(compare(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))))


if __name__ == "__main__":
    main()
