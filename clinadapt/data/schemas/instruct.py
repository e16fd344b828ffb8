"""Parquet tables of the instruct recipe, and its tasks."""

from __future__ import annotations

import pyarrow as pa

from clinadapt.data.schemas.origin import ORIGIN, PATIENT_GROUP

# The eight tasks of Asclepius (Kweon et al. 2023, arXiv:2309.00237), spelled as in its data
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

_PLACE = [
    ("source", pa.int32()),  # index of the source in the profile
    ("row", pa.int64()),  # row of the source, counted from 1; continuous over the files of a folder
]

# download, texts.parquet: a case report or note of a source. synthesize, notes.parquet: a note, written by the teacher
# or of a source.
TEXTS = pa.schema(
    [
        *_PLACE,
        ("kind", pa.string()),  # `cases` or `notes`
        ("text", pa.string()),  # cleaned text
        ("description", pa.string()),  # one-line summary of the source, or null
        ("private", pa.bool_()),  # whether reports must not show it
        ("specialty", pa.string()),  # of the note, or null
        *ORIGIN,
    ]
)

# download and synthesize, triples.parquet: an instruction about a note, and its answer
TRIPLES = pa.schema(
    [
        *_PLACE,
        ("note_text", pa.string()),  # empty if the instruction contains the note
        ("instruction", pa.string()),
        ("answer", pa.string()),
        ("task", pa.string()),  # one of TASKS, or the task of the source
        ("answerable", pa.bool_()),  # false: the note lacks the answer, and the expected answer says so
        ("check", pa.string()),  # comparison: `exact`, `set` (parts between semicolons, in any order) or `none`
        (
            "spans",
            pa.list_(pa.struct([("start", pa.int32()), ("end", pa.int32())])),
        ),  # evidence in note_text, characters
        ("private", pa.bool_()),  # whether reports must not show it
        ("specialty", pa.string()),  # of the note, or null
        *ORIGIN,
    ]
)

# download and synthesize, preferences.parquet: two answers to an instruction
PREFERENCES = pa.schema(
    [
        *_PLACE,
        ("note_text", pa.string()),  # empty if the instruction contains the note
        ("instruction", pa.string()),
        ("chosen", pa.string()),  # the better answer
        ("rejected", pa.string()),
        *ORIGIN,
    ]
)

# format, train, validation and test.parquet: a tokenized triple
EXAMPLES = pa.schema(
    [
        *_PLACE,
        ("note_id", pa.string()),  # hash of the normalized note, 16 hex digits
        ("cluster", pa.int32()),  # cluster of near duplicates
        ("task", pa.string()),
        ("answerable", pa.bool_()),
        ("check", pa.string()),
        ("private", pa.bool_()),
        ("specialty", pa.string()),  # of the note, or null
        *PATIENT_GROUP,
        ("input_ids", pa.list_(pa.int32())),  # tokens of prompt and answer
        ("prompt_tokens", pa.int32()),  # how many of `input_ids` are the prompt
        ("trimmed_tokens", pa.int32()),  # tokens trimmed from the note
        ("note_text", pa.string()),  # null in train, as are the next two
        ("instruction", pa.string()),
        ("answer", pa.string()),
    ]
)

# format, corpus.parquet: a note for pretraining
CORPUS = pa.schema(
    [
        ("note_id", pa.string()),
        ("side", pa.string()),  # `train` or `validation`
        ("input_ids", pa.list_(pa.int32())),  # tokens of the note
    ]
)

# format, preferences.parquet: a tokenized preference pair about a training note, for DPO
PREFERRED = pa.schema(
    [
        *_PLACE,
        ("note_id", pa.string()),
        ("prompt_ids", pa.list_(pa.int32())),  # tokens
        ("chosen_ids", pa.list_(pa.int32())),
        ("rejected_ids", pa.list_(pa.int32())),
    ]
)
