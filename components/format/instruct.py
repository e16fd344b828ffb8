"""Notes, triples and preference pairs -> tokens, split by cluster of notes into train, validation and test."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.artifacts.step_record import log
from clinadapt.config.instruct import BUILTIN_LLAMA, Examples
from clinadapt.data.schemas.instruct import CORPUS, EXAMPLES, PREFERENCES, PREFERRED, TRIPLES
from clinadapt.data.splits import Sides, assign, shared_clusters
from clinadapt.data.tables import SPLITS, TableWriter, batched, new_folder, open_tables, read_rows
from clinadapt.errors import UserError
from clinadapt.models.base_model import fetch_tokenizer
from clinadapt.models.chat_template import Question, Template, load_tokenizer
from clinadapt.storage.object_store import Store
from components.format.token_cache import KeptTokens, pieces
from components.format.tokenizer_training import train_tokenizer

BATCH = 512  # rows that are tokenised together
PROMPT_SHARE = 0.25  # of the length, at least, is left for note and instruction
YIELD = ("teacher", "cases", "notes_from_cases", "rows_not_asked", "triples", "triples_ready", "quarantined", "dropped")
Row = dict[str, Any]


def run(
    triples: Path, output: Path, settings: Examples, base_model: str, vocabulary: int, corpus: bool, store: Store
) -> dict[str, Any]:
    """Write train, validation and test.parquet (schema EXAMPLES), preferences.parquet (PREFERRED), the tokenizer with
    its chat template, and the manifest; return the manifest.

    Args:
        triples: what synthesize wrote: notes (TEXTS), triples (TRIPLES) and preferences.parquet (PREFERENCES).
        base_model: whose tokenizer is used; for builtin://llama one is made from the train side.
        vocabulary: tokens of the one that is made.
        corpus: whether corpus.parquet (CORPUS) is written too: pretrain reads it.
        store: where tokens are kept for a later run; those of a tokenizer that is made here serve none.

    Raises:
        UserError: the base model cannot be had or its tokenizer not be used, or a side of the split is empty.
    """
    source = read_json(triples / MANIFEST)
    sides = assign(triples, settings)
    with new_folder(output):
        if base_model == BUILTIN_LLAMA:
            train_tokenizer(_train_texts(triples, sides), vocabulary, output / "tokenizer")
            tokenizer = load_tokenizer(output / "tokenizer")
        else:
            tokenizer = load_tokenizer(fetch_tokenizer(base_model))
        tokenizer.save_pretrained(output / "tokenizer")
        template, counts = Template(tokenizer), _Counts()
        kept = KeptTokens(store, template, settings.max_length) if base_model != BUILTIN_LLAMA else None
        schemas = {**dict.fromkeys(SPLITS, EXAMPLES), "preferences": PREFERRED} | ({"corpus": CORPUS} if corpus else {})
        with open_tables(output, **schemas) as tables:
            _examples(triples, sides, template, settings, kept, tables, counts)
            _preferences(triples, sides, template, settings, tables["preferences"], counts)
            _refuse_empty(tables, sides)
            if corpus:
                _corpus(triples, sides, tokenizer, tables["corpus"])
            rows = {name: table.rows for name, table in tables.items()}
        facts = {
            "source": source["source"],
            "dataset_digest": source["digest"],
            "synthesis": {name: source[name] for name in YIELD},
            "notes": len(sides.notes),
            "clusters": int(sides.cluster.max()) + 1,
            "largest_cluster": int(np.bincount(sides.cluster).max()),
            "shared_clusters": shared_clusters(sides),
            "rows": rows,
            **counts.facts(),
            "base_model": base_model,
            "settings": settings.model_dump(),
        }
        return write_manifest(output, facts, "format", {"dataset": source["digest"]}, [source])


@dataclass
class _Counts:
    """What became of the rows."""

    dropped: Counter[str] = field(default_factory=Counter)
    tasks: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in SPLITS})
    answerable: Counter[str] = field(default_factory=Counter)
    tokens: dict[str, list[tuple[int, int, int]]] = field(default_factory=lambda: {name: [] for name in SPLITS})

    def facts(self) -> dict[str, Any]:
        """Of `tokens` per side: of whole examples, of their answers, and those lost from how many trimmed notes."""
        return {
            "tasks": sorted(set().union(*self.tasks.values())),
            "task_mix": {name: dict(sorted(mix.items())) for name, mix in self.tasks.items()},
            "answerable": {name: self.answerable[name] / max(1, mix.total()) for name, mix in self.tasks.items()},
            "dropped": dict(self.dropped.most_common()),
            "tokens": {name: _statistics(np.array(rows)) for name, rows in self.tokens.items()},
        }


def _statistics(rows: np.ndarray) -> dict[str, Any]:
    examples, answers, lost = rows.T
    return {
        "total": int(examples.sum()),
        "median": float(np.median(examples)),
        "p90": float(np.percentile(examples, 90)),
        "max": int(examples.max()),
        "answers": int(answers.sum()),
        "trimmed_rows": int((lost > 0).sum()),
        "lost": int(lost.sum()),
    }


def _examples(
    folder: Path,
    sides: Sides,
    template: Template,
    settings: Examples,
    kept: KeptTokens | None,
    tables: dict[str, TableWriter],
    counts: _Counts,
) -> None:
    seen: set[bytes] = set()
    rows = zip(sides.rows["triples"], read_rows(folder / "triples.parquet", TRIPLES.names), strict=True)
    for piece in pieces(_different(rows, seen, counts), sides.notes):
        asked = [(*_question(row, sides.side[number]), row["answer"]) for number, row in piece]
        make = partial(_tokens, template, asked, settings.max_length)
        made = kept.rows(asked, make) if kept else make()
        for (number, row), (prompt, answer, lost, dropped) in zip(piece, made, strict=True):
            if dropped:
                counts.dropped[dropped] += 1
                continue
            side = sides.side[number]
            told = (row["note"], row["instruction"], row["answer"]) if side != "train" else (None, None, None)
            tables[side].add(
                (
                    row["source"],
                    row["row"],
                    sides.notes[number],
                    sides.cluster[number],
                    row["task"],
                    row["answerable"],
                    row["check"],
                    row["private"],
                    prompt + answer,
                    len(prompt),
                    lost,
                    *told,
                )
            )
            counts.tasks[side][row["task"]] += 1
            counts.answerable[side] += row["answerable"]
            counts.tokens[side].append((len(prompt) + len(answer), len(answer), lost))
    if kept:
        log("format", f"{kept.new} rows tokenised, {kept.reused} found as tokens in the store")


def _tokens(template: Template, asked: list[tuple[Any, ...]], length: int) -> list[tuple[Any, ...]]:
    """Rows of ENCODED. `asked`: note, instruction, characters of the note to keep, answer."""
    answers = template.encode_answers([answer for *_, answer in asked])
    short = [i for i, answer in enumerate(answers) if len(answer) <= length * (1 - PROMPT_SHARE)]
    questions = [Question(*asked[i][:-1]) for i in short]
    prompts = template.fit_prompts(questions, [length - len(answers[i]) for i in short], share_notes=True)
    found: list[tuple[Any, ...]] = [([], [], 0, "answer too long")] * len(asked)
    for i, prompt in zip(short, prompts, strict=True):
        if prompt:
            found[i] = (prompt.input_ids, answers[i], prompt.trimmed_tokens, None)
        else:
            found[i] = ([], [], 0, "instruction too long")
    return found


def _different(rows: Iterator[tuple[int, Row]], seen: set[bytes], counts: _Counts) -> Iterator[tuple[int, Row]]:
    """Rows without those that ask the same of the same note once more."""
    for number, row in rows:
        key = hashlib.sha256(f"{number} {row['instruction']}".encode()).digest()[:16]
        if key in seen:
            counts.dropped["note and instruction repeated"] += 1
        else:
            seen.add(key)
            yield number, row


def _question(row: Row, side: str) -> Question:
    """What holds the answer is spared in training only: nobody knows it at prediction."""
    keep = [(span["start"], span["end"]) for span in row["spans"]] if side == "train" else []
    return Question(row["note"], row["instruction"], keep)


def _preferences(
    folder: Path, sides: Sides, template: Template, settings: Examples, table: TableWriter, counts: _Counts
) -> None:
    rows = zip(sides.rows["preferences"], read_rows(folder / "preferences.parquet", PREFERENCES.names), strict=True)
    for batch in batched(rows, BATCH):
        train = [(number, row) for number, row in batch if sides.side[number] == "train"]
        counts.dropped["preference about a held-out note"] += len(batch) - len(train)
        chosen, rejected = (template.encode_answers([row[key] for _, row in train]) for key in ("chosen", "rejected"))
        longest = [max(map(len, pair)) for pair in zip(chosen, rejected, strict=True)]
        questions = [Question(row["note"], row["instruction"]) for _, row in train]
        prompts = template.fit_prompts(questions, [settings.max_length - most for most in longest])
        for (number, row), prompt, most, *answers in zip(train, prompts, longest, chosen, rejected, strict=True):
            if prompt is None or most > settings.max_length * (1 - PROMPT_SHARE):
                counts.dropped["preference too long"] += 1
            else:
                table.add((row["source"], row["row"], sides.notes[number], prompt.input_ids, *answers))


def _corpus(folder: Path, sides: Sides, tokenizer: Any, table: TableWriter) -> None:
    """Every different note of the train and validation sides, as pretrain reads it: with the tokenizer's own
    beginning, and end-of-sequence behind it."""
    backend, end = tokenizer.backend_tokenizer, tokenizer.eos_token_id
    held_in = ((number, text) for number, text in _notes(folder, sides) if sides.side[number] != "test")
    for batch in batched(held_in, BATCH):
        for (number, _), encoding in zip(batch, backend.encode_batch_fast([text for _, text in batch]), strict=True):
            ids = encoding.ids if encoding.ids[-1] == end else [*encoding.ids, end]
            table.add((sides.notes[number], sides.side[number], ids))


def _notes(folder: Path, sides: Sides) -> Iterator[tuple[int, str]]:
    """Number and text of every different note; an instruction that stands for its note is none."""
    seen: set[int] = set()
    for name, column in (("notes", "text"), ("triples", "note")):
        for number, row in zip(sides.rows[name], read_rows(folder / f"{name}.parquet", [column]), strict=True):
            if row[column] and number not in seen:
                seen.add(number)
                yield number, row[column]


def _train_texts(folder: Path, sides: Sides) -> Iterator[str]:
    """Instructions and answers before the notes, which may be too many to be read to their end."""
    columns = ["instruction", "answer"]
    for number, row in zip(sides.rows["triples"], read_rows(folder / "triples.parquet", columns), strict=True):
        if sides.side[number] == "train":
            yield from row.values()
    yield from (text for number, text in _notes(folder, sides) if sides.side[number] == "train")


def _refuse_empty(tables: dict[str, TableWriter], sides: Sides) -> None:
    for name in SPLITS:
        if not tables[name].rows:
            raise UserError(
                f"no triple is left in {name}: the notes form {len(set(sides.cluster.tolist()))} clusters; "
                "add notes, or change the shares or the seed of the split"
            )
