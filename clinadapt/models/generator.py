"""A causal language model with an instruct adapter, ready to answer questions about notes.

All code that turns a note and an instruction into an answer is here: evaluation, the reload check of publish, the
command line and the review page use it.
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
from clinadapt.models.causal_lm import load_causal_lm, pad_left
from clinadapt.models.chat_template import Prompt, Question, Template, load_tokenizer
from clinadapt.models.devices import autocast, device, resolve_precision
from clinadapt.models.stopping import Stopping

_TOKENS_PER_BATCH = 8192  # of rows whose loss is computed in one forward pass, padding included


@dataclass(frozen=True)
class Answer:
    """A generated answer.

    Attributes:
        text: without special tokens and surrounding blanks.
        tokens: ids as generated, without the token that ends the answer.
        complete: whether the model ended the answer; false where it was cut off at `max_new_tokens`.
        trimmed_tokens: tokens of the note that were left out to fit the adapter's `max_length`.
    """

    text: str
    tokens: list[int]
    complete: bool
    trimmed_tokens: int


class Generator:
    """A base model with an instruct adapter. Decoding is greedy: the same questions in the same order with the same
    batch size give the same bits.

    Attributes:
        card: the adapter's InstructCard.
        template: its chat template.
        stopping: where an answer ends, as the base model's authors publish it.
        model: the peft model, or the merged model.
    """

    def __init__(self, folder: Path, merged: Path | None = None) -> None:
        """Load the adapter in `folder` (adapter_model.safetensors, clinadapt.json, tokenizer) onto its base model.

        Args:
            folder: of the adapter.
            merged: folder of a model with the adapter already merged, to answer with instead.

        Raises:
            UserError: the base model is not available, or is not the one that the adapter was trained on.
        """
        self.card = InstructCard.read(folder)
        self.card.check_base()
        self.precision = resolve_precision(self.card.precision)
        self.tokenizer = load_tokenizer(folder)
        self.template = Template(self.tokenizer)
        model = load_causal_lm(
            merged.as_uri() if merged else self.card.base_model,
            "none" if merged else self.card.quantization,
            self.precision,
        )
        self.stopping = Stopping.of(model.generation_config, self.tokenizer, self.template.end)
        model.generation_config = GenerationConfig()  # discards the base's own defaults (temperature, penalties)
        self.model: Any = model if merged else PeftModel.from_pretrained(model, str(folder)).eval()

    def answers(
        self, questions: Sequence[Question], max_new_tokens: int | None = None, batch_size: int = 16
    ) -> list[Answer]:
        """Answer questions, prompts of similar length in one batch.

        Args:
            questions: about notes; a note that does not fit the adapter's `max_length` is trimmed in the middle.
            max_new_tokens: limit for an answer; by default that of the adapter's card.
            batch_size: prompts per batch.

        Returns:
            Answers in the order of the questions.

        Raises:
            UserError: an instruction alone is longer than the adapter's `max_length`.
        """
        max_new_tokens = max_new_tokens or self.card.max_new_tokens
        prompts = self._prompts(questions, max_new_tokens)
        longest_first = sorted(range(len(prompts)), key=lambda i: -len(prompts[i].input_ids))
        answers: dict[int, Answer] = {}
        for start in range(0, len(longest_first), batch_size):
            batch = longest_first[start : start + batch_size]
            generated = self._generate([prompts[i].input_ids for i in batch], max_new_tokens)
            for i, row in zip(batch, generated, strict=True):
                answers[i] = self._answer(row, prompts[i])
        return [answers[i] for i in range(len(prompts))]

    def without_adapter(self) -> AbstractContextManager[None]:
        """Context manager within which the base model answers."""
        return self.model.disable_adapter()

    def stream(self, question: Question, max_new_tokens: int | None = None) -> Pieces[str, None, Answer]:
        """Yield pieces of the answer's text as they are generated; the value of `yield from` is the Answer. Generation
        stops when the consumer closes the iterator.

        Raises:
            UserError: as `answers`.
        """
        max_new_tokens = max_new_tokens or self.card.max_new_tokens
        (prompt,) = self._prompts([question], max_new_tokens)
        streamer = TextIteratorStreamer(self.tokenizer, skip_prompt=True, skip_special_tokens=True)
        stop = _StopRequest()
        generated: list[list[int]] = []
        errors: list[BaseException] = []

        def generate() -> None:
            try:
                options = {"streamer": streamer, "stopping_criteria": StoppingCriteriaList([stop])}
                generated.extend(self._generate([prompt.input_ids], max_new_tokens, **options))
            except BaseException as error:  # raised again in the consumer's thread, which waits for the streamer
                errors.append(error)
                streamer.end()

        thread = threading.Thread(target=generate, name="clinadapt-stream", daemon=True)
        thread.start()
        text, shown = "", 0
        try:
            for piece in streamer:
                text = (text + piece).lstrip()
                if (end := self.stopping.final_length(text)) > shown:
                    yield text[shown:end]
                    shown = end
        finally:
            stop.event.set()
            thread.join()
        if errors:
            raise errors[0]
        if rest := self.stopping.cut_text(text)[0][shown:]:  # it might have been the beginning of a stop string
            yield rest
        return self._answer(generated[0], prompt)

    def answer_losses(self, questions: Sequence[Question], answers: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The negative log likelihood of given answers, the token that ends each included.

        Args:
            questions: about notes.
            answers: one for each question; of a very long answer the first `max_length` / 2 tokens count.

        Returns:
            (sum of -log p in nats, number of tokens it is over), both of shape (questions,).

        Raises:
            UserError: as `answers`.
        """
        encoded = self.template.encode_answers(answers)
        ids = [row[: len(self.stopping.cut(row)[0]) + 1][: self.card.max_length // 2] for row in encoded]
        prompts = self.template.encode_prompts(questions, [self.card.max_length - len(row) for row in ids])
        rows = [prompt.input_ids + row for prompt, row in zip(prompts, ids, strict=True)]
        sums = np.zeros(len(rows))
        order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
        while order:
            size = max(1, _TOKENS_PER_BATCH // len(rows[order[0]]))
            batch, order = order[:size], order[size:]
            sums[batch] = self._losses([rows[i] for i in batch], [len(ids[i]) for i in batch])
        return sums, np.array([len(row) for row in ids])

    def _prompts(self, questions: Sequence[Question], max_new_tokens: int) -> list[Prompt]:
        return self.template.encode_prompts(questions, [self.card.max_length - max_new_tokens] * len(questions))

    def _generate(self, rows: list[list[int]], max_new_tokens: int, **options: Any) -> list[list[int]]:
        """New tokens for each prompt; those after the end of an answer are padding."""
        ids, mask = pad_left(rows)
        settings = self.stopping.generation_config(max_new_tokens)
        if settings.stop_strings:
            options["tokenizer"] = self.tokenizer
        with torch.inference_mode(), autocast(self.precision):
            output = self.model.generate(
                input_ids=ids.to(device()), attention_mask=mask.to(device()), generation_config=settings, **options
            )
        return output[:, ids.shape[1] :].tolist()

    def _answer(self, row: list[int], prompt: Prompt) -> Answer:
        tokens, ended = self.stopping.cut(row)
        text, stopped = self.stopping.cut_text(self.tokenizer.decode(tokens, skip_special_tokens=True))
        return Answer(text.strip(), tokens, ended or stopped, prompt.trimmed_tokens)

    def _losses(self, rows: list[list[int]], answer_lengths: list[int]) -> np.ndarray:
        """Sums of -log p of the last `answer_lengths` tokens of each row, shape (rows,). Rows are padded on the left,
        so that the answers end together and no logits of prompts are computed."""
        ids, mask = pad_left(rows)
        ids, mask, longest = ids.to(device()), mask.to(device()), max(answer_lengths)
        with torch.inference_mode(), autocast(self.precision):
            logits = self.model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=(mask.cumsum(1) - 1).clamp(min=0),
                use_cache=False,
                logits_to_keep=longest + 1,
            ).logits
        targets = ids[:, -longest:]
        losses = cross_entropy(logits[:, :-1].float().transpose(1, 2), targets, reduction="none").cpu().numpy()
        return np.array([row[longest - n :].sum() for row, n in zip(losses, answer_lengths, strict=True)])


class _StopRequest(StoppingCriteria):
    """Stops a generation whose consumer has closed the stream."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        return torch.full((len(input_ids),), self.event.is_set(), device=input_ids.device)
