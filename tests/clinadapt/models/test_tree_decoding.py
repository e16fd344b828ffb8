"""Questions about a note, answered together: the tokens that transformers generates for each alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PhiConfig,
    Qwen3Config,
)

from clinadapt.models.prefix_tree import prefix_tree
from clinadapt.models.tree_decoding import TreeDecoder

SMALL: dict[str, Any] = {
    "vocab_size": 50, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "pad_token_id": 0, "initializer_range": 0.3,
}  # fmt: skip
MODELS = {
    "llama": LlamaConfig(**SMALL, num_key_value_heads=2),
    "phi": PhiConfig(**SMALL),
    "phi3, with a sliding window": Phi3Config(**SMALL, num_key_value_heads=2, sliding_window=12),
    "mistral, with a sliding window": MistralConfig(**SMALL, num_key_value_heads=2, sliding_window=12),
    "qwen3": Qwen3Config(**SMALL, num_key_value_heads=2, head_dim=16),
    "gemma3, with sliding layers": Gemma3TextConfig(
        **SMALL, num_key_value_heads=1, head_dim=16, sliding_window=12,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    ),
}  # fmt: skip
LIMIT = 20


def prompts() -> list[list[list[int]]]:
    """Notes of 5 to 30 tokens with one to four questions, one of them asked twice and one the beginning of another."""
    random = np.random.default_rng(0)
    notes = []
    for length, questions in ((30, 4), (5, 1), (18, 3)):
        note = random.integers(1, 49, length).tolist()
        asked = [note + random.integers(1, 49, n + 1).tolist() for n in range(questions)]
        notes.append(sorted([*asked, asked[0], asked[-1][:-1]] if questions == 4 else asked))
    return notes


def alone(model: Any, prompt: list[int]) -> list[int]:
    ids, no_end = torch.tensor([prompt]), 10_000
    output = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=LIMIT, eos_token_id=no_end
    )
    return output[0, len(prompt) :].tolist()


def until(answer: list[int], end: int) -> list[int]:
    return answer[: answer.index(end) + 1] if end in answer else answer


@pytest.mark.parametrize("name", MODELS)
@torch.inference_mode()
def test_the_tokens_are_those_of_transformers(name: str) -> None:
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(MODELS[name], attn_implementation="sdpa").eval()
    notes = prompts()
    unended = [[alone(model, prompt) for prompt in note] for note in notes]
    answers = [answer for note in unended for answer in note]
    # a token that ends answers at different lengths
    end = max(range(50), key=lambda token: len({len(until(answer, token)) for answer in answers}))
    expected = [[until(answer, end) for answer in note] for note in unended]
    assert len({len(answer) for note in expected for answer in note}) > 1
    decoder = TreeDecoder(model, notes, LIMIT, lambda answer: answer[-1] == end)
    for _ in decoder.steps():
        pass
    assert decoder.answers == expected


@torch.inference_mode()
def test_what_was_read_of_a_note_is_not_read_again() -> None:
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(MODELS["llama"]).eval()
    read: list[int] = []
    model.get_input_embeddings().register_forward_hook(lambda module, given, states: read.append(states.shape[1]))
    note = list(range(1, 40))
    first = TreeDecoder(model, [[[*note, 3, 4]]], 1, lambda answer: False)
    again = TreeDecoder(model, [[[*note, 5, 6, 7]]], 1, lambda answer: False, first.first_prompt)
    same = TreeDecoder(model, [[[*note, 5, 6, 7]]], 1, lambda answer: False, again.first_prompt)
    other = TreeDecoder(model, [[[9, 8, 7]]], 1, lambda answer: False, same.first_prompt)
    assert read == [41, 3, 1, 3]
    assert [d.answers[0][0] for d in (again, same, other)] == [
        alone(model, prompt)[:1] for prompt in ([*note, 5, 6, 7], [*note, 5, 6, 7], [9, 8, 7])
    ]


def test_a_note_is_one_branch_of_the_tree() -> None:
    tree = prefix_tree([np.array(row) for row in prompts()[0]])
    assert len(tree.input_ids) < 30 + 4 + 3 + 2 + 1 + 1  # the note, and what differs of the questions
    for row, path in zip(prompts()[0], tree.paths, strict=True):
        assert tree.input_ids[path].tolist() == row and tree.position_ids[path].tolist() == list(range(len(row)))
