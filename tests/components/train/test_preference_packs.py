"""Pairs share what they can in a pack, none is lost, and none exceeds the room for it unless it has to."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from components.train.preference_packs import PackedPairs, collate_pairs


def pairs(notes: int, questions: int, seed: int = 0) -> pa.Table:
    """Each question has a prompt of 20 tokens of its note and 3 to 9 of its own, each answer 1 to 6 tokens."""
    draw = np.random.default_rng(seed)
    rows = []
    for note in range(notes):
        text = [note + 1, *draw.integers(100, 200, 19).tolist()]
        for _ in range(questions):
            lengths = draw.integers((3, 1, 1), (10, 7, 7))
            asked, chosen, rejected = (draw.integers(200, 300, length).tolist() for length in lengths)
            rows.append({"prompt_ids": text + asked, "chosen_ids": chosen, "rejected_ids": rejected})
    return pa.Table.from_pylist(rows)


@pytest.mark.parametrize("tree", [True, False])
@pytest.mark.parametrize("room", [40, 100, 400])
def test_every_pair_is_in_one_pack_with_its_own_answers(tree: bool, room: int) -> None:
    table = pairs(7, 5)
    packs = PackedPairs(table, room, tree)
    expected = sorted(
        (row["prompt_ids"] + row["chosen_ids"], row["prompt_ids"] + row["rejected_ids"]) for row in table.to_pylist()
    )
    found = [tuple(each.input_ids.tolist() for each in pair) for pack in packs.pairs for pair in pack]
    assert sorted(found) == expected
    for i in range(len(packs)):
        pack, answer_tokens, reference = packs[i]
        segments = [each for pair in packs.pairs[i] for each in pair]
        padded = len(segments) * max(len(each.input_ids) for each in segments)
        assert (len(pack.input_ids) if tree else padded) <= room or len(packs.pairs[i]) == 1
        assert len(answer_tokens) == 2 * len(packs.pairs[i]) and sum(answer_tokens) == len(pack.labels)
        assert reference.shape == (0, 2)
        answers = np.split(pack.labels, np.cumsum(answer_tokens)[:-1])
        for segment, answer in zip(segments, answers, strict=True):
            assert segment.input_ids[segment.prompt_tokens :].tolist() == answer.tolist()


def test_the_questions_about_a_note_share_it() -> None:
    table = pairs(3, 8)
    packs = PackedPairs(table, 4000)
    (computed,) = [len(packs[i][0].input_ids) for i in range(len(packs))]
    answers = sum(len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in table.to_pylist())
    questions = sum(len(row["prompt_ids"]) - 20 for row in table.to_pylist())
    assert 0.9 * (3 * 20 + questions + answers) < computed <= 3 * 20 + questions + answers  # some begin alike


def test_a_batch_of_packs_keeps_answers_and_references_in_their_order() -> None:
    packs = PackedPairs(pairs(4, 3), 100)
    assert len(packs) >= 2
    items = [packs[i] for i in range(2)]
    batch = collate_pairs(items)
    assert batch["answer_tokens"].tolist() == items[0][1] + items[1][1]
    assert batch["labels"].tolist() == [*items[0][0].labels.tolist(), *items[1][0].labels.tolist()]
