"""The tables of the instruct recipe, and its tasks."""

from __future__ import annotations

import pyarrow as pa

# The eight of Asclepius (Kweon et al. 2023, arXiv:2309.00237), as its data spells them
TASKS = (
    "Named Entity Recognition",
    "Abbreviation Expansion",
    "Relation Extraction",
    "Temporal Information Extraction",
    "Coreference Resolution",
    "Paraphrasing",
    "Summarization",
    "Question Answering",
)

# Where a row comes from: the number of the source in the profile, and the row in it, from 1.
_ORIGIN = [("source", pa.int32()), ("row", pa.int64())]

# download: a case report or a note. `kind` is `cases` or `notes`. synthesize: a note that it made or passed on.
TEXTS = pa.schema(
    [*_ORIGIN, ("kind", pa.string()), ("text", pa.string()), ("description", pa.string()), ("private", pa.bool_())]
)

# An instruction about a note and its answer. `answerable` is false where the note cannot answer and the right answer
# says so. `check` says how an answer can be checked: `exact`, `set` (parts between semicolons, in any order) or `none`.
# `spans` are characters of the note that support the answer. `private` as in Source.
TRIPLES = pa.schema(
    [
        *_ORIGIN,
        ("note", pa.string()),
        ("instruction", pa.string()),
        ("answer", pa.string()),
        ("task", pa.string()),
        ("answerable", pa.bool_()),
        ("check", pa.string()),
        ("spans", pa.list_(pa.struct([("start", pa.int32()), ("end", pa.int32())]))),
        ("private", pa.bool_()),
    ]
)

# Two answers of which one is better.
PREFERENCES = pa.schema(
    [
        *_ORIGIN,
        ("note", pa.string()),
        ("instruction", pa.string()),
        ("chosen", pa.string()),
        ("rejected", pa.string()),
    ]
)

# format: a triple as tokens. `note_id` is a hash; the texts are kept for validation and test only (null in train). Of
# `input_ids` the first `prompt_tokens` are the prompt; `trimmed_tokens` were trimmed from the note.
EXAMPLES = pa.schema(
    [
        *_ORIGIN,
        ("note_id", pa.string()),
        ("cluster", pa.int32()),
        ("task", pa.string()),
        ("answerable", pa.bool_()),
        ("check", pa.string()),
        ("private", pa.bool_()),
        ("input_ids", pa.list_(pa.int32())),
        ("prompt_tokens", pa.int32()),
        ("trimmed_tokens", pa.int32()),
        ("note_text", pa.string()),
        ("instruction", pa.string()),
        ("answer", pa.string()),
    ]
)

# format: a note for pretrain, with its side of the split (`train` or `validation`).
CORPUS = pa.schema([("note_id", pa.string()), ("side", pa.string()), ("input_ids", pa.list_(pa.int32()))])

# format: a preference pair of the train side as tokens, for DPO.
PREFERRED = pa.schema(
    [
        *_ORIGIN,
        ("note_id", pa.string()),
        ("prompt_ids", pa.list_(pa.int32())),
        ("chosen_ids", pa.list_(pa.int32())),
        ("rejected_ids", pa.list_(pa.int32())),
    ]
)
