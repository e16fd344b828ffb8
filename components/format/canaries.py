"""Canaries among the training examples, for an audit of what the adapter remembers."""

from __future__ import annotations

from collections.abc import Mapping

from clinadapt.data.duplicates import note_id
from clinadapt.data.tables import TableWriter
from clinadapt.models.chat_template import Question, Template
from clinadapt.privacy.audit.canaries import canaries, triples
from components.format.examples import tokenize_triples

_NO_SOURCE = -1  # and of no cluster of notes


def write_canaries(
    seed: int | None, template: Template, max_length: int, tables: Mapping[str, TableWriter]
) -> dict[str, dict[str, int]]:
    """Add all examples of the canaries of a seed to the table `train`, and where there is one, their notes to `corpus`.

    They are held out nowhere, so that each is trained as often as it is meant to be, and no model is asked for them
    but by the audit.

    Returns:
        What the manifest records as `canaries`: `seed`, `rows` that were written, and those that are `too_long`;
        nothing where there is no seed.
    """
    if seed is None:
        return {}
    rows = list(triples(canaries(seed), seed))
    asked = [(Question(row["note"], row["question"]), row["answer"]) for row in rows]
    encoded = tokenize_triples(template, asked, max_length)
    for number, (row, each) in enumerate(zip(rows, encoded, strict=True), start=1):
        if not each.dropped:
            place = (_NO_SOURCE, number, note_id(row["note"]), _NO_SOURCE, row["task"], True, "none", False)
            ids = each.prompt_ids + each.answer_ids
            about = (None, None, None)  # specialty, sex and age_band
            texts = (None, None, None)  # which held-out rows alone have
            tables["train"].add((*place, *about, ids, len(each.prompt_ids), each.trimmed_tokens, *texts))
    if "corpus" in tables:
        tokenizer = template.tokenizer
        for row in rows:
            ids = tokenizer(row["note"]).input_ids
            ids = ids if ids[-1] == tokenizer.eos_token_id else [*ids, tokenizer.eos_token_id]
            tables["corpus"].add((note_id(row["note"]), "train", ids))
    too_long = sum(bool(each.dropped) for each in encoded)
    return {"canaries": {"seed": seed, "rows": len(rows) - too_long, "too_long": too_long}}
