"""Sequences of tokens as a prefix tree, so that a model reads what they begin with in common only once.

A token attends to its ancestors in the tree, so every sequence is computed as if it were alone (tree attention, Miao et
al. 2023, arXiv:2305.09781). Training packs examples this way, evaluation and prediction the questions about a note.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from clinadapt.models.prefix_tree import common_prefix_length


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


def prefix_tree(sequences: Sequence[np.ndarray]) -> PrefixTree:
    """Lay sequences of token ids, each of shape (n,), out as a tree; one shares the prefix that it has in common with
    the one before it, so neighbours should be alike."""
    size = sum(map(len, sequences))
    ids, positions, subtree_ends = np.zeros((3, size), dtype=np.int64)
    path = np.zeros(0, dtype=np.int64)  # indices of the previous sequence's tokens
    previous, filled = np.zeros(0, dtype=np.int64), 0
    paths = []
    for sequence in sequences:
        shared = common_prefix_length(previous, sequence)
        subtree_ends[path[shared:]] = filled
        new = np.arange(filled, filled + len(sequence) - shared)
        path = np.concatenate([path[:shared], new])
        ids[new], positions[new] = sequence[shared:], np.arange(shared, len(sequence))
        paths.append(path)
        previous, filled = sequence, filled + len(new)
    subtree_ends[path] = filled
    return PrefixTree(ids[:filled], positions[:filled], subtree_ends[:filled], paths)


def attention_mask(subtree_ends: torch.Tensor) -> torch.Tensor:
    """Mask of prefix trees: which query (third dimension) attends to which key (fourth).

    Args:
        subtree_ends: shape (trees, tokens).

    Returns:
        bool, shape (trees, 1, tokens, tokens).
    """
    index = torch.arange(subtree_ends.shape[1], device=subtree_ends.device)
    return ((index[:, None] >= index) & (index[:, None] < subtree_ends[:, None, :]))[:, None]


def layer_masks(
    config: Any, visible: torch.Tensor, positions: torch.Tensor, key_positions: torch.Tensor
) -> torch.Tensor | dict[str, torch.Tensor]:
    """The mask of each kind of layer. Layers with a sliding window see only the keys less than a window away.

    Args:
        config: of the model.
        visible: (rows, 1, queries, keys).
        positions: of the queries, shape (rows, queries).
        key_positions: shape (rows, keys).
    """
    decoder = config.get_text_config()
    window, kinds = getattr(decoder, "sliding_window", None), getattr(decoder, "layer_types", None)
    if not window or (kinds and "sliding_attention" not in kinds):
        return visible
    near = visible & (positions[:, None, :, None] - key_positions[:, None, None, :] < window)
    return {"full_attention": visible, "sliding_attention": near} if kinds else near
