"""`python -m components.common.reload STORE PREFIX SPLITS EVALUATION`: does the adapter in the store answer as it did?

Runs in a process of its own, so that nothing of the training or evaluation is left in memory. Prints one line of JSON:
notes, how many have other probabilities than in predictions.parquet, and the largest difference.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from components.common.classifier import Classifier
from components.common.dataset import read_split
from components.common.store import download_folder, open_store


def compare(store_uri: str, prefix: str, splits: Path, evaluation: Path) -> dict[str, float]:
    """Count the held-out notes whose logits differ from those of the evaluation, in any bit."""
    with tempfile.TemporaryDirectory() as scratch:
        download_folder(open_store(store_uri), prefix, Path(scratch))
        classifier = Classifier(Path(scratch))
        test = read_split(splits, "test")
        now = classifier.logits(classifier.prepare(test["text"].to_pylist()))
    then = pq.read_table(evaluation / "predictions.parquet")
    if then["note"].to_pylist() != test["note"].to_pylist():
        raise SystemExit("the evaluation scored other notes")
    difference = np.abs(now - np.column_stack([then[f"logit_{i}"] for i in range(now.shape[1])])).max(axis=1)
    return {"notes": len(now), "different": int((difference > 0).sum()), "largest": float(difference.max())}


if __name__ == "__main__":
    print(json.dumps(compare(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))))
