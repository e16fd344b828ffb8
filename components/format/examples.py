"""Tokenize triples and preference pairs into the tables of their split."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from clinadapt.artifacts.step_record import log
from clinadapt.data.duplicates import normal_form
from clinadapt.data.note_links import LEFT_OUT
from clinadapt.data.schemas.instruct import PREFERENCES, TRIPLES
from clinadapt.data.splits import NoteSplit
from clinadapt.data.tables import SPLITS, TableWriter, batched, iter_rows
from clinadapt.models.chat_template import Question, Template
from components.format.token_cache import Encoded, NumberedRow, TokenCache, chunk_by_note

BATCH = 512  # rows tokenized at a time
PROMPT_SHARE = 0.25  # of max_length: room for note and instruction that an answer must leave


class ExampleWriter:
    """Writes examples (schema EXAMPLES) and preference pairs (PREFERRED), and counts what became of the rows.

    Attributes:
        corrections: the training rows that are corrections of people, with their texts, of schema EXAMPLES.
    """

    def __init__(self, split: NoteSplit, template: Template, max_length: int, tables: dict[str, TableWriter]) -> None:
        """`tables` has one table per split, and `preferences`."""
        self._split, self._template, self._max_length, self._tables = split, template, max_length, tables
        self._dropped: Counter[str] = Counter()  # by reason
        self._tasks: dict[str, Counter[str]] = {name: Counter() for name in SPLITS}
        self._answerable: Counter[str] = Counter()  # by split
        self._tokens: dict[str, list[tuple[int, int, int]]] = {name: [] for name in SPLITS}  # example, answer, lost
        self._corrected: Counter[str] = Counter()  # corrections that are trained on, by kind
        self._not_taught: Counter[str] = Counter()  # corrections that are not, by reason
        self._pairs = 0  # of a correction and the answer that it corrects
        self.corrections: list[tuple[Any, ...]] = []

    def write_triples(self, folder: Path, cache: TokenCache | None) -> None:
        """Tokenize triples.parquet, and write each to the table of its split."""
        rows = zip(self._split.rows["triples"], iter_rows(folder / "triples.parquet", TRIPLES.names), strict=True)
        for chunk in chunk_by_note(self._usable(rows), self._split.note_ids):
            triples = [(self._question(number, row), row["answer"]) for number, row in chunk]
            tokenize = partial(tokenize_triples, self._template, triples, self._max_length)
            for (number, row), encoded in zip(
                chunk, cache.get(triples, tokenize) if cache else tokenize(), strict=True
            ):
                self._write_example(number, row, encoded)
        if cache:
            log("format", f"{cache.misses} rows tokenized, tokens of {cache.hits} rows loaded from the cache")

    def _usable(self, rows: Iterable[NumberedRow]) -> Iterator[NumberedRow]:
        """Drop rows that repeat an instruction about the same note, those whose answer people corrected, and those of
        notes in no split."""
        seen: set[bytes] = set()
        for number, row in rows:
            if self._split.splits[number] == LEFT_OUT:
                if reason := self._split.feedback.left_out.get(number):
                    self._not_taught[reason] += 1
                else:
                    self._dropped["note without a date, in a split by time"] += 1
                continue
            if self._is_corrected(number, row):
                self._dropped["the answer was corrected by people"] += 1
                continue
            key = hashlib.sha256(f"{number} {row['instruction']}".encode()).digest()[:16]
            if key in seen:
                self._dropped["note and instruction repeated"] += 1
                if self._correction(row):
                    self._not_taught["repeated in another source"] += 1
            else:
                seen.add(key)
                yield number, row

    def _correction(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """What is recorded of a row with a correction, of schema CORRECTIONS; None of any other row."""
        return self._split.feedback.corrections.get((row["source"], row["row"]))

    def _is_corrected(self, number: int, row: dict[str, Any]) -> bool:
        """Whether people corrected the answer of a row that is no correction itself."""
        instructions = self._split.feedback.corrected.get(number, set())
        return bool(instructions) and not self._correction(row) and normal_form(row["instruction"]) in instructions

    def _question(self, number: int, row: dict[str, Any]) -> Question:
        """Trimming spares the evidence of the answer in training only: it is unknown at prediction."""
        train = self._split.splits[number] == "train"
        spans = [(span["start"], span["end"]) for span in row["spans"]] if train else []
        return Question(row["note_text"], row["instruction"], spans)

    def _write_example(self, number: int, row: dict[str, Any], encoded: Encoded) -> None:
        correction = self._correction(row)
        if encoded.dropped:
            self._dropped[encoded.dropped] += 1
            if correction:
                self._not_taught[encoded.dropped] += 1
            return
        split, answer_tokens = self._split.splits[number], len(encoded.answer_ids)
        input_ids = encoded.prompt_ids + encoded.answer_ids
        texts = (row["note_text"], row["instruction"], row["answer"])
        example = (
            row["source"],
            row["row"],
            self._split.note_ids[number],
            self._split.clusters[number],
            row["task"],
            row["answerable"],
            row["check"],
            row["private"],
            row["specialty"],
            row["sex"],
            row["age_band"],
            input_ids,
            len(encoded.prompt_ids),
            encoded.trimmed_tokens,
        )
        self._tables[split].add((*example, *((None, None, None) if split == "train" else texts)))
        if correction:
            self._corrected[correction["kind"]] += 1
            self.corrections.append((*example, *texts))
        self._tasks[split][row["task"]] += 1
        self._answerable[split] += row["answerable"]
        self._tokens[split].append((len(input_ids), answer_tokens, encoded.trimmed_tokens))

    def write_preferences(self, folder: Path) -> None:
        """Tokenize the pairs of preferences.parquet about training notes."""
        rows = zip(
            self._split.rows["preferences"], iter_rows(folder / "preferences.parquet", PREFERENCES.names), strict=True
        )
        for batch in batched(rows, BATCH):
            train = [(number, row) for number, row in batch if self._split.splits[number] == "train"]
            self._dropped["preference about a held-out note"] += len(batch) - len(train)
            chosen, rejected = (
                self._template.encode_answers([row[k] for _, row in train]) for k in ("chosen", "rejected")
            )
            longest = [max(map(len, pair)) for pair in zip(chosen, rejected, strict=True)]
            questions = [Question(row["note_text"], row["instruction"]) for _, row in train]
            prompts = self._template.fit_prompts(questions, [self._max_length - tokens for tokens in longest])
            for (number, row), prompt, tokens, *answers in zip(train, prompts, longest, chosen, rejected, strict=True):
                if prompt is None or tokens > self._max_length * (1 - PROMPT_SHARE):
                    self._dropped["preference too long"] += 1
                else:
                    note_id = self._split.note_ids[number]
                    self._tables["preferences"].add((row["source"], row["row"], note_id, prompt.input_ids, *answers))
                    self._pairs += self._correction(row) is not None

    def feedback(self) -> dict[str, Any]:
        """Corrections that are trained on, by kind as `used`, pairs of these as `pairs`, and others by reason as
        `left_out`."""
        return {
            "used": dict(sorted(self._corrected.items())),
            "pairs": self._pairs,
            "left_out": dict(sorted(self._not_taught.items())),
        }

    def summary(self) -> dict[str, Any]:
        """Fields of the manifest: tasks, rows by task, share of answerable rows, dropped rows by reason, and tokens."""
        return {
            "tasks": sorted(set().union(*self._tasks.values())),
            "task_mix": {name: dict(sorted(mix.items())) for name, mix in self._tasks.items()},
            "answerable": {name: self._answerable[name] / max(1, mix.total()) for name, mix in self._tasks.items()},
            "dropped": dict(self._dropped.most_common()),
            "tokens": {name: _token_statistics(np.array(rows)) for name, rows in self._tokens.items()},
        }


def tokenize_triples(template: Template, triples: Sequence[tuple[Question, str]], max_length: int) -> list[Encoded]:
    """Tokenize questions with their answers, in at most `max_length` tokens each."""
    answers = template.encode_answers([answer for _, answer in triples])
    short = [i for i, answer in enumerate(answers) if len(answer) <= max_length * (1 - PROMPT_SHARE)]
    questions = [triples[i][0] for i in short]
    prompts = template.fit_prompts(questions, [max_length - len(answers[i]) for i in short], share_notes=True)
    encoded = [Encoded([], [], 0, "answer too long")] * len(triples)
    for i, prompt in zip(short, prompts, strict=True):
        if prompt:
            encoded[i] = Encoded(prompt.input_ids, answers[i], prompt.trimmed_tokens)
        else:
            encoded[i] = Encoded([], [], 0, "instruction too long")
    return encoded


def _token_statistics(rows: np.ndarray) -> dict[str, Any]:
    """Token counts of a split, given those of examples, answers and trimmed tokens, shape (examples, 3)."""
    examples, answers, lost = rows.T
    return {
        "total": int(examples.sum()),
        "median": float(np.median(examples)),
        "p90": float(np.percentile(examples, 90)),
        "max": int(examples.max()),
        "answer_tokens": int(answers.sum()),
        "trimmed_rows": int((lost > 0).sum()),
        "trimmed_tokens": int(lost.sum()),
    }
