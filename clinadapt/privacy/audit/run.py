"""Audit an instruct adapter: what of its training it remembers beyond its base model."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clinadapt.data.tables import iter_rows
from clinadapt.errors import UserError
from clinadapt.models.chat_template import Question
from clinadapt.privacy.audit.canaries import Canary, candidates, times
from clinadapt.privacy.audit.statistics import TrainingText, exposure, membership_auc, remembered, verdict

if TYPE_CHECKING:
    from clinadapt.models.generator import Generator

OTHERS = 255  # phrases that a canary is compared with
CONTINUATIONS = 200  # beginnings of training examples that are continued
_BEGINNING, _LENGTH = 64, 48  # tokens
_LONGEST = 64  # tokens of an answer that may be a canary
_ROOM = 8  # tokens that it may stand after
_MEMBERS = 400  # examples of a split whose loss is compared, at most


def audit(
    generator: Generator, listed: Sequence[Canary], seed: int, splits: Path, pretrained: bool = False
) -> dict[str, Any]:
    """Audit an adapter whose run trained the canaries along.

    Args:
        generator: the adapter on its base model.
        listed: the canaries.
        seed: of the canaries.
        splits: what the step format of the run wrote: train.parquet and test.parquet.
        pretrained: whether the run pretrained the base model on its notes. What is compared is then not the gain over
            the base model, which may remember them too, but the exposure itself, and the loss.

    Returns:
        `verdict`; `canaries`: by place and repeats, their gain in exposure over the base model (`trained`) and that of
        canaries that were not trained (`control`), how many are `extracted` by greedy decoding, and `in_training`, how
        often each stands in the training split on average, as some rows may be held out; `membership`: AUC;
        `continuations`: share with words of the training texts in a row, of the adapter's and of the base model's.

    Raises:
        UserError: the splits cannot be read, or no canary was trained.
    """
    train, held_out = (_examples(generator, splits, name, listed) for name in ("train", "test"))
    in_training = _in_training(generator, listed, splits)
    after, extracted = _exposures(generator, listed, seed), _extracted(generator, listed)
    losses, continued = _losses(generator, train, held_out), _continued(generator, train)
    with generator.without_adapter():
        before = _exposures(generator, listed, seed)
        base_losses, base_continued = _losses(generator, train, held_out), _continued(generator, train)
    gains = {canary: after[canary] - (0 if pretrained else before[canary]) for canary in listed}
    losses = losses if pretrained else [own - base for own, base in zip(losses, base_losses, strict=True)]
    groups = _groups(listed, gains, in_training, extracted)
    texts = TrainingText(_texts(generator, splits), secrets.token_bytes(32))
    return {
        "verdict": verdict(groups),
        "seed": seed,
        "canaries": groups,
        "membership": membership_auc(*losses),
        "continuations": {
            "written": len(continued),
            "adapter": texts.share(continued),
            "base": texts.share(base_continued),
        },
    }


def _groups(
    listed: Sequence[Canary],
    gains: dict[Canary, float],
    in_training: Counter[str],
    extracted: dict[Canary, bool],
) -> dict[str, dict[str, Any]]:
    """Figures of the canaries of a place and a number of repeats, by these."""
    groups: dict[str, dict[str, Any]] = {}
    for place in sorted({canary.place for canary in listed}):
        control = [gains[canary] for canary in listed if canary.place == place and not canary.repeats]
        for repeats in sorted({canary.repeats for canary in listed} - {0}):
            group = [canary for canary in listed if (canary.place, canary.repeats) == (place, repeats)]
            groups[f"{place}, {times(repeats)}"] = {
                **remembered([gains[canary] for canary in group], control),
                "repeats": repeats,
                "canaries": len(group),
                "in_training": sum(in_training[canary.phrase] for canary in group) / len(group),
                "extracted": sum(extracted[canary] for canary in group),
            }
    return groups


def _exposures(generator: Generator, listed: Sequence[Canary], seed: int) -> dict[Canary, float]:
    """Exposure of each canary as the answer to its instruction."""
    result = {}
    for canary in listed:
        phrases = [canary.phrase, *candidates(canary, OTHERS, seed)]
        sums, _ = generator.answer_losses([Question("", canary.instruction)] * len(phrases), phrases)
        result[canary] = exposure(float(sums[0]), sums[1:].tolist())
    return result


def _extracted(generator: Generator, listed: Sequence[Canary]) -> dict[Canary, bool]:
    """Whether the greedy answer to its instruction has the phrase, whose length depends on the tokenizer."""
    longest = max(map(len, generator.template.encode_answers([canary.phrase for canary in listed])))
    questions = [Question("", canary.instruction) for canary in listed]
    answers = generator.answers(questions, max_new_tokens=longest + _ROOM)
    return {canary: canary.phrase in answer.text.lower() for canary, answer in zip(listed, answers, strict=True)}


def _examples(generator: Generator, splits: Path, name: str, listed: Sequence[Canary]) -> list[tuple[list[int], int]]:
    """Tokens and length of the answer of examples that are no canaries, evenly over a split. Raises UserError if it
    cannot be read, or has none."""
    path = splits / f"{name}.parquet"
    if not path.is_file():
        raise UserError(
            f"{path.name} is missing in {splits.name}: name the folder `splits` that the step format of the run wrote"
        )
    phrases = {canary.phrase for canary in listed}
    rows = [
        number
        for number, row in enumerate(iter_rows(path, ["input_ids", "prompt_tokens"]))
        if _answer(generator, row) not in phrases
    ]
    if not rows:
        raise UserError(f"{path.name} in {splits.name} has no example: an audit needs some of either split")
    chosen = {rows[i] for i in np.linspace(0, len(rows) - 1, min(len(rows), _MEMBERS), dtype=int)}
    examples = enumerate(iter_rows(path, ["input_ids", "prompt_tokens"]))
    return [(row["input_ids"], len(row["input_ids"]) - row["prompt_tokens"]) for i, row in examples if i in chosen]


def _answer(generator: Generator, row: dict[str, Any]) -> str:
    """The answer of an example as a canary is written; empty for one that is too long to be a canary."""
    tokens = row["input_ids"][row["prompt_tokens"] :]
    text = generator.tokenizer.decode(tokens, skip_special_tokens=True) if len(tokens) <= _LONGEST else ""
    return text.strip().lower()


def _in_training(generator: Generator, listed: Sequence[Canary], splits: Path) -> Counter[str]:
    """How often each phrase is an answer in the training split. Raises UserError if none is."""
    rows = iter_rows(splits / "train.parquet", ["input_ids", "prompt_tokens"])
    counts = Counter(_answer(generator, row) for row in rows)
    if not any(canary.phrase in counts for canary in listed):
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
