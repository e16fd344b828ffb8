"""Generate the answers of one model to the held-out instructions, in cached batches, and time them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import astuple, dataclass
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from clinadapt.artifacts.hashing import sha256_json
from clinadapt.artifacts.step_record import log
from clinadapt.config.instruct import Evaluation
from clinadapt.models.adapter_card import InstructCard
from clinadapt.models.chat_template import Question
from clinadapt.models.generator import Answer, Generator
from clinadapt.models.reproducibility import RELOAD_SAMPLE
from clinadapt.storage.object_store import Store
from components.evaluate.answer_cache import AnswerCache

_FIRST_TOKEN_PROMPTS = 5  # the time to the first token is the median over these
Row = dict[str, Any]  # of test.parquet, schema clinadapt.data.schemas.instruct.EXAMPLES


@dataclass(frozen=True)
class ModelAnswers:
    """Answers of one model, in the order of the rows.

    Attributes:
        answers: generated greedily.
        losses: negative log likelihood of each reference answer, summed over its tokens, shape (rows,).
        tokens: tokens of each reference answer, shape (rows,).
        seconds: of generating all answers.
        first_token_seconds: median time to the first token of a single prompt.
    """

    answers: list[Answer]
    losses: np.ndarray
    tokens: np.ndarray
    seconds: float
    first_token_seconds: float

    @property
    def texts(self) -> list[str]:
        """Text of each answer."""
        return [answer.text for answer in self.answers]


class CachedModel:
    """An instruct adapter and its base model, loaded only when an answer is missing from the cache."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store, self.card = folder, store, InstructCard.read(folder)

    @cached_property
    def generator(self) -> Generator:
        return Generator(self.folder)

    def answer(self, rows: Sequence[Row], settings: Evaluation, title: str, use_adapter: bool = True) -> ModelAnswers:
        """Answer the rows' instructions and compute the loss of their reference answers.

        Args:
            rows: of test.parquet.
            settings: token limit and batch size.
            title: of the model in the log.
            use_adapter: False for the base model without the adapter.

        Raises:
            UserError: the model cannot be loaded.
        """
        log("evaluate", f"{title}: answering {len(rows)} instructions")
        texts = [[row[key] for key in ("note_text", "instruction", "answer")] for row in rows]
        prompts = [sha256_json(texts), settings.max_new_tokens, settings.batch_size]
        cache = AnswerCache(self.store, self.folder, self.card, use_adapter, prompts)

        def cached(name: str, compute: Callable[[Generator, list[Row], Evaluation], Any], of: list[Row]) -> Any:
            def on_miss() -> Any:
                with nullcontext() if use_adapter else self.generator.without_adapter():
                    return compute(self.generator, of, settings)

            return cache.get(name, on_miss)

        answers: dict[int, Answer] = {}
        losses, tokens, seconds = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.int64), 0.0
        for number, batch in enumerate(_batches(rows, settings.batch_size)):
            result = cached(f"answers-{number}", _generate, [rows[i] for i in batch])
            answers |= zip(batch, (Answer(*fields) for fields in result["answers"]), strict=True)
            losses[batch], tokens[batch] = result["losses"], result["tokens"]
            seconds += result["seconds"]
        first_token_seconds = cached("first-token", _first_token_seconds, list(rows[:_FIRST_TOKEN_PROMPTS]))
        return ModelAnswers([answers[i] for i in range(len(rows))], losses, tokens, seconds, first_token_seconds)

    def texts(self, rows: Sequence[Row], settings: Evaluation, title: str) -> list[str]:
        """The adapter's answers to instructions, without anything of their reference answers; arguments as of
        `answer`."""
        log("evaluate", f"{title}: answering {len(rows)} instructions")
        questions = [Question(row["note_text"], row["instruction"]) for row in rows]
        prompts = [sha256_json(list(map(list, questions))), settings.max_new_tokens, settings.batch_size]
        cache = AnswerCache(self.store, self.folder, self.card, True, prompts)
        texts: dict[int, str] = {}
        for number, batch in enumerate(_by_notes(rows, range(len(rows)), settings.batch_size)):
            compute = partial(self._texts, [questions[i] for i in batch], settings)
            texts |= zip(batch, cache.get(f"texts-{number}", compute), strict=True)
        return [texts[i] for i in range(len(rows))]

    def _texts(self, questions: Sequence[Question], settings: Evaluation) -> list[str]:
        answers = self.generator.answers(questions, settings.max_new_tokens, settings.batch_size)
        return [answer.text for answer in answers]


def _batches(rows: Sequence[Row], size: int) -> list[list[int]]:
    """Row numbers of each cached batch: first the rows that publish generates again to check the reloaded adapter
    (`answer_reload_sample`), then the others."""
    first = range(min(RELOAD_SAMPLE, len(rows)))
    return [list(first), *_by_notes(rows, range(len(first), len(rows)), size)]


def _by_notes(rows: Sequence[Row], numbers: Iterable[int], size: int) -> list[list[int]]:
    """Row numbers in batches of `size` notes each, notes of similar length together."""
    by_note: dict[str, list[int]] = {}
    for i in numbers:
        by_note.setdefault(rows[i]["note_text"], []).append(i)
    notes = [by_note[text] for text in sorted(by_note, key=lambda text: -len(text))]
    return [list(chain.from_iterable(notes[i : i + size])) for i in range(0, len(notes), size)]


def _generate(generator: Generator, rows: Sequence[Row], settings: Evaluation) -> dict[str, Any]:
    questions = [Question(row["note_text"], row["instruction"]) for row in rows]
    start = time.monotonic()
    answers = generator.answers(questions, settings.max_new_tokens, settings.batch_size)
    seconds = time.monotonic() - start
    losses, tokens = generator.answer_losses(questions, [row["answer"] for row in rows])
    return {
        "answers": [astuple(answer) for answer in answers],
        "losses": losses.tolist(),
        "tokens": tokens.tolist(),
        "seconds": seconds,
    }


def _first_token_seconds(generator: Generator, rows: Sequence[Row], settings: Evaluation) -> float:
    seconds = []
    for row in rows:
        start = time.monotonic()
        generator.answers([Question(row["note_text"], row["instruction"])], 1, settings.batch_size)
        seconds.append(time.monotonic() - start)
    return statistics.median(seconds)
