"""The check that a published instruct adapter still gives its evaluated answers, token by token."""

from __future__ import annotations

from collections.abc import Sequence

from clinadapt.artifacts.hashing import sha256_json
from clinadapt.models.chat_template import Question
from clinadapt.models.generator import Answer, Generator

RELOAD_SAMPLE = 32  # held-out answers that the reloaded adapter has to repeat


def answer_reload_sample(
    generator: Generator, questions: Sequence[Question], max_new_tokens: int, batch_size: int
) -> list[Answer]:
    """Answer the first RELOAD_SAMPLE questions in batches of their own: equal batches give equal bits."""
    return generator.answers(questions[:RELOAD_SAMPLE], max_new_tokens, batch_size)


def answer_digest(answer: Answer) -> str:
    """The sha256 of an answer's tokens, which identifies it without revealing text of a private note."""
    return sha256_json([answer.tokens, answer.complete])
