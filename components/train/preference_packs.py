"""Preference pairs packed into prefix trees, or side by side for a model that a tree does not suit, as packing packs
examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from clinadapt.models.prefix_tree import Pack, Segment, build_pack, collate
from components.train.packing import prefix_trees, side_by_side, sort_key

Pair = tuple[Segment, Segment]  # the prompt with the chosen answer, and with the rejected one


class PackedPairs(torch.utils.data.Dataset):
    """Packs of pairs. The two answers to a question share its prompt, and the questions about a note share the note.

    Attributes:
        pairs: of each pack.
        tree: as in packing.PackedDataset.
        reference: log-probabilities of the answers under the reference model, of each pack, shape (its pairs, 2); set
            before training.
    """

    def __init__(self, pairs: pa.Table, max_length: int, tree: bool = True) -> None:
        """
        Args:
            pairs: with prompt_ids, chosen_ids and rejected_ids, each a list of token ids; one at least.
            max_length: tokens of a pack, at most, unless one pair has more; without a tree, of its segments padded to
                the longest.
            tree: as in packing.PackedDataset.
        """
        self.tree = tree
        ordered = sorted(map(_pair, pairs.to_pylist()), key=sort_key)
        if tree:
            self.pairs = [pack for pack, _ in prefix_trees(ordered, max_length)]
        else:
            self.pairs = side_by_side(ordered, max_length)
        self.reference: list[torch.Tensor] = []

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Pack, list[int], torch.Tensor]:
        """A pack, the tokens of each answer in it, and its reference (of no pairs while there is none)."""
        segments = [segment for pair in self.pairs[index] for segment in pair]
        answer_tokens = [len(each.input_ids) - each.prompt_tokens for each in segments]
        reference = self.reference[index] if self.reference else torch.empty(0, 2)
        return build_pack(segments, self.tree), answer_tokens, reference


def collate_pairs(items: Sequence[tuple[Pack, list[int], torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Batch items of PackedPairs.

    Returns:
        What prefix_tree.collate returns, answer_tokens (int64, shape (answers,), in the order of the labels, the chosen
        one of a pair before the rejected one), and reference, shape (pairs, 2).
    """
    packs, answer_tokens, reference = zip(*items, strict=True)
    return collate(packs) | {
        "answer_tokens": torch.tensor([count for each in answer_tokens for count in each]),
        "reference": torch.cat(reference),
    }


def _pair(row: dict[str, Any]) -> Pair:
    prompt = row["prompt_ids"]
    chosen, rejected = (Segment(np.array(prompt + row[name]), len(prompt)) for name in ("chosen_ids", "rejected_ids"))
    return chosen, rejected
