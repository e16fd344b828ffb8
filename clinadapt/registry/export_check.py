"""Compare merged weights with the published adapter on held-out examples."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

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

MAX_EXAMPLES = 200
MAX_ANSWERS = 32  # greedy answers, which cost one forward pass per token
_BATCH_SIZE = 16


class Responses(NamedTuple):
    """A model's responses to the examples.

    Attributes:
        likelihood: log-likelihoods of the right answers, shape (examples,), in nats a token (instruct) or a note
            (classify).
        answers: token ids of greedy answers (instruct), or predicted labels (classify).
    """

    likelihood: np.ndarray
    answers: list[Any]


class Comparison(TypedDict):
    """Merged model against base model + adapter.

    `difference`: mean absolute difference of the log-likelihood, in nats a token of the right answer (instruct) or a
    note (classify), over `examples`; `worse`: its signed mean, above 0 where the merged model is worse; `equal`: share
    of `answers` that are the same.
    """

    examples: int
    difference: float
    worse: float
    answers: int
    equal: float


def compare(adapter: Path, merged: Path, splits: Path) -> Comparison:
    """Compare a merged model with the adapter that it was made from; one of them is in memory at a time.

    Args:
        adapter: a published version.
        merged: what `write_merged` wrote.
        splits: a folder with the test.parquet that format wrote.
    """
    instruct = adapter_recipe(adapter) == "instruct"
    respond = _instruct_responses(splits) if instruct else _classify_responses(splits)
    original = respond(Generator(adapter) if instruct else Classifier(adapter), "base + adapter")
    free_memory()
    exported = respond(load_merged(merged, adapter), "merged")
    free_memory()
    loss = original.likelihood - exported.likelihood
    equal = [one == other for one, other in zip(original.answers, exported.answers, strict=True)]
    return {
        "examples": len(loss),
        "difference": float(np.abs(loss).mean()),
        "worse": float(loss.mean()),
        "answers": len(equal),
        "equal": float(np.mean(equal)),
    }


def _instruct_responses(splits: Path) -> Callable[[Any, str], Responses]:
    table = _sample(pq.read_table(splits / "test.parquet", schema=EXAMPLES))
    references = table["answer"].to_pylist()
    pairs = zip(table["note_text"].to_pylist(), table["instruction"].to_pylist(), strict=True)
    questions = [Question(note, instruction) for note, instruction in pairs]

    def respond(generator: Generator, title: str) -> Responses:
        likelihoods, answers = [], []
        for batch in _batches(len(questions), title):
            sums, tokens = generator.answer_losses(questions[batch], references[batch])
            likelihoods.append(-sums / tokens)
        for batch in _batches(min(MAX_ANSWERS, len(questions)), f"{title}, answers"):
            answers += [answer.tokens for answer in generator.answers(questions[batch])]
        return Responses(np.concatenate(likelihoods), answers)

    return respond


def _classify_responses(splits: Path) -> Callable[[Any, str], Responses]:
    table = _sample(read_split(splits, "test"))
    texts = table["text"].to_pylist()

    def respond(classifier: Classifier, title: str) -> Responses:
        batches = [classifier.logits(classifier.tokenize(texts[batch])) for batch in _batches(len(texts), title)]
        logits = np.concatenate(batches)
        counts = label_counts(table, classifier.card.labels)
        return Responses((logits * counts).sum(axis=1) / counts.sum(axis=1), logits.argmax(axis=1).tolist())

    return respond


def _sample(table: pa.Table) -> pa.Table:
    """All rows, or MAX_EXAMPLES drawn with a fixed seed."""
    return table.take(np.sort(np.random.default_rng(0).permutation(len(table))[:MAX_EXAMPLES]))


def _batches(rows: int, title: str) -> Iterator[slice]:
    """Slices of `rows` rows, with a progress bar on a terminal."""
    console, quiet = Console(stderr=True), not sys.stderr.isatty()
    for start in track(range(0, rows, _BATCH_SIZE), title, console=console, transient=True, disable=quiet):
        yield slice(start, min(start + _BATCH_SIZE, rows))
