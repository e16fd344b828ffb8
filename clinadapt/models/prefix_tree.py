"""Sequences of tokens as one prefix tree, without one attending to another.

Sequences that begin with the same tokens, as the instructions about one note do, share them. A token attends to its
ancestors in the tree, so every sequence is computed as if it were alone, while a shared prefix is computed once (tree
attention, Miao et al. 2023, arXiv:2305.09781). Training packs its segments this way, each with the loss and the
gradient that it has alone; evaluation and prediction read the questions about a note so. Documents side by side are a
tree without shared prefixes.

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

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class PrefixTree:
    """Sequences as a tree, its tokens in depth-first order: every token comes after its ancestors.

    Attributes:
        input_ids: shape (tokens,).
        position_ids: depth in the tree, which is the position in the sequence, shape (tokens,).
        subtree_ends: index after the last descendant of a token, shape (tokens,).
        paths: for each sequence the indices of its tokens, in the order of the sequences.
    """

    input_ids: np.ndarray
    position_ids: np.ndarray
    subtree_ends: np.ndarray
    paths: list[np.ndarray]

    def tensors(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """input_ids, position_ids and subtree_ends as a batch of one, each of shape (1, tokens)."""
        ids, positions, ends = (
            torch.from_numpy(array)[None].to(device) for array in (self.input_ids, self.position_ids, self.subtree_ends)
        )
        return ids, positions, ends


def prefix_tree(sequences: Sequence[np.ndarray], share_prefixes: bool = True) -> PrefixTree:
    """Lay sequences of token ids, each of shape (n,), out as a tree; where they share prefixes, one shares what it has
    in common with the one before it, so neighbours should be alike."""
    size = sum(map(len, sequences))
    ids, positions, subtree_ends = np.zeros((3, size), dtype=np.int64)
    path = np.zeros(0, dtype=np.int64)  # indices of the previous sequence's tokens
    previous, filled = np.zeros(0, dtype=np.int64), 0
    paths = []
    for sequence in sequences:
        shared = common_prefix_length(previous, sequence) if share_prefixes else 0
        subtree_ends[path[shared:]] = filled
        new = np.arange(filled, filled + len(sequence) - shared)
        path = np.concatenate([path[:shared], new])
        ids[new], positions[new] = sequence[shared:], np.arange(shared, len(sequence))
        paths.append(path)
        previous, filled = sequence, filled + len(new)
    subtree_ends[path] = filled
    return PrefixTree(ids[:filled], positions[:filled], subtree_ends[:filled], paths)


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


def build_pack(segments: Sequence[Segment], share_prefixes: bool = True) -> Pack:
    """Lay segments out as one pack, as `prefix_tree` does."""
    tree = prefix_tree([segment.input_ids for segment in segments], share_prefixes)
    predicting = [path[s.prompt_tokens - 1 : -1] for s, path in zip(segments, tree.paths, strict=True)]
    labels = [segment.input_ids[segment.prompt_tokens :] for segment in segments]
    return Pack(
        tree.input_ids, tree.position_ids, tree.subtree_ends, np.concatenate(predicting), np.concatenate(labels)
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


def rows_of(
    input_ids: torch.Tensor, position_ids: torch.Tensor, subtree_ends: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Segments of a batch whose packs share no prefixes, each as a row of its own, padded on the right with token 0.

    Args:
        input_ids, position_ids, subtree_ends: of `collate`, shape (packs, tokens).

    Returns:
        (token ids, attention mask), shape (segments, longest); and for each token of the flattened batch its index in
        the flattened rows, shape (packs * tokens,), 0 for padding.
    """
    first = position_ids == 0
    starts = first & (subtree_ends > torch.arange(1, subtree_ends.shape[1] + 1, device=subtree_ends.device))
    real, positions = (~first | starts).flatten(), position_ids.flatten()
    row = starts.flatten().cumsum(0) - 1
    longest = int(positions.max()) + 1
    index = torch.where(real, row * longest + positions, 0)
    rows = torch.zeros(2, (int(row[-1]) + 1) * longest, dtype=torch.long, device=input_ids.device)
    rows[0, index[real]], rows[1, index[real]] = input_ids.flatten()[real], 1
    ids, mask = rows.unflatten(1, (-1, longest))
    return ids, mask, index
