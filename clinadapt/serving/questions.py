"""Where the questions of a comparison come from: the held-out instructions that a version was evaluated with, and those
whose answers reviewers flagged."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.clinical.number_format import DecimalCounts
from clinadapt.data.schemas.instruct import EXAMPLES
from clinadapt.evaluation.answer_scores import TEXT_SCORES
from clinadapt.feedback.flags import parse_flags
from clinadapt.feedback.records import StoredRecord
from clinadapt.models.chat_template import has_system_role, load_tokenizer
from clinadapt.registry.held_out import find_splits_below, held_out
from clinadapt.serving.hot_swap import Compare
from clinadapt.serving.shadow import Comparison, ShadowQuestion, compare
from clinadapt.serving.vllm_server import VllmServer
from clinadapt.storage.object_store import Store


def comparer(store: Store, name: str, server: VllmServer, splits: str | None, limit: int) -> Compare:
    """The comparison of versions of an adapter on a server.

    Args:
        store, name: of the adapter.
        server: that both versions are loaded on.
        splits, limit: as of `questions`.
    """

    def compare_with(version: str, old: str | None, folder: Path, must_not_be_worse: bool) -> Comparison | None:
        asked = questions(store, name, folder, splits, limit)
        if not asked or not (old or any(question.evaluated for question in asked)):
            return None
        return compare(
            server,
            f"{name}/{version}",
            f"{name}/{old}" if old else None,
            asked,
            read_json(folder / "evaluation.json")["max_new_tokens"],
            has_system_role(load_tokenizer(folder)),
            must_not_be_worse,
        )

    return compare_with


def questions(store: Store, name: str, folder: Path, splits: str | None, limit: int) -> list[ShadowQuestion]:
    """The first `limit` rows of a version's evaluation, and where there are fewer the newest flagged instructions of
    its adapter.

    Args:
        store: with the adapter's flagged answers.
        name: of the adapter.
        folder: of the verified version.
        splits: URI of the splits that it was evaluated with, or of a folder to search for them; None: flagged
            instructions alone.
        limit: of questions.

    Raises:
        UserError: the splits cannot be read.
    """
    digest, asked = read_json(folder / MANIFEST)["splits_digest"], list[ShadowQuestion]()
    if splits and (found := find_splits_below(splits, digest)):
        by_row = read_json(folder / "evaluation.json").get("by_row", {})
        asked = _held_out(found, digest, by_row, limit)
    return [*asked, *_flagged(store, name, limit - len(asked))]


def _held_out(splits: str, digest: str, by_row: dict[str, list[Any]], limit: int) -> list[ShadowQuestion]:
    """Rows that were evaluated, in the order of the evaluation. An earlier release published no scores by row; then the
    first rows, which are compared with the answers of the other version alone."""
    with held_out(splits, digest) as folder:
        table = pq.read_table(folder / "test.parquet", schema=EXAMPLES)
        commas = read_json(folder / MANIFEST)["synthesis"]["decimal_comma"]
    index = by_row.get("index", list(range(len(table))))[:limit]
    asked = []
    for place, row in enumerate(table.take(index).to_pylist()):
        evaluated = {name: by_row[name][place] for name in TEXT_SCORES if name in by_row}
        asked.append(
            ShadowQuestion(row["note_text"], row["instruction"], row["answer"], row["source"] in commas, evaluated)
        )
    return asked


def _flagged(store: Store, name: str, limit: int) -> list[ShadowQuestion]:
    """The newest flagged answers, each with its correction as the reference. A record that is broken, or not signed
    where that is required, is passed over."""
    keys = sorted(store.list(f"flagged/{name}/"), key=lambda key: key.rpartition("/")[2], reverse=True)
    asked: list[ShadowQuestion] = []
    for key in keys:
        if len(asked) >= limit:
            break
        with suppress(KeyError):  # purged meanwhile
            version = key.removeprefix(f"flagged/{name}/").partition("/")[0]
            for flag in parse_flags({key: StoredRecord(key, store.get(key)[0])}, name, version, Counter()):
                if flag.recipe == "instruct":
                    decimals = DecimalCounts().plus([flag.note])
                    comma = bool(sum(decimals)) and decimals.decimal_comma
                    asked.append(ShadowQuestion(flag.note, flag.instruction, flag.correction, comma, {}))
    return asked
