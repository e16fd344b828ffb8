"""Examples and documents packed into prefix trees, or side by side for a model that a tree does not suit."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TypeVar

import numpy as np
import pyarrow as pa
import torch

from clinadapt.errors import UserError
from clinadapt.models.prefix_tree import Pack, Segment, build_pack, common_prefix_length

Group = TypeVar("Group", bound=tuple[Segment, ...])  # segments that stay together


class PackedDataset(torch.utils.data.Dataset):
    """Packs of at most `max_length` tokens.

    Attributes:
        segments: of each pack.
        max_length: tokens that a pack has room for.
        tree: whether segments share prefixes, and a pack is one row of tokens; else each segment is a row.
        useful_tokens: tokens of all segments, shared prefixes counted once for each segment.
        computed_tokens: tokens of all packs, shared prefixes counted once.
        highest_token: the highest token id.
    """

    def __init__(self, segments: Sequence[Sequence[Segment]], max_length: int, tree: bool = True) -> None:
        self.segments, self.max_length, self.tree = segments, max_length, tree
        every = [segment for pack in segments for segment in pack]
        self.useful_tokens = sum(len(segment.input_ids) for segment in every)
        self.computed_tokens = sum(len(self[i].input_ids) for i in range(len(self)))
        self.highest_token = max(int(segment.input_ids.max()) for segment in every)

    def __len__(self) -> int:
        return len(self.segments)

    def __getitem__(self, index: int) -> Pack:
        return build_pack(self.segments[index], self.tree)


def pack_examples(table: pa.Table, max_length: int, tree: bool = True) -> PackedDataset:
    """Pack a table of EXAMPLES; in a tree the examples about one note share their prefixes.

    Args:
        table: with the columns note_id, input_ids and prompt_tokens at least.
        max_length: tokens of a pack, at most; without a tree, of its examples padded to the longest.
        tree: as in PackedDataset.

    Returns:
        A dataset whose length is the number of packs and whose items are clinadapt.models.prefix_tree.Pack.

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
    segments = list(map(Segment, rows, prompt_tokens))
    if not tree:
        return _side_by_side(segments, max_length)
    examples = sorted(zip(table["note_id"].to_pylist(), segments, strict=True), key=lambda pair: pair[0])
    trees = [
        prefix_tree
        for _, group in groupby(examples, key=lambda pair: pair[0])
        for prefix_tree in prefix_trees(sorted(((segment,) for _, segment in group), key=sort_key), max_length)
    ]
    prefix = _prefix_of_all(rows)
    bins = best_fit_decreasing([size - prefix for _, size in trees], max_length - prefix)
    return PackedDataset([[segment for i in bin_ for (segment,) in trees[i][0]] for bin_ in bins], max_length)


def pack_documents(column: pa.ChunkedArray, max_length: int, seed: int, tree: bool = True) -> PackedDataset:
    """Pack documents one after the other in an order drawn from `seed`, and cut them where a pack is full. The rest of
    a cut document becomes a segment of its own, without what comes before as context.

    Args:
        column: token ids of each document, a list array.
        max_length: tokens of a pack, at most.
        seed: of the order.
        tree: as in PackedDataset.

    Raises:
        UserError: there is no document.
    """
    documents = [document for document in _arrays(column) if len(document) > 1] if len(column) else []
    if not documents:
        raise UserError("no note to train on: see what format dropped, and why")
    if not tree:
        pieces = [d[start : start + max_length] for d in documents for start in range(0, len(d), max_length)]
        return _side_by_side([Segment(piece, 1) for piece in pieces if len(piece) > 1], max_length)
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
    return PackedDataset([pack for pack in packs if pack], max_length)


def _side_by_side(segments: Sequence[Segment], max_length: int) -> PackedDataset:
    packs = side_by_side([(segment,) for segment in segments], max_length)
    return PackedDataset([[segment for (segment,) in pack] for pack in packs], max_length, tree=False)


def side_by_side(groups: Iterable[Group], max_length: int) -> list[list[Group]]:
    """Groups of segments of similar length together, as many as fit with their padding; a group stays in one pack."""
    packs: list[list[Group]] = []
    rows = 0
    for group in sorted(groups, key=lambda group: (-_longest(group), sort_key(group))):
        if packs and (rows + len(group)) * _longest(packs[-1][0]) <= max_length:
            packs[-1].append(group)
            rows += len(group)
        else:
            packs.append([group])
            rows = len(group)
    return packs


def _longest(group: Sequence[Segment]) -> int:
    return max(len(segment.input_ids) for segment in group)


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


def sort_key(group: Sequence[Segment]) -> bytes:
    """Sort groups of segments by their tokens, so that neighbours share the longest prefixes."""
    return b"".join(segment.input_ids.astype(">u4").tobytes() for segment in group)


def _prefix_of_all(rows: Sequence[np.ndarray]) -> int:
    """Length of the prefix that all rows have in common, which any two of them share in a pack."""
    prefix = rows[0]
    for row in rows:
        prefix = prefix[: common_prefix_length(prefix, row)]
    return len(prefix)


def prefix_trees(groups: Iterable[Group], max_length: int) -> list[tuple[list[Group], int]]:
    """Split groups of segments, in their order, into trees of at most `max_length` tokens, more where one group alone
    has more; each tree with its tokens."""
    trees: list[tuple[list[Group], int]] = []
    previous = np.zeros(0, dtype=np.int64)
    for group in groups:
        new = _new_tokens(previous, group)
        if trees and trees[-1][1] + new <= max_length:
            tree, size = trees[-1]
            tree.append(group)
            trees[-1] = tree, size + new
        else:
            trees.append(([group], _new_tokens(previous[:0], group)))
        previous = group[-1].input_ids
    return trees


def _new_tokens(previous: np.ndarray, group: Sequence[Segment]) -> int:
    """Tokens that a group adds to a tree whose last segment is `previous`."""
    tokens = 0
    for segment in group:
        tokens += len(segment.input_ids) - common_prefix_length(previous, segment.input_ids)
        previous = segment.input_ids
    return tokens
