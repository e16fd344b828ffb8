"""Split notes, triples and preference pairs into train, validation and test, and tokenize them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.config.instruct import BUILTIN_LLAMA, Examples
from clinadapt.data.schemas.feedback import FEEDBACK_FILE
from clinadapt.data.schemas.instruct import CORPUS, EXAMPLES, PREFERRED
from clinadapt.data.splits import NoteSplit, split_by_cluster
from clinadapt.data.tables import (
    SPLITS,
    TableWriter,
    batched,
    iter_rows,
    open_tables,
    output_folder,
    to_table,
    write_table,
)
from clinadapt.errors import UserError
from clinadapt.models.base_model import fetch_tokenizer
from clinadapt.models.chat_template import Template, load_tokenizer
from clinadapt.storage.object_store import Store
from components.format.canaries import write_canaries
from components.format.examples import BATCH, ExampleWriter
from components.format.feedback import feedback_summary
from components.format.question_check import check_questions
from components.format.token_cache import TokenCache
from components.format.tokenizer_training import MIN_PATIENTS, train_tokenizer

# Fields of the manifest of synthesize that the report shows
SYNTHESIS_FIELDS = (
    "teacher",
    "cases",
    "notes_from_cases",
    "rows_skipped",
    "notes_without_triples",
    "triples",
    "triples_ready",
    "quarantined",
    "unused",
    "decimal_comma",
    "dropped",
)


def run(
    dataset: Path,
    output: Path,
    settings: Examples,
    base_model: str,
    vocab_size: int,
    corpus: bool,
    store: Store,
    canaries: int | None = None,
) -> dict[str, Any]:
    """Format a dataset for training and evaluation.

    Args:
        dataset: the output of synthesize: notes (TEXTS), triples (TRIPLES) and preferences.parquet (PREFERENCES).
        output: gets train, validation and test.parquet (schema EXAMPLES), preferences.parquet (PREFERRED), the
            tokenizer with its chat template, the manifest, and feedback.parquet of corrections that are trained on.
        settings: of the split and the examples.
        base_model: URI of the model whose tokenizer is used; for builtin://llama one is trained on the training notes.
        vocab_size: of the tokenizer that is trained.
        corpus: whether to write corpus.parquet (CORPUS) for pretraining.
        store: caches tokens, unless the tokenizer is trained here.
        canaries: seed of those that are trained along (clinadapt.privacy.audit); None for none.

    Returns:
        The manifest.

    Raises:
        UserError: the base model cannot be fetched, its tokenizer cannot be used, or a split has no triple.
    """
    source = read_json(dataset / MANIFEST)
    split = split_by_cluster(dataset, settings)
    with output_folder(output):
        template = Template(_tokenizer(dataset, split, base_model, vocab_size, output / "tokenizer"))
        cache = None if base_model == BUILTIN_LLAMA else TokenCache(store, template, settings.max_length)
        schemas = {**dict.fromkeys(SPLITS, EXAMPLES), "preferences": PREFERRED} | ({"corpus": CORPUS} if corpus else {})
        with open_tables(output, **schemas) as tables:
            examples = ExampleWriter(split, template, settings.max_length, tables)
            examples.write_triples(dataset, cache)
            examples.write_preferences(dataset)
            _refuse_empty(tables, split)
            if corpus:
                _write_corpus(dataset, split, template.tokenizer, tables["corpus"])
            trained_along = write_canaries(canaries, template, settings.max_length, tables)
        _write_corrections(examples.corrections, output)
        summary = {
            "source": source["source"],
            "dataset_digest": source["digest"],
            "synthesis": {name: source[name] for name in SYNTHESIS_FIELDS},
            **_counts(split, tables),
            "origin": source["origin"],
            "phi": source.get("phi", {}),
            "feedback": feedback_summary(source.get("feedback", []), examples.feedback()),
            "question_check": check_questions(dataset, split, settings.seed),
            **examples.summary(),
            "base_model": base_model,
            "tokenizer_from_notes": {"min_patients": MIN_PATIENTS} if base_model == BUILTIN_LLAMA else None,
            "settings": settings.model_dump(),
            **trained_along,
        }
        return write_manifest(output, summary, "format", {"dataset": source["digest"]}, [source])


def _tokenizer(dataset: Path, split: NoteSplit, base_model: str, vocab_size: int, folder: Path) -> Any:
    """The base model's tokenizer, or for builtin://llama one that is trained on the training notes; saved to a
    folder."""
    if base_model == BUILTIN_LLAMA:
        train_tokenizer(_training_texts(dataset, split), vocab_size, folder)
    tokenizer = load_tokenizer(folder if base_model == BUILTIN_LLAMA else fetch_tokenizer(base_model))
    tokenizer.save_pretrained(folder)
    return tokenizer


def _counts(split: NoteSplit, tables: dict[str, TableWriter]) -> dict[str, Any]:
    """What the manifest records of notes and what joined them, and of the rows of tables."""
    return {
        "rows": {name: table.rows for name, table in tables.items()},
        "notes": len(split.note_ids) - len(split.feedback.left_out),
        "clusters": int(split.clusters.max()) + 1,
        "largest_cluster": int(np.bincount(split.clusters).max()),
        "shared_clusters": split.shared_clusters(),
        **{name: getattr(split, name) for name in ("patients", "joined", "by_time")},
    }


def _write_corrections(rows: list[tuple[Any, ...]], output: Path) -> None:
    if rows:
        write_table(to_table(rows, EXAMPLES), output / FEEDBACK_FILE)


def _refuse_empty(tables: dict[str, TableWriter], split: NoteSplit) -> None:
    for name in SPLITS:
        if not tables[name].rows:
            largest = int(np.bincount(split.clusters).max())
            raise UserError(
                f"no triple in the {name} split: the notes form {len(set(split.clusters.tolist()))} clusters, the "
                f"largest of {largest} of {len(split.clusters)} notes: add notes, name their patients with --patient "
                "or cut out a template that they share, or change the shares or the seed of the split"
            )


def _write_corpus(dataset: Path, split: NoteSplit, tokenizer: Any, table: TableWriter) -> None:
    """Tokenize every different note of train and validation for pretraining, with end-of-sequence at its end."""
    backend, eos = tokenizer.backend_tokenizer, tokenizer.eos_token_id
    notes = (
        (number, text) for number, text in _notes(dataset, split) if split.splits[number] in ("train", "validation")
    )
    for batch in batched(notes, BATCH):
        for (number, _), encoding in zip(batch, backend.encode_batch_fast([text for _, text in batch]), strict=True):
            ids = encoding.ids if encoding.ids[-1] == eos else [*encoding.ids, eos]
            table.add((split.note_ids[number], split.splits[number], ids))


def _notes(dataset: Path, split: NoteSplit) -> Iterator[tuple[int, str]]:
    """Number and text of every different note; instructions without a note are skipped."""
    seen: set[int] = set()
    for name, column in (("notes", "text"), ("triples", "note_text")):
        for number, row in zip(split.rows[name], iter_rows(dataset / f"{name}.parquet", [column]), strict=True):
            if row[column] and number not in seen:
                seen.add(number)
                yield number, row[column]


def _training_texts(dataset: Path, split: NoteSplit) -> Iterator[tuple[int, str]]:
    """Cluster and text of what a tokenizer is trained on: instructions and answers first, as the notes may exceed its
    limit."""
    columns = ["instruction", "answer"]
    for number, row in zip(split.rows["triples"], iter_rows(dataset / "triples.parquet", columns), strict=True):
        if split.splits[number] == "train":
            yield from ((int(split.clusters[number]), text) for text in row.values())
    for number, text in _notes(dataset, split):
        if split.splits[number] == "train":
            yield int(split.clusters[number]), text
