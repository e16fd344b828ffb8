"""What publish proves an instruct adapter by: its first held-out answers, compared token by token."""

from __future__ import annotations

from collections.abc import Sequence

from clinadapt.artifacts.hashing import sha256_json
from clinadapt.models.chat_template import Question
from clinadapt.models.generator import Answer, Generator

RELOAD_SAMPLE = 32  # answers that are given again


def answer_reload_sample(
    generator: Generator, questions: Sequence[Question], max_new_tokens: int, batch_size: int
) -> list[Answer]:
    """The first answers, in batches of their own: the same questions in the same batches give the same bits."""
    return generator.answers(questions[:RELOAD_SAMPLE], max_new_tokens, batch_size)


def digest(answer: Answer) -> str:
    """Names the tokens of an answer; tells nothing of a private note."""
    return sha256_json([answer.tokens, answer.ended])
