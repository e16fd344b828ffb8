"""Preference pairs from an adapter's own mistakes: what it answers to training questions, against the right answers.

The rejected answers are drawn from the model that is trained, as in online DPO (Guo et al. 2024, arXiv:2402.04792),
here greedily, once, before the first step.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.artifacts.step_record import log
from clinadapt.clinical.claims import check
from clinadapt.clinical.refusals import is_refusal
from clinadapt.config.instruct import PreferenceTraining
from clinadapt.data.tables import batched
from clinadapt.models.chat_template import Question
from clinadapt.models.generator import Generator
from components.train.stage import read_table

NOTES_AT_ONCE, QUESTIONS_AT_ONCE = 8, 16
MISTAKES = ("wrongly_refused", "wrongly_answered", "unsupported", "empty")
COLUMNS = ["source", "note_id", "answerable", "input_ids", "prompt_tokens"]
Row = dict[str, Any]  # of COLUMNS


def own_mistakes(splits: Path, adapter: Path, settings: PreferenceTraining) -> tuple[pa.Table, dict[str, int]]:
    """Answer training questions, and pair each mistake with the right answer.

    A mistake is a refusal of what the note answers, an answer to what it does not, an empty answer, or a claim that
    the note does not support and the right answer does not make. Canaries of an audit are not asked, nor prompts so
    long that no room is left for an answer.

    Args:
        splits: the folder that format wrote.
        adapter: the folder that instruct wrote.
        settings: of the stage; notes are drawn with its seed and asked all their questions, until `own_answers` are.

    Returns:
        (pairs with the columns prompt_ids, chosen_ids and rejected_ids; counts: asked, and MISTAKES by kind)
    """
    generator = Generator(adapter)
    commas = read_json(splits / MANIFEST)["synthesis"]["decimal_comma"]
    counts = dict.fromkeys(("asked", *MISTAKES), 0)
    pairs: dict[str, list[list[int]]] = {"prompt_ids": [], "chosen_ids": [], "rejected_ids": []}
    examples = read_table(splits, "train.parquet").select(COLUMNS)
    longest = generator.card.max_length - generator.card.max_new_tokens
    examples = examples.filter((pc.field("source") >= 0) & (pc.field("prompt_tokens") <= longest))
    notes = _drawn_notes(examples, settings.own_answers, settings.seed)
    log("prefer", f"the adapter answers {sum(map(len, notes)):,} training questions")
    for row, answer in _answered(generator, notes):
        counts["asked"] += 1
        prompt, chosen = _prompt(row), row["input_ids"][row["prompt_tokens"] :]
        right = generator.tokenizer.decode(chosen, skip_special_tokens=True)
        asked = generator.template.parse(prompt)
        if kind := mistake(row["answerable"], answer, right, asked, row["source"] in commas):
            counts[kind] += 1
            (rejected,) = generator.template.encode_answers([answer])
            for name, ids in zip(pairs, (prompt, chosen, rejected), strict=True):
                pairs[name].append(ids)
    log("prefer", "mistakes: " + ", ".join(f"{counts[kind]} {kind.replace('_', ' ')}" for kind in MISTAKES))
    return pa.table(pairs, schema=pa.schema(dict.fromkeys(pairs, pa.list_(pa.int32())))), counts


def _answered(generator: Generator, notes: list[list[Row]]) -> Iterator[tuple[Row, str]]:
    """Each example with the adapter's answer to it."""
    for batch in batched(notes, NOTES_AT_ONCE):
        answers = generator.answer_prompts([list(map(_prompt, rows)) for rows in batch])
        for rows, written in zip(batch, answers, strict=True):
            yield from zip(rows, written, strict=True)


def _prompt(row: Row) -> list[int]:
    return list(row["input_ids"][: row["prompt_tokens"]])


def _drawn_notes(examples: pa.Table, questions: int, seed: int) -> list[list[Row]]:
    """The examples of notes drawn at random, until they have as many questions, by note, QUESTIONS_AT_ONCE at most."""
    by_note: dict[str, list[int]] = {}
    for i, note in enumerate(examples["note_id"].to_pylist()):
        by_note.setdefault(note, []).append(i)
    order = list(by_note)
    np.random.default_rng(seed).shuffle(order)
    ends = np.cumsum([len(by_note[note]) for note in order])
    drawn = order[: 1 + int(np.searchsorted(ends, questions))]
    groups = [group for note in drawn for group in batched(by_note[note], QUESTIONS_AT_ONCE)]
    return [examples.take(group).to_pylist() for group in groups]


def mistake(answerable: bool, answer: str, right: str, asked: Question, decimal_comma: bool) -> str | None:
    """What is wrong with an answer, of MISTAKES; None where nothing is."""
    if not answer:
        return "empty"
    refused = is_refusal(answer)
    if refused == answerable:
        return "wrongly_refused" if refused else "wrongly_answered"
    if refused:
        return None
    stated, claimed = (check(text, asked.note, asked.instruction, decimal_comma) for text in (right, answer))
    wrong = {each.claim.key for each in claimed if each.outcome != "supported"}
    return "unsupported" if wrong - {each.claim.key for each in stated} else None
