"""Audit an instruct adapter: what of its training it remembers beyond its base model."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from clinadapt.data.tables import iter_rows
from clinadapt.errors import UserError
from clinadapt.models.chat_template import Question
from clinadapt.privacy.audit.canaries import Canary, candidates
from clinadapt.privacy.audit.statistics import TrainingText, exposure, membership_auc, remembered, verdict

if TYPE_CHECKING:
    from clinadapt.models.generator import Generator

OTHERS = 255  # phrases that a canary is compared with
CONTINUATIONS = 200  # beginnings of training examples that are continued
_BEGINNING, _LENGTH = 64, 48  # tokens
_LONGEST = 64  # tokens of an answer that may be a canary
_MEMBERS = 400  # examples of a split whose loss is compared, at most


def audit(generator: Generator, listed: Sequence[Canary], seed: int, splits: Path) -> dict[str, Any]:
    """Audit an adapter whose run had the canaries among its sources.

    Args:
        generator: the adapter on its base model.
        listed: the canaries.
        seed: of the canaries.
        splits: what the step format of the run wrote: train.parquet and test.parquet.

    Returns:
        `verdict`; `canaries`: by place and repeats, their gain in exposure over the base model and over that of
        canaries that were not trained, how many are `extracted` by greedy decoding, and `in_training`, how often each
        stands in the training split on average, as some rows are held out; `membership`: AUC;
        `continuations`: share with words of the training texts in a row, of the adapter's and of the base model's.

    Raises:
        UserError: the splits cannot be read, or no canary was trained.
    """
    train, held_out = (_examples(splits, name) for name in ("train", "test"))
    in_training = _in_training(generator, listed, splits)
    after, extracted = _exposures(generator, listed, seed), _extracted(generator, listed)
    losses, continued = _losses(generator, train, held_out), _continued(generator, train)
    with generator.without_adapter():
        before = _exposures(generator, listed, seed)
        base_losses, base_continued = _losses(generator, train, held_out), _continued(generator, train)
    gains = {canary: after[canary] - before[canary] for canary in listed}
    groups: dict[str, dict[str, Any]] = {}
    for place in sorted({canary.place for canary in listed}):
        control = [gains[canary] for canary in listed if canary.place == place and not canary.repeats]
        for repeats in sorted({canary.repeats for canary in listed} - {0}):
            group = [canary for canary in listed if (canary.place, canary.repeats) == (place, repeats)]
            test = remembered([gains[canary] for canary in group], control)
            groups[f"{place}, {repeats} times"] = {
                **test,
                "canaries": len(group),
                "in_training": sum(in_training[canary.phrase] for canary in group) / len(group),
                "extracted": sum(extracted[canary] for canary in group),
            }
    texts = TrainingText(_texts(generator, splits), secrets.token_bytes(32))
    return {
        "verdict": verdict(groups),
        "seed": seed,
        "canaries": groups,
        "membership": membership_auc(*(after - before for after, before in zip(losses, base_losses, strict=True))),
        "continuations": {
            "written": len(continued),
            "adapter": texts.share(continued),
            "base": texts.share(base_continued),
        },
    }


def _exposures(generator: Generator, listed: Sequence[Canary], seed: int) -> dict[Canary, float]:
    """Exposure of each canary as the answer to its instruction."""
    result = {}
    for canary in listed:
        phrases = [canary.phrase, *candidates(canary, OTHERS, seed)]
        sums, _ = generator.answer_losses([Question("", canary.instruction)] * len(phrases), phrases)
        result[canary] = exposure(float(sums[0]), sums[1:].tolist())
    return result


def _extracted(generator: Generator, listed: Sequence[Canary]) -> dict[Canary, bool]:
    """Whether the greedy answer to its instruction has the phrase."""
    answers = generator.answers([Question("", canary.instruction) for canary in listed], max_new_tokens=16)
    return {canary: canary.phrase in answer.text.lower() for canary, answer in zip(listed, answers, strict=True)}


def _examples(splits: Path, name: str) -> list[tuple[list[int], int]]:
    """Tokens and length of the answer of examples, evenly over a split. Raises UserError if it cannot be read."""
    path = splits / f"{name}.parquet"
    if not path.is_file():
        raise UserError(
            f"{path.name} is missing in {splits.name}: name the folder `splits` that the step format of the run wrote"
        )
    rows = pq.ParquetFile(path).metadata.num_rows
    if not rows:
        raise UserError(f"{path.name} in {splits.name} has no example: an audit needs some of either split")
    chosen = set(np.linspace(0, rows - 1, min(rows, _MEMBERS), dtype=int).tolist())
    examples = enumerate(iter_rows(path, ["input_ids", "prompt_tokens"]))
    return [(row["input_ids"], len(row["input_ids"]) - row["prompt_tokens"]) for i, row in examples if i in chosen]


def _in_training(generator: Generator, listed: Sequence[Canary], splits: Path) -> Counter[str]:
    """How often each phrase is an answer in the training split. Raises UserError if none is."""
    phrases, counts = {canary.phrase for canary in listed}, Counter[str]()
    for row in iter_rows(splits / "train.parquet", ["input_ids", "prompt_tokens"]):
        tokens = row["input_ids"][row["prompt_tokens"] :]
        if len(tokens) <= _LONGEST:
            counts[generator.tokenizer.decode(tokens, skip_special_tokens=True).strip().lower()] += 1
    if not phrases & counts.keys():
        raise UserError(
            f"the training examples in {splits.name} have none of these canaries: name the splits of the run that "
            "trained them, and its list"
        )
    return counts


def _losses(generator: Generator, *splits: Sequence[tuple[list[int], int]]) -> list[np.ndarray]:
    """Loss per token of the answers of each split."""
    return [
        generator.row_losses([row for row, _ in split], [length for _, length in split])
        / [length for _, length in split]
        for split in splits
    ]


def _continued(generator: Generator, examples: Sequence[tuple[list[int], int]]) -> list[str]:
    """What is written after the beginnings of examples."""
    rows = [row[:_BEGINNING] for row, _ in examples[:CONTINUATIONS] if len(row) > _BEGINNING]
    return [generator.tokenizer.decode(row, skip_special_tokens=True) for row in generator.continuations(rows, _LENGTH)]


def _texts(generator: Generator, splits: Path) -> Iterator[str]:
    """The text of each example of the training split after its beginning."""
    for row in iter_rows(splits / "train.parquet", ["input_ids"]):
        yield generator.tokenizer.decode(row["input_ids"][_BEGINNING:], skip_special_tokens=True)
