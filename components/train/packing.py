"""Examples and documents packed into rows of tokens, without one example attending to another.

A pack is a prefix tree: segments that begin with the same tokens, as the instructions about one note do, share them. A
token attends to its ancestors in the tree, so every segment has the loss and the gradient that it has alone, while a
shared prefix is computed once (tree attention, Miao et al. 2023, arXiv:2305.09781, for training instead of
speculative decoding). Documents side by side are a tree without shared prefixes.

Example: segments [5 6 7 8], [5 6 7 9 9] and [5 1 2 3], each with three prompt tokens, become one pack of nine tokens:

    5 - 6 - 7 - 8              index                 0  1  2  3  4  5  6  7  8
    |       `-- 9 - 9          input_ids             5  6  7  8  9  9  1  2  3
    `-- 1 - 2 - 3              position_ids          0  1  2  3  3  4  1  2  3
                               subtree_ends          9  6  6  4  6  6  9  9  9
                               predicting_positions  2  2  4  7
                               labels                8  9  9  3

Token i attends to token j where j <= i < subtree_ends[j]: token 5 to 0, 1, 2, 4 and 5. Token 2 predicts twice: the 8 of
the first segment and the first 9 of the second.
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


@dataclass(frozen=True)
class Segment:
    """A run of tokens to train on: an example, or a document or a part of one.

    Attributes:
        input_ids: shape (tokens,).
        prompt_tokens: tokens at the beginning that are not predicted; at least 1, as the first token never is.
    """

    input_ids: np.ndarray
    prompt_tokens: int


@dataclass(frozen=True)
class Pack:
    """Segments as a prefix tree, its tokens in depth-first order: every token comes after its ancestors.

    Attributes:
        input_ids: shape (tokens,).
        position_ids: depth in the tree, which is the position in the segment, shape (tokens,).
        subtree_ends: index after the last descendant of a token, shape (tokens,).
        predicting_positions: indices of the tokens whose hidden states predict a label, shape (labels,).
        labels: token ids that they predict, shape (labels,).
    """

    input_ids: np.ndarray
    position_ids: np.ndarray
    subtree_ends: np.ndarray
    predicting_positions: np.ndarray
    labels: np.ndarray


def build_pack(segments: Sequence[Segment]) -> Pack:
    """Lay segments out as one pack; a segment shares the prefix that it has in common with the one before it."""
    size = sum(len(segment.input_ids) for segment in segments)
    ids, positions, subtree_ends = np.zeros((3, size), dtype=np.int64)
    predicting, labels = [], []
    path = np.zeros(0, dtype=np.int64)  # indices of the previous segment's tokens
    previous, filled = np.zeros(0, dtype=np.int64), 0
    for segment in segments:
        shared = common_prefix_length(previous, segment.input_ids)
        subtree_ends[path[shared:]] = filled
        new = np.arange(filled, filled + len(segment.input_ids) - shared)
        path = np.concatenate([path[:shared], new])
        ids[new], positions[new] = segment.input_ids[shared:], np.arange(shared, len(segment.input_ids))
        predicting.append(path[segment.prompt_tokens - 1 : -1])
        labels.append(segment.input_ids[segment.prompt_tokens :])
        previous, filled = segment.input_ids, filled + len(new)
    subtree_ends[path] = filled
    return Pack(
        ids[:filled], positions[:filled], subtree_ends[:filled], np.concatenate(predicting), np.concatenate(labels)
    )


def common_prefix_length(a: np.ndarray, b: np.ndarray) -> int:
    """Number of tokens that both arrays begin with; shapes (m,) and (n,)."""
    shorter = min(len(a), len(b))
    different = np.flatnonzero(a[:shorter] != b[:shorter])
    return int(different[0]) if len(different) else shorter


def collate(packs: Sequence[Pack]) -> dict[str, torch.Tensor]:
    """Batch packs, padded on the right to the longest. A padding token attends to itself alone.

    Returns:
        input_ids, position_ids and subtree_ends: int64, shape (packs, longest).
        predicting_positions: indices into the batch flattened to (packs * longest,), int64, shape (labels,).
        labels: int64, shape (labels,).
    """
    longest = max(len(pack.input_ids) for pack in packs)
    rows = torch.zeros(3, len(packs), longest, dtype=torch.long)
    rows[2] = torch.arange(1, longest + 1)
    for i, pack in enumerate(packs):
        for row, values in zip(rows, (pack.input_ids, pack.position_ids, pack.subtree_ends), strict=True):
            row[i, : len(values)] = torch.from_numpy(values)
    positions = [torch.from_numpy(pack.predicting_positions + i * longest) for i, pack in enumerate(packs)]
    return {
        "input_ids": rows[0],
        "position_ids": rows[1],
        "subtree_ends": rows[2],
        "predicting_positions": torch.cat(positions),
        "labels": torch.cat([torch.from_numpy(pack.labels) for pack in packs]).long(),
    }


def attention_mask(subtree_ends: torch.Tensor) -> torch.Tensor:
    """Mask of the prefix tree: which query (third dimension) attends to which key (fourth).

    Args:
        subtree_ends: shape (packs, tokens).

    Returns:
        bool, shape (packs, 1, tokens, tokens).
    """
    index = torch.arange(subtree_ends.shape[1], device=subtree_ends.device)
    return ((index[:, None] >= index) & (index[:, None] < subtree_ends[:, None, :]))[:, None]


class PackedDataset(torch.utils.data.Dataset):
    """Packs of at most `max_length` tokens.

    Attributes:
        segments: of each pack.
        max_length: tokens that a pack has room for.
        useful_tokens: tokens of all segments, shared prefixes counted once for each segment.
        computed_tokens: tokens of all packs, shared prefixes counted once.
        highest_token: the highest token id.
    """

    def __init__(self, segments: Sequence[Sequence[Segment]], max_length: int) -> None:
        self.segments, self.max_length = segments, max_length
        every = [segment for pack in segments for segment in pack]
        self.useful_tokens = sum(len(segment.input_ids) for segment in every)
        self.computed_tokens = sum(len(self[i].input_ids) for i in range(len(self)))
        self.highest_token = max(int(segment.input_ids.max()) for segment in every)

    def __len__(self) -> int:
        return len(self.segments)

    def __getitem__(self, index: int) -> Pack:
        return build_pack(self.segments[index])


def pack_examples(table: pa.Table, max_length: int) -> PackedDataset:
    """Pack a table of EXAMPLES; the examples about one note share their prefixes.

    Args:
        table: with the columns note_id, input_ids and prompt_tokens at least.
        max_length: tokens of a pack, at most.

    Raises:
        UserError: the table is empty, or an example is longer than a pack.
    """
    if not len(table):
        raise UserError("no example to train on: see what format dropped, and why")
    rows, prompt_tokens = _arrays(table["input_ids"]), table["prompt_tokens"].to_pylist()
    longest = max(map(len, rows))
    if longest > max_length:
        raise UserError(
            f"an example has {longest} tokens and a pack holds {max_length}: "
            "raise max_length of this stage to that of format"
        )
    segments = map(Segment, rows, prompt_tokens)
    examples = sorted(zip(table["note_id"].to_pylist(), segments, strict=True), key=lambda pair: pair[0])
    trees = [
        tree
        for _, group in groupby(examples, key=lambda pair: pair[0])
        for tree in _prefix_trees(sorted((segment for _, segment in group), key=_sort_key), max_length)
    ]
    prefix = _prefix_of_all(rows)
    bins = best_fit_decreasing([size - prefix for _, size in trees], max_length - prefix)
    return PackedDataset([[segment for i in bin_ for segment in trees[i][0]] for bin_ in bins], max_length)


def pack_documents(column: pa.ChunkedArray, max_length: int, seed: int) -> PackedDataset:
    """Pack documents one after the other in an order drawn from `seed`, and cut them where a pack is full. The rest of
    a cut document becomes a segment of its own, without what comes before as context.

    Args:
        column: token ids of each document, a list array.
        max_length: tokens of a pack, at most.
        seed: of the order.

    Raises:
        UserError: there is no document.
    """
    documents = _arrays(column) if len(column) else []
    packs: list[list[Segment]] = [[]]
    room = max_length
    for i in np.random.default_rng(seed).permutation(len(documents)):
        rest = documents[i]
        while len(rest) > 1:  # a single token predicts nothing
            packs[-1].append(Segment(rest[:room], 1))
            rest, room = rest[room:], room - len(rest[:room])
            if room < 2:
                packs.append([])
                room = max_length
    if not packs[0]:
        raise UserError("no note to train on: see what format dropped, and why")
    return PackedDataset([pack for pack in packs if pack], max_length)


def best_fit_decreasing(sizes: Sequence[int], capacity: int) -> list[list[int]]:
    """Bin packing: indices into `sizes` by bin, the largest first, each into the fullest bin that has room for it."""
    bins: list[list[int]] = []
    free: list[tuple[int, int]] = []  # (free room, bin), sorted
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        tightest = bisect.bisect_left(free, (sizes[i], -1))
        if tightest < len(free):
            room, bin_ = free.pop(tightest)
        else:
            room, bin_ = capacity, len(bins)
            bins.append([])
        bins[bin_].append(i)
        bisect.insort(free, (room - sizes[i], bin_))
    return bins


def _arrays(column: pa.ChunkedArray) -> list[np.ndarray]:
    """Each list of a column as a view of one array."""
    combined = column.combine_chunks()
    return np.split(combined.flatten().to_numpy(), np.cumsum(combined.value_lengths().to_numpy())[:-1])


def _sort_key(segment: Segment) -> bytes:
    """Sort segments by their tokens, so that neighbours share the longest prefixes."""
    return segment.input_ids.astype(">u4").tobytes()


def _prefix_of_all(rows: Sequence[np.ndarray]) -> int:
    """Length of the prefix that all rows have in common, which any two of them share in a pack."""
    prefix = rows[0]
    for row in rows:
        prefix = prefix[: common_prefix_length(prefix, row)]
    return len(prefix)


def _prefix_trees(segments: Sequence[Segment], max_length: int) -> list[tuple[list[Segment], int]]:
    """Split the sorted segments of one note into trees of at most `max_length` tokens; each with its tokens."""
    trees: list[tuple[list[Segment], int]] = []
    previous = segments[0].input_ids[:0]
    for segment in segments:
        new = len(segment.input_ids) - common_prefix_length(previous, segment.input_ids)
        if trees and trees[-1][1] + new <= max_length:
            tree, size = trees[-1]
            tree.append(segment)
            trees[-1] = tree, size + new
        else:
            trees.append(([segment], len(segment.input_ids)))
        previous = segment.input_ids
    return trees
