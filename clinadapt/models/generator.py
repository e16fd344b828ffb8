"""A causal language model with an instruct adapter, ready to answer questions about notes.

All code that turns a note and an instruction into an answer is here: evaluation, the reload check of publish, the
command line and the review page use it.
"""

from __future__ import annotations

from collections.abc import Generator as Pieces
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig

from clinadapt.models.adapter_card import InstructCard
from clinadapt.models.adapter_weights import load_adapter
from clinadapt.models.causal_lm import load_causal_lm
from clinadapt.models.causal_loss import tree_masks
from clinadapt.models.chat_template import Prompt, Question, Template, load_tokenizer
from clinadapt.models.devices import autocast, device, resolve_precision
from clinadapt.models.prefix_tree import prefix_tree
from clinadapt.models.stopping import Stopping
from clinadapt.models.tree_check import tree_fault
from clinadapt.models.tree_decoding import ReadPrompt, TreeDecoder, decodes_trees

_QUESTIONS = 16  # about a note, at most, that are answered together


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
        base = self.card.check_base()
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
        self._tree = decodes_trees(model) and not tree_fault(base)
        self._earlier: ReadPrompt | None = None  # the prompt that was last streamed
        self.model: Any = model if merged else load_adapter(model, folder).eval()

    def answers(
        self, questions: Sequence[Question], max_new_tokens: int | None = None, batch_size: int = 8
    ) -> list[Answer]:
        """Answer questions. A note is read once, however many questions are about it, and they are answered together.

        Args:
            questions: about notes; a note that does not fit the adapter's `max_length` is trimmed in the middle.
            max_new_tokens: limit for an answer; by default that of the adapter's card.
            batch_size: notes whose questions are answered together.

        Returns:
            Answers in the order of the questions.

        Raises:
            UserError: an instruction alone is longer than the adapter's `max_length`.
        """
        max_new_tokens = max_new_tokens or self.card.max_new_tokens
        prompts = self._prompts(questions, max_new_tokens)
        answers: dict[int, Answer] = {}
        groups = self._by_note(questions, [prompt.input_ids for prompt in prompts])
        for start in range(0, len(groups), batch_size):
            batch = groups[start : start + batch_size]
            written_by_note = self._write([[prompts[i].input_ids for i in group] for group in batch], max_new_tokens)
            for group, written in zip(batch, written_by_note, strict=True):
                answers |= {
                    i: self._answer(tokens, prompts[i].trimmed_tokens) for i, tokens in zip(group, written, strict=True)
                }
        return [answers[i] for i in range(len(prompts))]

    @contextmanager
    def without_adapter(self) -> Iterator[None]:
        """Context manager within which the base model answers."""
        self._earlier = None
        with self.model.disable_adapter():
            yield
        self._earlier = None

    def stream(self, question: Question, max_new_tokens: int | None = None) -> Pieces[str, None, Answer]:
        """Yield pieces of the answer's text as they are generated; the value of `yield from` is the Answer. Generation
        stops when the consumer closes the iterator. Of a note that the previous question was about, only what differs
        from the previous prompt is read.

        Raises:
            UserError: as `answers`.
        """
        max_new_tokens = max_new_tokens or self.card.max_new_tokens
        (prompt,) = self._prompts([question], max_new_tokens)
        if not self._tree:
            (answer,) = self.answers([question], max_new_tokens)
            yield answer.text
            return answer
        with self._inference():
            decoder = TreeDecoder(self.model, [[prompt.input_ids]], max_new_tokens, self._ended, self._earlier)
        self._earlier = decoder.first_prompt
        ((tokens,),) = decoder.answers
        steps, shown, finished = decoder.steps(), 0, False
        while not finished:
            text = self.tokenizer.decode(self.stopping.cut(tokens)[0], skip_special_tokens=True).lstrip()
            # complete words, as the tokens to come can change the last one
            if (end := min(self.stopping.final_length(text), text.rfind(" ") + 1)) > shown:
                yield text[shown:end]
                shown = end
            with self._inference():
                finished = next(steps, self) is self
        answer = self._answer(tokens, prompt.trimmed_tokens)
        if rest := answer.text[shown:]:
            yield rest
        return answer

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
        for group in self._by_note(questions, rows):
            sums[group] = self._losses([rows[i] for i in group], [len(ids[i]) for i in group])
        return sums, np.array([len(row) for row in ids])

    def row_losses(self, rows: Sequence[list[int]], lengths: Sequence[int]) -> np.ndarray:
        """The negative log likelihood in nats of the last `lengths` tokens of each row of tokens, shape (rows,)."""
        return np.concatenate([self._losses([row], [length]) for row, length in zip(rows, lengths, strict=True)])

    def answer_prompts(self, prompts: Sequence[Sequence[list[int]]]) -> list[list[str]]:
        """The answer to each tokenized prompt, by note: those about a note share what they begin with."""
        written = self._write([list(rows) for rows in prompts], self.card.max_new_tokens)
        return [[self._answer(row).text for row in rows] for rows in written]

    def continuations(self, rows: Sequence[list[int]], max_new_tokens: int) -> list[list[int]]:
        """The tokens that follow each row of tokens, without those that end an answer."""
        return [self.stopping.cut(self._write([[row]], max_new_tokens)[0][0])[0] for row in rows]

    def _prompts(self, questions: Sequence[Question], max_new_tokens: int) -> list[Prompt]:
        return self.template.encode_prompts(questions, [self.card.max_length - max_new_tokens] * len(questions))

    @contextmanager
    def _inference(self) -> Iterator[None]:
        with torch.inference_mode(), autocast(self.precision):
            yield

    def _answer(self, row: list[int], trimmed_tokens: int = 0) -> Answer:
        tokens, ended = self.stopping.cut(row)
        text, stopped = self.stopping.cut_text(self.tokenizer.decode(tokens, skip_special_tokens=True))
        return Answer(text.strip(), tokens, ended or stopped, trimmed_tokens)

    def _write(self, notes: list[list[list[int]]], max_new_tokens: int) -> list[list[list[int]]]:
        """The new tokens for each prompt about each note."""
        with self._inference():
            if self._tree:
                decoder = TreeDecoder(self.model, notes, max_new_tokens, self._ended)
                for _ in decoder.steps():
                    pass
                return decoder.answers
            settings = self.stopping.generation_config(max_new_tokens)
            options = {"tokenizer": self.tokenizer} if settings.stop_strings else {}

            def alone(prompt: list[int]) -> list[int]:
                ids = torch.tensor([prompt], device=device())
                mask = torch.ones_like(ids)
                output = self.model.generate(input_ids=ids, attention_mask=mask, generation_config=settings, **options)
                return output[0, len(prompt) :].tolist()

            return [[alone(prompt) for prompt in prompts] for prompts in notes]

    def _ended(self, answer: list[int]) -> bool:
        """Whether the last token of an answer ends it."""
        if answer[-1] in self.stopping.token_ids:
            return True
        return bool(self.stopping.strings) and self.stopping.cut_text(self.tokenizer.decode(answer))[1]

    def _by_note(self, questions: Sequence[Question], rows: Sequence[list[int]]) -> list[list[int]]:
        """Indices of the questions, those about the same note together, at most _QUESTIONS of them and neighbours
        alike, the group with the most tokens first.

        Args:
            questions: about notes.
            rows: the tokens of each.
        """
        by_note: dict[str | int, list[int]] = {}
        for i, question in enumerate(questions):
            by_note.setdefault(question.note if self._tree else i, []).append(i)
        groups = []
        for indices in by_note.values():
            indices.sort(key=rows.__getitem__)
            groups += [indices[start : start + _QUESTIONS] for start in range(0, len(indices), _QUESTIONS)]
        return sorted(groups, key=lambda group: -max(len(rows[i]) for i in group))

    def _losses(self, rows: list[list[int]], answer_lengths: list[int]) -> np.ndarray:
        """Sums of -log p of the last `answer_lengths` tokens of each row, shape (rows,), of rows about one note."""
        tree = prefix_tree([np.asarray(row) for row in rows])
        ids, positions, ends = tree.tensors(device())
        predicting = [path[-n - 1 : -1] for path, n in zip(tree.paths, answer_lengths, strict=True)]
        targets = torch.tensor([token for row, n in zip(rows, answer_lengths, strict=True) for token in row[-n:]])
        with self._inference():
            if self._tree:
                with tree_masks(positions, ends):
                    logits = self.model(
                        input_ids=ids,
                        position_ids=positions,
                        attention_mask=torch.ones_like(ids),
                        use_cache=False,
                        logits_to_keep=torch.from_numpy(np.concatenate(predicting)).to(device()),
                    ).logits[0]
            else:
                logits = self.model(input_ids=ids, use_cache=False).logits[0, predicting[0]]
            losses = cross_entropy(logits.float(), targets.to(device()), reduction="none").cpu().numpy()
        return np.array([part.sum() for part in np.split(losses, np.cumsum(answer_lengths)[:-1])])
