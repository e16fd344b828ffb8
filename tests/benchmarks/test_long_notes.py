"""How many windows of a long note are worth reading: accuracy of one adapter under several policies, same test notes.

CLINADAPT_ADAPTER=URI CLINADAPT_SPLITS=FOLDER python -m pytest tests/benchmarks/test_long_notes.py --benchmarks -s
FOLDER is the `splits` output of a run, URI the adapter that this run published.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from clinadapt.data.tables import label_counts, read_split
from clinadapt.models.classifier import Classifier, TokenizedNotes
from clinadapt.registry.adapters import download_adapter
from components.evaluate.metrics import HeldOutNotes, compare

POLICIES = {
    "first window": lambda cut: cut[:1],
    "first 2 windows": lambda cut: cut[:2],
    "first 4 windows": lambda cut: cut[:4],
    "first and last window": lambda cut: cut if len(cut) < 2 else [cut[0], cut[-1]],
    "first 3 and last window": lambda cut: cut if len(cut) < 4 else [*cut[:3], cut[-1]],
    "all windows": lambda cut: cut,
}


def _tokens(prepared):
    return sum(len(window) for windows in prepared.windows for window in windows)


@pytest.mark.skipif("CLINADAPT_ADAPTER" not in os.environ, reason="name a published adapter in CLINADAPT_ADAPTER")
def test_long_notes():
    """Reads every window once per policy; compares each policy with reading all."""
    folder, _ = download_adapter(os.environ["CLINADAPT_ADAPTER"], "")
    classifier = Classifier(folder)
    table = read_split(Path(os.environ["CLINADAPT_SPLITS"]), "test")
    counts = label_counts(table, classifier.card.labels)
    held = HeldOutNotes(counts, table["cluster"].to_numpy())
    all_windows = classifier.tokenize(table["text"].to_pylist())
    chosen = {}
    seen = {}
    for name, policy in POLICIES.items():
        cut = TokenizedNotes([policy(windows) for windows in all_windows.windows], all_windows.tokens, all_windows.seen)
        seen[name] = _tokens(cut) / _tokens(all_windows)
        chosen[name] = classifier.logits(cut).argmax(axis=1)
    print("\npolicy                    tokens seen  accuracy  own label set  accuracy against all windows")
    notes = np.arange(len(counts))
    for name, predicted in chosen.items():
        hits = counts[notes, predicted]
        against = compare(predicted, chosen["all windows"], held, seed=0)
        print(
            f"{name:25} {seen[name]:10.1%} {hits.sum() / counts.sum():9.3f} "
            f"{(held.rows * (hits > 0)).sum() / counts.sum():13.3f}   "
            f"{100 * against['difference']:+.1f} ({100 * against['low']:+.1f} to {100 * against['high']:+.1f}) points"
        )
    assert seen["all windows"] == 1
