"""Tokens that are kept in the store piece by piece, so that data that only grew are tokenised where they grew.

tokens/<key>    Parquet

A piece ends where the hash of a note says so, which rows that come before or after do not move (content-defined
chunking: Muthitacharoen et al., A Low-bandwidth Network File System, SOSP 2001).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from clinadapt.artifacts.artifact_cache import load, save
from clinadapt.artifacts.code_version import code_version
from clinadapt.artifacts.hashing import sha256_json
from clinadapt.data.tables import as_table
from clinadapt.models.chat_template import Question, Template
from clinadapt.storage.object_store import Store

NOTES = 128  # of a piece, on average
LONGEST = 2048  # rows, from which on the next note begins another piece
# An example: tokens of prompt and answer, how many of the note did not fit; or why it was dropped.
ENCODED = pa.schema(
    [
        ("prompt", pa.list_(pa.int32())),
        ("answer", pa.list_(pa.int32())),
        ("lost", pa.int32()),
        ("dropped", pa.string()),
    ]
)
Numbered = tuple[int, Any]


def pieces(rows: Iterable[Numbered], notes: Sequence[str]) -> Iterator[list[Numbered]]:
    """Lists of (number of a note, row); the rows about a note that stand together stay together.

    Args:
        rows: in order.
        notes: number -> hash of a note, hex.
    """
    piece: list[Numbered] = []
    for number, row in rows:
        if piece and number != piece[-1][0] and (len(piece) >= LONGEST or int(notes[number], 16) % NOTES == 0):
            yield piece
            piece = []
        piece.append((number, row))
    if piece:
        yield piece


class KeptTokens:
    """Pieces that a tokenizer made with a chat template; `new` and `reused` count their rows."""

    def __init__(self, store: Store, template: Template, length: int) -> None:
        """`length`: the longest example, in tokens."""
        self._store, self.new, self.reused = store, 0, 0
        texts = [template.prompt(Question("note", "instruction")), template.end, *template.special]
        made_by = [template.tokenizer.backend_tokenizer.to_str(), texts, version("tokenizers"), code_version()]
        self._maker = [sha256_json(made_by), length]

    def rows(self, texts: Any, make: Callable[[], list[tuple[Any, ...]]]) -> list[tuple[Any, ...]]:
        """The rows of a piece (schema ENCODED): from the store, or what `make` makes, which goes there.

        Args:
            texts: all that they are made of, as JSON.
            make: tokenises them.
        """
        key = f"tokens/{sha256_json([self._maker, texts])[7:39]}"
        if data := load(self._store, key):
            table = pq.read_table(pa.BufferReader(data), schema=ENCODED)
            self.reused += len(table)
            return list(zip(*(column.to_pylist() for column in table.columns), strict=True))
        made = make()
        self.new += len(made)
        sink = pa.BufferOutputStream()
        pq.write_table(as_table(made, ENCODED), sink, compression="zstd")
        save(self._store, key, sink.getvalue().to_pybytes(), "format")
        return made
