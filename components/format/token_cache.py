"""Tokenized triples, cached in the store in chunks, so that only the new rows of grown data are tokenized.

    tokens/<key>    Parquet (schema ENCODED)

The hash of a note decides whether a chunk ends before it, so other rows do not move it (content-defined chunking:
Muthitacharoen et al., A Low-bandwidth Network File System, SOSP 2001).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from clinadapt.artifacts.artifact_cache import load, save
from clinadapt.artifacts.code_version import code_version
from clinadapt.artifacts.hashing import sha256_json
from clinadapt.data.tables import to_table
from clinadapt.models.chat_template import Question, Template
from clinadapt.storage.object_store import Store

NOTES_PER_CHUNK = 128  # on average
MAX_CHUNK_ROWS = 2048  # from here on, the next note starts another chunk


class Encoded(NamedTuple):
    """A tokenized triple, or the reason why it is dropped. `trimmed_tokens` were trimmed from the note."""

    prompt_ids: list[int]
    answer_ids: list[int]
    trimmed_tokens: int
    dropped: str | None = None


ENCODED = pa.schema(
    [
        ("prompt_ids", pa.list_(pa.int32())),
        ("answer_ids", pa.list_(pa.int32())),
        ("trimmed_tokens", pa.int32()),
        ("dropped", pa.string()),
    ]
)
NumberedRow = tuple[int, dict[str, Any]]  # number of a note, and a row about it


def chunk_by_note(rows: Iterable[NumberedRow], note_ids: Sequence[str]) -> Iterator[list[NumberedRow]]:
    """Yield rows in chunks; consecutive rows about a note stay together.

    Args:
        rows: in order.
        note_ids: number of a note -> its hash, hexadecimal.
    """
    chunk: list[NumberedRow] = []
    for number, row in rows:
        full = len(chunk) >= MAX_CHUNK_ROWS or int(note_ids[number], 16) % NOTES_PER_CHUNK == 0
        if full and chunk and number != chunk[-1][0]:
            yield chunk
            chunk = []
        chunk.append((number, row))
    if chunk:
        yield chunk


class TokenCache:
    """Chunks tokenized with one tokenizer and chat template; `hits` and `misses` count their rows."""

    def __init__(self, store: Store, template: Template, max_length: int) -> None:
        """`max_length`: longest example, in tokens."""
        self._store, self.hits, self.misses = store, 0, 0
        texts = [template.prompt(Question("note", "instruction")), template.end, *template.special]
        tokenizer = template.tokenizer.backend_tokenizer.to_str()
        self._tokenizer_key = sha256_json(
            [tokenizer, texts, version("tokenizers"), code_version("components.format.instruct")]
        )
        self._max_length = max_length

    def get(self, triples: Sequence[tuple[Question, str]], tokenize: Callable[[], list[Encoded]]) -> list[Encoded]:
        """Fetch the tokens of a chunk from the store, or tokenize and store it.

        Args:
            triples: question and answer of each row.
            tokenize: tokenizes them.
        """
        key = f"tokens/{sha256_json([self._tokenizer_key, self._max_length, triples])[7:39]}"
        if data := load(self._store, key):
            table = pq.read_table(pa.BufferReader(data), schema=ENCODED)
            self.hits += len(table)
            return [Encoded(*row) for row in zip(*(column.to_pylist() for column in table.columns), strict=True)]
        encoded = tokenize()
        self.misses += len(encoded)
        sink = pa.BufferOutputStream()
        pq.write_table(to_table(encoded, ENCODED), sink, compression="zstd")
        save(self._store, key, sink.getvalue().to_pybytes(), "format")
        return encoded
