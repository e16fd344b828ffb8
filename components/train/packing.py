"""Examples and documents packed into rows of tokens, none of which sees a token of another example.

A pack is laid out as a tree: examples that begin with the same tokens, as the instructions about one note do, share
them. A token attends to the tokens on its way from the root, so that every example has the loss and the gradient that
it has alone, while a shared beginning is computed once (tree attention, Miao et al. 2023, arXiv:2305.09781, for
training instead of drafting). Documents side by side are a tree without shared beginnings.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pyarrow as pa
import torch

from clinadapt.errors import UserError

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Piece:
    """A run of tokens that is trained on: those of an example, or of a document or a part of one.

    Attributes:
        ids: tokens, shape (n,).
        trained: from this one on, each is predicted from those before it; at least 1.
    """

    ids: np.ndarray
    trained: int


@dataclass(frozen=True)
class Pack:
    """Tokens in an order in which each stands after all that it attends to.

    Attributes:
        input_ids: shape (n,).
        position_ids: how many tokens stand before it on its way from the root, shape (n,).
        ends: the first token, here, that does not attend to it any more, shape (n,).
        sources: tokens whose states predict, shape (predicted,).
        labels: what they predict, shape (predicted,).
    """

    input_ids: np.ndarray
    position_ids: np.ndarray
    ends: np.ndarray
    sources: np.ndarray
    labels: np.ndarray


def lay_out(pieces: Sequence[Piece]) -> Pack:
    """Pieces as one pack; what a piece has in common with the beginning of the one before it is shared."""
    size = sum(len(piece.ids) for piece in pieces)
    ids, positions, ends = np.zeros((3, size), dtype=np.int64)
    sources, labels = [], []
    path = np.zeros(0, dtype=np.int64)  # where the tokens of the piece before stand
    before, filled = np.zeros(0, dtype=np.int64), 0
    for piece in pieces:
        shared = common(before, piece.ids)
        ends[path[shared:]] = filled
        own = np.arange(filled, filled + len(piece.ids) - shared)
        path = np.concatenate([path[:shared], own])
        ids[own], positions[own] = piece.ids[shared:], np.arange(shared, len(piece.ids))
        sources.append(path[piece.trained - 1 : -1])
        labels.append(piece.ids[piece.trained :])
        before, filled = piece.ids, filled + len(own)
    ends[path] = filled
    return Pack(ids[:filled], positions[:filled], ends[:filled], np.concatenate(sources), np.concatenate(labels))


def common(a: np.ndarray, b: np.ndarray) -> int:
    """How many tokens two runs begin with in common."""
    shorter = min(len(a), len(b))
    different = np.flatnonzero(a[:shorter] != b[:shorter])
    return int(different[0]) if len(different) else shorter


def collate(packs: Sequence[Pack]) -> Batch:
    """Packs as one batch, padded to the longest: input_ids, position_ids and ends, shape (packs, longest), sources
    counted through all packs and labels, both of shape (predicted,). A token of padding attends to itself alone."""
    longest = max(len(pack.input_ids) for pack in packs)
    rows = torch.zeros(3, len(packs), longest, dtype=torch.long)
    rows[2] = torch.arange(1, longest + 1)
    for i, pack in enumerate(packs):
        for row, values in zip(rows, (pack.input_ids, pack.position_ids, pack.ends), strict=True):
            row[i, : len(values)] = torch.from_numpy(values)
    return {
        "input_ids": rows[0],
        "position_ids": rows[1],
        "ends": rows[2],
        "sources": torch.cat([torch.from_numpy(pack.sources + i * longest) for i, pack in enumerate(packs)]),
        "labels": torch.cat([torch.from_numpy(pack.labels) for pack in packs]).long(),
    }


def attention_mask(ends: torch.Tensor) -> torch.Tensor:
    """Which token (third dimension) attends to which (fourth): bool of shape (packs, 1, n, n) from ends (packs, n)."""
    here = torch.arange(ends.shape[1], device=ends.device)
    return ((here[:, None] >= here) & (here[:, None] < ends[:, None, :]))[:, None]


class Packed(torch.utils.data.Dataset):
    """Packs of at most `length` tokens.

    Attributes:
        length: tokens that a pack has room for.
        useful_tokens: tokens of the pieces as if each stood alone.
        computed_tokens: tokens of the packs.
        highest_token: the highest id of one.
    """

    def __init__(self, packs: Sequence[Sequence[Piece]], length: int) -> None:
        self._packs, self.length = packs, length
        pieces = [piece for pack in packs for piece in pack]
        self.useful_tokens = sum(len(piece.ids) for piece in pieces)
        self.computed_tokens = sum(len(self[i].input_ids) for i in range(len(packs)))
        self.highest_token = max(int(piece.ids.max()) for piece in pieces)

    def __len__(self) -> int:
        return len(self._packs)

    def __getitem__(self, index: int) -> Pack:
        return lay_out(self._packs[index])


def pack_examples(table: pa.Table, length: int) -> Packed:
    """Pack the rows of a table of EXAMPLES; those of one note share what they begin with.

    Args:
        table: at least the columns note_id, input_ids and prompt_tokens.
        length: tokens of a pack, at most.

    Raises:
        UserError: there are none, or one is longer than a pack.
    """
    if not len(table):
        raise UserError("there is no example to train on: look at what format dropped, and why")
    rows, trained = _rows(table["input_ids"]), table["prompt_tokens"].to_pylist()
    longest = max(map(len, rows))
    if longest > length:
        raise UserError(
            f"an example has {longest} tokens and a pack holds {length}: raise the section's length to that of format"
        )
    notes = sorted(zip(table["note_id"].to_pylist(), map(Piece, rows, trained), strict=True), key=lambda pair: pair[0])
    trees = [
        tree
        for _, group in groupby(notes, key=lambda pair: pair[0])
        for tree in _trees(sorted((piece for _, piece in group), key=_key), length)
    ]
    head = _head(rows)
    packs = best_fit([size - head for _, size in trees], length - head)
    return Packed([[piece for i in pack for piece in trees[i][0]] for pack in packs], length)


def pack_documents(column: pa.ChunkedArray, length: int, seed: int) -> Packed:
    """Documents one after the other in an order drawn from `seed`, cut where a pack is full. The rest of a cut document
    counts as one of its own.

    Args:
        column: tokens of each document.
        length: tokens of a pack, at most.
        seed: of the order.

    Raises:
        UserError: there are none.
    """
    documents = _rows(column) if len(column) else []
    packs: list[list[Piece]] = [[]]
    room = length
    for i in np.random.default_rng(seed).permutation(len(documents)):
        rest = documents[i]
        while len(rest) > 1:  # one token predicts nothing
            packs[-1].append(Piece(rest[:room], 1))
            rest, room = rest[room:], room - len(rest[:room])
            if room < 2:
                packs.append([])
                room = length
    if not packs[0]:
        raise UserError("there is no note to train on: look at what format dropped, and why")
    return Packed([pack for pack in packs if pack], length)


def best_fit(sizes: Sequence[int], room: int) -> list[list[int]]:
    """Indices by bin, of `room` each: the largest first, each into the fullest bin that has room for it."""
    bins: list[list[int]] = []
    free: list[tuple[int, int]] = []  # (room left, bin), sorted
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        found = bisect.bisect_left(free, (sizes[i], -1))
        if found < len(free):
            left, bin_ = free.pop(found)
        else:
            left, bin_ = room, len(bins)
            bins.append([])
        bins[bin_].append(i)
        bisect.insort(free, (left - sizes[i], bin_))
    return bins


def _rows(column: pa.ChunkedArray) -> list[np.ndarray]:
    """Each list of a column, as a view of one array."""
    whole = column.combine_chunks()
    return np.split(whole.flatten().to_numpy(), np.cumsum(whole.value_lengths().to_numpy())[:-1])


def _key(piece: Piece) -> bytes:
    """Sorts runs of tokens so that neighbours begin alike."""
    return piece.ids.astype(">u4").tobytes()


def _head(rows: Sequence[np.ndarray]) -> int:
    """How many tokens all of them begin with: two in one pack share them whatever their notes."""
    head = rows[0]
    for row in rows:
        head = head[: common(head, row)]
    return len(head)


def _trees(pieces: Sequence[Piece], length: int) -> list[tuple[list[Piece], int]]:
    """Sorted examples of one note as trees of at most `length` tokens, each with its number of tokens."""
    trees: list[tuple[list[Piece], int]] = []
    before = pieces[0].ids[:0]
    for piece in pieces:
        more = len(piece.ids) - common(before, piece.ids)
        if trees and trees[-1][1] + more <= length:
            tree, size = trees[-1]
            tree.append(piece)
            trees[-1] = tree, size + more
        else:
            trees.append(([piece], len(piece.ids)))
        before = piece.ids
    return trees
