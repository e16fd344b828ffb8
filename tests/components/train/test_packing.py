"""Packs: every example has the loss and the gradient that it has alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig
from transformers.masking_utils import create_causal_mask

from clinadapt.errors import UserError
from clinadapt.models import causal_loss
from clinadapt.models.causal_lm import load_causal_lm
from clinadapt.models.causal_loss import Loss, tree_masks
from clinadapt.models.prefix_tree import Segment, build_pack, collate
from components.train.packing import best_fit_decreasing, pack_documents, pack_examples

NAMES = ("tiny_llama", "tiny_phi")


@pytest.fixture(params=NAMES)
def model(request: pytest.FixtureRequest) -> Any:
    return load_causal_lm(request.getfixturevalue(request.param).as_uri(), "none", "fp32")


def examples(splits: Path) -> list[Segment]:
    table = pq.read_table(splits / "train.parquet")
    return [Segment(np.array(row["input_ids"]), row["prompt_tokens"]) for row in table.to_pylist()]


def alone(model: Any, segment: Segment) -> torch.Tensor:
    """The sum of the losses of an example as transformers computes it: one row, no mask, no packing."""
    ids = torch.tensor(segment.input_ids).long()[None]
    logits = model(input_ids=ids).logits[0, segment.prompt_tokens - 1 : -1]
    return cross_entropy(logits, ids[0, segment.prompt_tokens :], reduction="sum")


def mask_of(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The mask of the first pack, as transformers makes it for a model with full attention; shape (tokens, tokens)."""
    config = LlamaConfig(attn_implementation="sdpa")
    with tree_masks(batch["position_ids"], batch["subtree_ends"]):
        states = torch.zeros(*batch["input_ids"].shape, 1)
        mask = create_causal_mask(config, states, torch.ones_like(batch["input_ids"]), None, batch["position_ids"])
    return mask[0, 0].long()


def gradients(model: Any) -> dict[str, torch.Tensor]:
    current = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return current


def assert_close(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert actual.keys() == expected.keys()
    for name, gradient in expected.items():
        assert (actual[name] - gradient).norm() <= 1e-5 * gradient.norm(), name


@pytest.mark.parametrize("batch_size", [1, 2])
def test_packed_examples_have_the_losses_and_gradients_that_they_have_alone(
    model: Any, instruct_splits: Path, batch_size: int
) -> None:
    """All packs of the split, one or two to a batch, against all examples one by one."""
    packs = pack_examples(pq.read_table(instruct_splits / "train.parquet"), 600)
    assert packs.computed_tokens < 0.7 * packs.useful_tokens
    expected = sum(alone(model, segment) for segment in examples(instruct_splits))
    expected.backward()
    each = gradients(model)
    total = 0.0
    for start in range(0, len(packs), batch_size):
        loss = Loss(model)(**collate([packs[i] for i in range(start, min(start + batch_size, len(packs)))])).sum()
        loss.backward()
        total += loss.item()
    assert total == pytest.approx(expected.item(), rel=1e-5)
    assert_close(gradients(model), each)


def test_one_example_of_a_pack_has_its_own_loss_and_gradient(model: Any, instruct_splits: Path) -> None:
    """The loss of its labels alone, with all other tokens in the same pack."""
    segments = examples(instruct_splits)[:4]  # three of one note, one of another
    for i, segment in enumerate(segments):
        pack = build_pack([*segments[:i], Segment(segment.input_ids, segment.prompt_tokens), *segments[i + 1 :]])
        counts = np.cumsum([0, *(len(p.input_ids) - p.prompt_tokens for p in segments)])
        batch = collate([pack])
        for key in ("predicting_positions", "labels"):
            batch[key] = batch[key][counts[i] : counts[i + 1]]
        loss = Loss(model)(**batch).sum()
        loss.backward()
        actual = gradients(model)
        expected = alone(model, segment)
        expected.backward()
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
        assert_close(actual, gradients(model))


def test_no_example_sees_another(model: Any, instruct_splits: Path) -> None:
    """Another answer, or another note, in the same pack changes no loss of the others, in any bit."""
    segments = examples(instruct_splits)[:6]
    counts = np.cumsum([0, *(len(p.input_ids) - p.prompt_tokens for p in segments)])

    def losses(segments: list[Segment]) -> torch.Tensor:
        batch = collate([build_pack(segments)])
        with tree_masks(batch["position_ids"], batch["subtree_ends"]):
            states = model.model(
                input_ids=batch["input_ids"],
                position_ids=batch["position_ids"],
                attention_mask=torch.ones_like(batch["input_ids"]),
            ).last_hidden_state.flatten(0, 1)[batch["predicting_positions"]]
        return cross_entropy(model.lm_head(states), batch["labels"], reduction="none")

    before = losses(segments)
    for i in range(len(segments)):
        ids = segments[i].input_ids.copy()
        ids[segments[i].prompt_tokens :] = (ids[segments[i].prompt_tokens :] + 7) % 600
        after = losses([*segments[:i], Segment(ids, segments[i].prompt_tokens), *segments[i + 1 :]])
        changed = slice(counts[i], counts[i + 1])
        assert not torch.equal(before[changed], after[changed])
        rest = torch.ones(len(before), dtype=torch.bool)
        rest[changed] = False
        assert torch.equal(before[rest], after[rest])


def test_documents_side_by_side_have_the_losses_that_they_have_alone(model: Any, instruct_splits: Path) -> None:
    column = pq.read_table(instruct_splits / "corpus.parquet")["input_ids"]
    packs = pack_documents(column, 200, seed=0)
    assert {len(packs[i].input_ids) for i in range(len(packs) - 1)} <= {199, 200}  # a first token may be shared
    segments = [segment for pack in packs.segments for segment in pack]
    assert sum(len(segment.input_ids) for segment in segments) >= sum(map(len, column.to_pylist())) - len(packs)
    expected = sum(alone(model, segment) for segment in segments)
    actual = sum(Loss(model)(**collate([packs[i]])).sum() for i in range(len(packs)))
    assert actual.item() == pytest.approx(expected.item(), rel=1e-5)


def test_tiles_give_the_loss_and_gradients_of_all_logits_at_once(
    model: Any, instruct_splits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packs = pack_documents(pq.read_table(instruct_splits / "corpus.parquet")["input_ids"], 200, seed=0)
    whole = Loss(model)(**collate([packs[0]])).sum()
    whole.backward()
    expected = gradients(model)
    largest = []
    head = model.lm_head.register_forward_hook(lambda module, given, logits: largest.append(logits.shape[1]))
    monkeypatch.setattr(causal_loss, "TILE", 32)
    tiled = Loss(model)(**collate([packs[0]])).sum()
    tiled.backward()
    head.remove()
    assert max(largest) == 32 and len(largest) == 2 * -(-(len(packs[0].labels)) // 32)  # forward and backward
    assert tiled.item() == pytest.approx(whole.item(), rel=1e-6)
    assert_close(gradients(model), expected)


def test_shared_prefixes_are_computed_once() -> None:
    one, two, three = (Segment(np.array(ids), 3) for ids in ([5, 6, 7, 8], [5, 6, 7, 9, 9], [5, 1, 2, 3]))
    pack = build_pack([one, two, three])
    assert pack.input_ids.tolist() == [5, 6, 7, 8, 9, 9, 1, 2, 3]
    assert pack.position_ids.tolist() == [0, 1, 2, 3, 3, 4, 1, 2, 3]
    assert pack.subtree_ends.tolist() == [9, 6, 6, 4, 6, 6, 9, 9, 9]
    assert pack.predicting_positions.tolist() == [2, 2, 4, 7] and pack.labels.tolist() == [8, 9, 9, 3]
    mask = mask_of(collate([pack]))
    assert mask[5].nonzero().flatten().tolist() == [0, 1, 2, 4, 5]
    assert mask[8].nonzero().flatten().tolist() == [0, 6, 7, 8]


def test_padding_attends_to_itself_alone() -> None:
    packs = [build_pack([Segment(np.arange(2, 2 + n), 1)]) for n in (2, 4)]
    mask = mask_of(collate(packs))
    assert mask.tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def table(rows: list[tuple[str, list[int], int]]) -> pa.Table:
    note, ids, prompt = zip(*rows, strict=True)
    return pa.table({"note_id": note, "input_ids": pa.array(ids, pa.list_(pa.int32())), "prompt_tokens": prompt})


def test_a_note_larger_than_a_pack_is_repeated_in_the_next() -> None:
    note = [0, *range(10, 40)]
    packs = pack_examples(table([("a", [*note, 50 + i, *[60 + i] * 9, 1], len(note) + 1) for i in range(5)]), 64)
    assert len(packs) == 2
    assert sorted(len(packs[i].input_ids) for i in range(2)) == [31 + 2 * 11, 31 + 3 * 11]
    assert sum((packs[i].labels == 1).sum() for i in range(2)) == 5  # every end of text is a label


def test_the_same_prompt_with_two_answers_trains_both() -> None:
    packs = pack_examples(table([("a", [0, 5, 6, 7, 1], 3), ("a", [0, 5, 6, 8, 1], 3)]), 16)
    assert packs[0].input_ids.tolist() == [0, 5, 6, 7, 1, 8, 1]
    assert packs[0].predicting_positions.tolist() == [2, 3, 2, 5]


def test_packs_are_filled_by_best_fit_decreasing() -> None:
    assert best_fit_decreasing([3, 7, 5, 2, 6, 1], 8) == [[1, 5], [4, 3], [2, 0]]
    sizes = np.random.default_rng(0).integers(1, 100, 2000).tolist()
    bins = best_fit_decreasing(sizes, 100)
    assert sorted(i for bin_ in bins for i in bin_) == list(range(2000))
    assert all(sum(sizes[i] for i in bin_) <= 100 for bin_ in bins)
    assert len(bins) <= 1.02 * sum(sizes) / 100


def test_the_order_of_rows_does_not_matter(instruct_splits: Path) -> None:
    rows = pq.read_table(instruct_splits / "train.parquet")
    one, other = pack_examples(rows, 600), pack_examples(rows.take(np.arange(len(rows))[::-1]), 600)
    assert [one[i].input_ids.tolist() for i in range(len(one))] == [
        other[i].input_ids.tolist() for i in range(len(one))
    ]


def test_what_cannot_be_packed_is_an_error() -> None:
    with pytest.raises(UserError, match="an example has 5 tokens and a pack holds 4: raise"):
        pack_examples(table([("a", [0, 5, 6, 7, 1], 3)]), 4)
    with pytest.raises(UserError, match="no example"):
        pack_examples(table([("a", [0, 1], 1)]).slice(1), 4)
    with pytest.raises(UserError, match="no note"):
        pack_documents(pa.chunked_array([], pa.list_(pa.int32())), 64, 0)
