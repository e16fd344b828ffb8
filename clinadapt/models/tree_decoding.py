"""Greedy decoding of many questions about the same notes: each note is read once.

The prompts about a note are a prefix tree. One forward pass computes the keys and values of its tokens; every prompt is
then a branch that attends to its ancestors and to its own answer. A step writes one token of every unfinished answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from transformers.cache_utils import Cache, DynamicLayer

from clinadapt.models.devices import device
from clinadapt.models.prefix_tree import PrefixTree, common_prefix_length, prefix_tree

_ROOM = 256  # tokens by which a full buffer of keys and values grows

Ended = Callable[[list[int]], bool]  # whether the last token of an answer ends it
Layers = list[tuple[torch.Tensor, torch.Tensor]]  # keys and values of each layer, (1, heads, tokens, size)
ReadPrompt = tuple[np.ndarray, Layers]  # a prompt, and what the model has read of it


def decodes_trees(model: Any) -> bool:
    """Whether TreeDecoder can write with a model: by its attention, and by its kinds of layers."""
    kinds = set(getattr(model.config.get_text_config(), "layer_types", None) or [])
    return model.config._attn_implementation == "sdpa" and kinds <= {"full_attention", "sliding_attention"}


class GrowingLayer(DynamicLayer):
    """Keys and values of a layer in a buffer with room to grow, so that a step copies its own tokens alone."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self._buffers: tuple[torch.Tensor, ...] = (keys, values)
        self._filled = keys.shape[-2]
        self.keys, self.values = keys, values

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append (rows, heads, tokens, size); returns all keys and values."""
        start, self._filled = self._filled, self._filled + key_states.shape[-2]
        if self._filled > self._buffers[0].shape[-2]:
            self._buffers = tuple(_with_room(buffer, self._filled + _ROOM) for buffer in self._buffers)
        for buffer, new in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, start : self._filled] = new
        self.keys, self.values = (buffer[:, :, : self._filled] for buffer in self._buffers)
        return self.keys, self.values


class TreeDecoder:
    """The answers to several prompts about each of several notes, while they are written.

    Attributes:
        answers: for each note, for each of its prompts, the tokens so far, with the one that ended the answer.
        first_prompt: what was read of the first one, for a decoder of another question about the same note.
    """

    def __init__(
        self,
        model: Any,
        notes: Sequence[Sequence[Sequence[int]]],
        max_new_tokens: int,
        ended: Ended,
        earlier: ReadPrompt | None = None,
    ) -> None:
        """Read the notes, and write the first token of every answer.

        Args:
            model: a causal language model.
            notes: for each note the token ids of the prompts about it, neighbours alike.
            max_new_tokens: limit for an answer.
            ended: whether an answer is complete.
            earlier: a prompt whose beginning need not be read again.
        """
        self._model, self._limit, self._ended = model, max_new_tokens, ended
        self.answers: list[list[list[int]]] = [[[] for _ in prompts] for prompts in notes]
        self._lengths = [[len(prompt) for prompt in prompts] for prompts in notes]
        self._unfinished = [list(range(len(prompts))) for prompts in notes]
        self._rows = list(range(len(notes)))  # the note of each row of the cache
        self._read(notes, earlier)

    def steps(self) -> Iterator[None]:
        """Write a token of every unfinished answer, again and again until all are finished."""
        while any(self._unfinished):
            yield
            self._drop_finished_notes()
            self._step()

    def _read(self, notes: Sequence[Sequence[Sequence[int]]], earlier: ReadPrompt | None) -> None:
        trees = [prefix_tree([np.asarray(prompt) for prompt in prompts]) for prompts in notes]
        branches = max(map(len, notes))
        self._filled = max(len(tree.input_ids) for tree in trees)
        shape = len(notes), self._filled + self._limit * branches
        # which slots of its note's row a branch attends to; the last branch stands for padding
        self._visible = torch.zeros(shape[0], branches + 1, shape[1], dtype=torch.bool, device=device())
        self._positions = torch.zeros(shape, dtype=torch.long, device=device())
        read = []
        for row, tree in enumerate(trees):
            for branch, path in enumerate(tree.paths):
                self._visible[row, branch, torch.from_numpy(path)] = True
            self._positions[row, : len(tree.position_ids)] = torch.from_numpy(tree.position_ids)
            logits, layers = self._read_tree(tree, earlier)
            self._extend(row, range(len(tree.paths)), logits)
            read.append(layers)
        prompt = np.asarray(notes[0][0])
        self.first_prompt = (
            prompt,
            [(keys[:, :, : len(prompt)], values[:, :, : len(prompt)]) for keys, values in read[0]],
        )
        self._cache = Cache(layers=[_join(layers, self._filled) for layers in zip(*read, strict=True)])

    def _read_tree(self, tree: PrefixTree, earlier: ReadPrompt | None) -> tuple[torch.Tensor, Layers]:
        """(logits of the first token of each answer, keys and values of each layer) of the prompts about a note."""
        leaves = [int(path[-1]) for path in tree.paths]
        first, layers = earlier or (np.zeros(0, dtype=np.int64), [])
        start = min([common_prefix_length(first, tree.input_ids[tree.paths[0]]), *leaves])
        if start:
            cache = Cache(layers=[GrowingLayer(keys[:, :, :start], values[:, :, :start]) for keys, values in layers])
        else:
            cache = Cache(layer_class_to_replicate=DynamicLayer)
        ids, positions, ends = tree.tensors(device())
        logits = self._forward(
            ids[:, start:], positions[:, start:], positions, _ancestors(ends)[:, :, start:], cache,
            [leaf - start for leaf in leaves],
        )  # fmt: skip
        return logits[0], [(layer.keys, layer.values) for layer in cache.layers]

    def _step(self) -> None:
        width = max(len(self._unfinished[note]) for note in self._rows)
        padding = self._visible.shape[1] - 1
        branches = [[*self._unfinished[n], *[padding] * (width - len(self._unfinished[n]))] for n in self._rows]
        ids = [[self._last(n, branch) for branch in row] for n, row in zip(self._rows, branches, strict=True)]
        index = torch.tensor(branches, device=device())
        tokens, positions = torch.tensor(ids, device=device()).unbind(-1)
        slots = torch.arange(self._filled, self._filled + width, device=device())
        rows = torch.arange(len(self._rows), device=device())[:, None]
        self._visible[rows, index, slots] = True
        self._positions[:, slots] = positions
        self._filled += width
        visible = self._visible[rows, index, : self._filled][:, None]
        logits = self._forward(tokens, positions, self._positions[:, : self._filled], visible, self._cache, 0)
        for row, note in enumerate(self._rows):
            self._extend(note, list(self._unfinished[note]), logits[row])

    def _forward(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        key_positions: torch.Tensor,
        visible: torch.Tensor,
        cache: Cache,
        keep: int | list[int],
    ) -> torch.Tensor:
        """Logits of all queries (`keep` 0) or of some, shape (rows, queries, vocabulary)."""
        return self._model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=_layer_masks(self._model.config, visible, positions, key_positions),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=torch.tensor(keep, device=device()) if isinstance(keep, list) else keep,
        ).logits

    def _extend(self, note: int, branches: Sequence[int], logits: torch.Tensor) -> None:
        """Append the likeliest token to each of these answers; logits of shape (branches or more, vocabulary)."""
        for branch, token in zip(branches, logits[: len(branches)].argmax(-1).tolist(), strict=True):
            answer = self.answers[note][branch]
            answer.append(token)
            if len(answer) == self._limit or self._ended(answer):
                self._unfinished[note].remove(branch)

    def _last(self, note: int, branch: int) -> tuple[int, int]:
        """The last token of an answer and its position; zeros for padding."""
        if branch >= len(self.answers[note]):
            return 0, 0
        answer = self.answers[note][branch]
        return answer[-1], self._lengths[note][branch] + len(answer) - 1

    def _drop_finished_notes(self) -> None:
        """Drop the rows of notes whose answers are finished once they are half of all, as dropping copies the rest."""
        kept = [row for row, note in enumerate(self._rows) if self._unfinished[note]]
        if len(kept) * 2 > len(self._rows):
            return
        index = torch.tensor(kept, device=device())
        layers = [GrowingLayer(layer.keys[index], layer.values[index]) for layer in self._cache.layers]
        self._cache = Cache(layers=layers)
        self._visible, self._positions = self._visible[index], self._positions[index]
        self._rows = [self._rows[row] for row in kept]


def _join(layers: Sequence[tuple[torch.Tensor, torch.Tensor]], longest: int) -> GrowingLayer:
    """One layer's keys and values of all notes, each (1, heads, tokens, size), padded to the longest note."""
    keys, values = (
        torch.cat([_with_room(tensor, longest) for tensor in tensors]) for tensors in zip(*layers, strict=True)
    )
    return GrowingLayer(keys, values)


def _with_room(states: torch.Tensor, tokens: int) -> torch.Tensor:
    """A copy of (rows, heads, n, size) with room for `tokens` tokens, the new ones zero."""
    larger = states.new_zeros(*states.shape[:2], tokens, states.shape[3])
    larger[:, :, : states.shape[2]] = states
    return larger


def _ancestors(subtree_ends: torch.Tensor) -> torch.Tensor:
    """Mask of prefix trees: which query (third dimension) attends to which key (fourth).

    Args:
        subtree_ends: shape (trees, tokens).

    Returns:
        bool, shape (trees, 1, tokens, tokens).
    """
    index = torch.arange(subtree_ends.shape[1], device=subtree_ends.device)
    return ((index[:, None] >= index) & (index[:, None] < subtree_ends[:, None, :]))[:, None]


def _layer_masks(
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
