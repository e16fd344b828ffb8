"""Does the adapter in the store answer as it did in the evaluation?

python -m clinadapt.registry.reload_check STORE PREFIX SPLITS EVALUATION

Runs in a process of its own, so that nothing of the training or evaluation is left in memory. Prints one line of JSON:
answers, how many are not those of predictions.parquet, and of a classifier the largest difference of a logit.
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
    """Count the held-out notes or instructions that are answered otherwise than in the evaluation, in any bit."""
    with tempfile.TemporaryDirectory() as scratch:
        download_folder(open_store(store_uri), prefix, Path(scratch))
        if adapter_recipe(Path(scratch)) == "instruct":
            return _compare_answers(Path(scratch), splits, evaluation)
        return _compare_logits(Path(scratch), splits, evaluation)


def _compare_logits(adapter: Path, splits: Path, evaluation: Path) -> dict[str, float]:
    classifier = Classifier(adapter)
    test = read_split(splits, "test")
    now = classifier.logits(classifier.tokenize(test["text"].to_pylist()))
    then = pq.read_table(evaluation / "predictions.parquet")
    if then["note_id"].to_pylist() != test["note_id"].to_pylist():
        raise SystemExit("the evaluation scored other notes")
    difference = np.abs(now - np.column_stack([then[f"logit_{i}"] for i in range(now.shape[1])])).max(axis=1)
    return {"answers": len(now), "different": int((difference > 0).sum()), "largest": float(difference.max())}


def _compare_answers(adapter: Path, splits: Path, evaluation: Path) -> dict[str, float]:
    """The first answers only: each costs as many passes as it has tokens."""
    then = pq.read_table(evaluation / "predictions.parquet").slice(0, RELOAD_SAMPLE)
    test = pq.read_table(splits / "test.parquet", schema=EXAMPLES).take(then["index"])
    if then["note_id"].to_pylist() != test["note_id"].to_pylist():
        raise SystemExit("the evaluation asked about other notes")
    pairs = zip(test["note_text"].to_pylist(), test["instruction"].to_pylist(), strict=True)
    asked = read_json(evaluation / "evaluation.json")
    questions = [Question(note, instruction) for note, instruction in pairs]
    now = answer_reload_sample(Generator(adapter), questions, asked["max_new_tokens"], asked["batch_size"])
    different = sum(
        answer_digest(answer) != wanted for answer, wanted in zip(now, then["digest"].to_pylist(), strict=True)
    )
    return {"answers": len(now), "different": different}


if __name__ == "__main__":
    print(json.dumps(compare(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))))
