"""The loss of a causal language model by its own forward pass, for packs of segments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from clinadapt.models.memory.instruct import TILE
from clinadapt.models.prefix_tree import rows_of


class Loss(torch.nn.Module):
    """A causal language model that returns the loss of a batch, -log p of each label.

    Attributes:
        tree: whether a batch is computed as prefix trees; else each segment is a padded row of the model's own forward.
    """

    accepts_loss_kwargs = True  # the Trainer then counts the labels of a whole optimizer step

    def __init__(self, model: Any, tree: bool = True) -> None:
        super().__init__()
        self.model, self.tree = model, tree

    def forward(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        subtree_ends: torch.Tensor,
        predicting_positions: torch.Tensor,
        labels: torch.Tensor,
    ) -> torch.Tensor:
        """The losses of a batch of prefix_tree.collate, which documents the shapes; shape (labels,).

        In trees, logits are computed for the predicting tokens alone, and in tiles that the backward pass recomputes,
        so that the logits of a pack never exist all at once (as in Liger Kernel, Hsu et al. 2024, arXiv:2410.10989).
        """
        causal = unwrap(self.model)
        if not self.tree:
            rows, mask, index = rows_of(input_ids, position_ids, subtree_ends)
            logits = causal(input_ids=rows, attention_mask=mask, use_cache=False).logits.flatten(0, 1)
            return cross_entropy(logits[index[predicting_positions]].float(), labels, reduction="none")
        with tree_masks(position_ids, subtree_ends):
            body = causal.base_model(
                input_ids=input_ids,
                position_ids=position_ids,
                attention_mask=torch.ones_like(input_ids),
                use_cache=False,
            )
        states = body.last_hidden_state.flatten(0, 1)[predicting_positions]
        if len(labels) <= TILE:
            return self._tile(causal, body, states, labels)
        tiles = zip(states.split(TILE), labels.split(TILE), strict=True)
        return torch.cat([checkpoint(self._tile, causal, body, *tile, use_reentrant=False) for tile in tiles])

    @staticmethod
    def _tile(causal: Any, body: Any, states: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return cross_entropy(own_logits(causal, body, states).float(), labels, reduction="none")


def unwrap(model: Any) -> Any:
    """The transformers model inside a PeftModel, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def own_logits(causal: Any, body: Any, states: torch.Tensor) -> torch.Tensor:
    """Logits by the model's own forward with its layers left out: its output layer and all that its architecture does
    after it, as the scale of Granite and Cohere and the soft cap of Gemma.

    Args:
        causal: a causal language model of transformers.
        body: what its `base_model` returned.
        states: some of the hidden states in it, shape (tokens, hidden).

    Returns:
        shape (tokens, vocabulary).
    """
    output = type(body)(**{**body, "last_hidden_state": states[None]})
    layers = causal.base_model
    layers.forward = lambda *_, **__: output
    try:
        nothing = torch.zeros(1, len(states), dtype=torch.long, device=states.device)
        return causal(input_ids=nothing, use_cache=False).logits[0]
    finally:
        del layers.forward


@contextmanager
def tree_masks(position_ids: torch.Tensor, subtree_ends: torch.Tensor) -> Iterator[None]:
    """While the block runs, every attention mask that a model of transformers makes is confined to a prefix tree: a
    token attends to its ancestors, and to those alone that the model's own rule (causal, window, chunk) allows at
    their positions.

    Args:
        position_ids, subtree_ends: of prefix_tree.collate, shape (packs, tokens).
    """

    def confined(make_mask: Callable[..., Any]) -> Callable[..., Any]:
        def make(mask_function: Callable[..., torch.Tensor], **options: Any) -> Any:
            def rule(batch: Any, head: Any, query: Any, key: Any) -> torch.Tensor:
                ancestor = (query >= key) & (query < subtree_ends[batch, key])
                return ancestor & mask_function(batch, head, position_ids[batch, query], position_ids[batch, key])

            return make_mask(mask_function=rule, **options | {"allow_is_causal_skip": False})

        return make

    makers = {name: confined(ALL_MASK_ATTENTION_FUNCTIONS[name]) for name in ("eager", "sdpa")}
    for name, maker in makers.items():
        ALL_MASK_ATTENTION_FUNCTIONS[name] = maker
    try:
        yield
    finally:
        for name in makers:
            del ALL_MASK_ATTENTION_FUNCTIONS[name]
