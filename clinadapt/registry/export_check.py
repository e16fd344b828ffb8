"""Is a merged model the model that was published? Both are asked about the same held-out examples."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import track

from clinadapt.data.schemas.instruct import EXAMPLES
from clinadapt.data.tables import label_counts, read_split
from clinadapt.models.adapter_card import adapter_recipe
from clinadapt.models.chat_template import Question
from clinadapt.models.classifier import Classifier
from clinadapt.models.devices import free_memory
from clinadapt.models.generator import Generator
from clinadapt.models.merging import load_merged

MOST = 200  # held-out examples that are compared
ANSWERS = 32  # of them whose greedy answers are compared too: each costs as many passes as it has tokens
_AT_ONCE = 16


class Said(NamedTuple):
    """What a model says of the examples: log-likelihoods of what is right, shape (examples,), in nats a token of the
    answer or a note; and its own answers (token ids) or predictions (label numbers)."""

    likelihood: np.ndarray
    answers: list[Any]


def compare(adapter: Path, merged: Path, splits: Path) -> dict[str, float]:
    """Ask base model + adapter as it was published, then the merged model; one of them is in memory at a time.

    Args:
        adapter: a published version.
        merged: what `write_merged` wrote.
        splits: a folder with the test.parquet that format wrote.

    Returns:
        examples; difference, the mean over them of |log-likelihood merged - with adapter|, in nats a token of the right
        answer (instruct) or a note (classify); worse, the mean of the same with its sign, above 0 where the merged
        model is the worse one; answers, how many were compared, and equal, the share of them that are the same.
    """
    ask = _instructions(splits) if adapter_recipe(adapter) == "instruct" else _notes(splits)
    before = ask(Generator(adapter) if adapter_recipe(adapter) == "instruct" else Classifier(adapter), "base + adapter")
    free_memory()
    after = ask(load_merged(merged, adapter), "merged")
    free_memory()
    lost = before.likelihood - after.likelihood
    equal = [one == other for one, other in zip(before.answers, after.answers, strict=True)]
    return {
        "examples": len(lost),
        "difference": float(np.abs(lost).mean()),
        "worse": float(lost.mean()),
        "answers": len(equal),
        "equal": float(np.mean(equal)),
    }


def _instructions(splits: Path) -> Callable[[Any, str], Said]:
    table = _some(pq.read_table(splits / "test.parquet", schema=EXAMPLES))
    answers = table["answer"].to_pylist()
    pairs = zip(table["note_text"].to_pylist(), table["instruction"].to_pylist(), strict=True)
    questions = [Question(note, instruction) for note, instruction in pairs]

    def ask(generator: Generator, who: str) -> Said:
        found, said = [], []
        for part in _parts(len(questions), who):
            sums, tokens = generator.answer_losses(questions[part], answers[part])
            found.append(-sums / tokens)
        for part in _parts(min(ANSWERS, len(questions)), f"{who}, answers"):
            said += [answer.tokens for answer in generator.answers(questions[part])]
        return Said(np.concatenate(found), said)

    return ask


def _notes(splits: Path) -> Callable[[Any, str], Said]:
    table = _some(read_split(splits, "test"))
    texts = table["text"].to_pylist()

    def ask(classifier: Classifier, who: str) -> Said:
        parts = [classifier.logits(classifier.tokenize(texts[part])) for part in _parts(len(texts), who)]
        logits = np.concatenate(parts)
        counts = label_counts(table, classifier.card.labels)
        return Said((logits * counts).sum(axis=1) / counts.sum(axis=1), logits.argmax(axis=1).tolist())

    return ask


def _some(table: pa.Table) -> pa.Table:
    """All rows, or MOST of them drawn at random, always the same."""
    return table.take(np.sort(np.random.default_rng(0).permutation(len(table))[:MOST]))


def _parts(rows: int, who: str) -> Iterator[slice]:
    """Slices of so many rows, with a bar on the terminal."""
    console = Console(stderr=True)
    for start in track(range(0, rows, _AT_ONCE), who, console=console, transient=True, disable=not sys.stderr.isatty()):
        yield slice(start, min(start + _AT_ONCE, rows))
