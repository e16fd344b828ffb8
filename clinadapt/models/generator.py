"""A causal language model with an instruct adapter, ready to answer questions about notes.

The only place that turns a note and an instruction into an answer: evaluation compares with it, publish proves with it,
the command line and the review page answer with it.
"""

from __future__ import annotations

import threading
from collections.abc import Generator as Pieces
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList, TextIteratorStreamer

from clinadapt.models.adapter_card import InstructCard
from clinadapt.models.causal_lm import load_causal, pad_left
from clinadapt.models.chat_template import Question, Template, load_tokenizer
from clinadapt.models.devices import autocast, device, resolve_precision

_TOKENS_OF_LOSSES = 8192  # in a forward pass, padding included


@dataclass(frozen=True)
class Answer:
    """What a model says.

    Attributes:
        text: without special tokens and blanks around it.
        tokens: ids as they were generated, the end-of-sequence token excluded.
        ended: whether it came to its end by itself, and was not cut at the limit.
        lost_tokens: of the note, left out for want of room.
    """

    text: str
    tokens: list[int]
    ended: bool
    lost_tokens: int


class Generator:
    """A base model with an instruct adapter. Answers are greedy: the same questions in the same order with the same
    batch size give the same bits."""

    def __init__(self, folder: Path, merged: Path | None = None) -> None:
        """Load the adapter in `folder` (adapter_model.safetensors, clinadapt.json, tokenizer) onto its base model.

        Args:
            folder: of the adapter.
            merged: a model with the adapter in it already, which answers instead.

        Raises:
            UserError: the base model cannot be had, or is not the one that the adapter was trained on.
        """
        self.card = InstructCard.read(folder)
        self.card.check_base()
        self.precision = resolve_precision(self.card.precision)
        self.tokenizer = load_tokenizer(folder)
        self.template = Template(self.tokenizer)
        self.eos: int = self.tokenizer.eos_token_id
        model = load_causal(
            merged.as_uri() if merged else self.card.base_model,
            "none" if merged else self.card.quantization,
            self.precision,
        )
        model.generation_config = GenerationConfig()  # a base's own habits (temperature, penalties) are not ours
        self.model: Any = model if merged else PeftModel.from_pretrained(model, str(folder)).eval()

    def answers(
        self, questions: Sequence[Question], max_new_tokens: int | None = None, batch_size: int = 16
    ) -> list[Answer]:
        """Answer questions, prompts of like length together.

        Args:
            questions: about notes; of a note too long for the adapter's length the middle is left out.
            max_new_tokens: of an answer, at most; what the adapter was trained for when None.
            batch_size: prompts that are answered together.

        Raises:
            UserError: an instruction alone is longer than the adapter's length.
        """
        most = max_new_tokens or self.card.max_new_tokens
        prompts = self.template.encode_prompts(questions, [self.card.max_length - most] * len(questions))
        order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i].input_ids))
        answers: dict[int, Answer] = {}
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            generated = self._generate([prompts[i].input_ids for i in batch], most)
            for i, row in zip(batch, generated, strict=True):
                answers[i] = self._answer(row, prompts[i].lost_tokens)
        return [answers[i] for i in range(len(prompts))]

    def without_adapter(self) -> AbstractContextManager[None]:
        """Within it, the base model answers."""
        return self.model.disable_adapter()

    def stream(self, question: Question, max_new_tokens: int | None = None) -> Pieces[str, None, Answer]:
        """Pieces of the answer as they come, and in the end the answer as the value of `yield from`. Generation stops
        when the consumer closes the iterator.

        Raises:
            UserError: as `answers`.
        """
        most = max_new_tokens or self.card.max_new_tokens
        (prompt,) = self.template.encode_prompts([question], [self.card.max_length - most])
        streamer = TextIteratorStreamer(self.tokenizer, skip_prompt=True, skip_special_tokens=True)
        left = _Left()
        generated: list[list[int]] = []
        failed: list[BaseException] = []

        def work() -> None:
            try:
                options = {"streamer": streamer, "stopping_criteria": StoppingCriteriaList([left])}
                generated.extend(self._generate([prompt.input_ids], most, **options))
            except BaseException as error:  # the consumer waits in another thread: it has to hear of it
                failed.append(error)
                streamer.end()

        thread = threading.Thread(target=work, name="clinadapt-stream", daemon=True)
        thread.start()
        begun = False
        try:
            for piece in streamer:
                shown = piece if begun else piece.lstrip()
                begun = begun or bool(shown)
                if shown:
                    yield shown
        finally:
            left.event.set()
            thread.join()
        if failed:
            raise failed[0]
        return self._answer(generated[0], prompt.lost_tokens)

    def answer_losses(self, questions: Sequence[Question], answers: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """How surprised the model is by given answers, the end included.

        Args:
            questions: about notes, shape (questions,).
            answers: the right ones; of a very long one the first tokens, half the adapter's length.

        Returns:
            (sums of -log p, tokens they are over), both of shape (questions,).
        """
        ids = [row[: self.card.max_length // 2] for row in self.template.encode_answers(answers)]
        prompts = self.template.encode_prompts(questions, [self.card.max_length - len(row) for row in ids])
        rows = [prompt.input_ids + row for prompt, row in zip(prompts, ids, strict=True)]
        sums = np.zeros(len(rows))
        order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
        while order:
            size = max(1, _TOKENS_OF_LOSSES // len(rows[order[0]]))
            batch, order = order[:size], order[size:]
            sums[batch] = self._losses([rows[i] for i in batch], [len(ids[i]) for i in batch])
        return sums, np.array([len(row) for row in ids])

    def _generate(self, rows: list[list[int]], most: int, **options: Any) -> list[list[int]]:
        """Up to `most` new tokens for each prompt; what follows end-of-sequence means nothing."""
        ids, mask = pad_left(rows)
        settings = GenerationConfig(do_sample=False, max_new_tokens=most, eos_token_id=self.eos, pad_token_id=self.eos)
        with torch.inference_mode(), autocast(self.precision):
            out = self.model.generate(
                input_ids=ids.to(device()), attention_mask=mask.to(device()), generation_config=settings, **options
            )
        return out[:, ids.shape[1] :].tolist()

    def _answer(self, row: list[int], lost_tokens: int) -> Answer:
        ended = self.eos in row
        tokens = row[: row.index(self.eos)] if ended else row
        return Answer(self.tokenizer.decode(tokens, skip_special_tokens=True).strip(), tokens, ended, lost_tokens)

    def _losses(self, rows: list[list[int]], tokens: list[int]) -> np.ndarray:
        """Padding stands before, so that the answers end together and the logits of the prompts are never made."""
        ids, mask = pad_left(rows)
        ids, mask, longest = ids.to(device()), mask.to(device()), max(tokens)
        with torch.inference_mode(), autocast(self.precision):
            logits = self.model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=(mask.cumsum(1) - 1).clamp(min=0),
                use_cache=False,
                logits_to_keep=longest + 1,
            ).logits
        wanted = ids[:, -longest:]
        losses = cross_entropy(logits[:, :-1].float().transpose(1, 2), wanted, reduction="none").cpu().numpy()
        return np.array([row[longest - n :].sum() for row, n in zip(losses, tokens, strict=True)])


class _Left(StoppingCriteria):
    """Stops a generation when nobody listens any more."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        return torch.full((len(input_ids),), self.event.is_set(), device=input_ids.device)
