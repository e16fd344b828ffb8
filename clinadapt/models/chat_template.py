"""Note + instruction -> prompt -> tokens, the same in training, evaluation and prediction.

The prompt is written by the tokenizer's own chat template where it has one, else by CLINICAL, which is then published
with the adapter. The note stands before the instruction, so that several instructions about a note share its beginning.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jinja2.exceptions import TemplateError
from transformers import AutoTokenizer

from clinadapt.errors import UserError

SYSTEM = "Answer from the clinical note alone. If it does not say, say so."
GAP = "\n[...]\n"  # stands where a note was trimmed
# Of a base model that has seen no chat: plain headings, the end-of-sequence token after the answer.
CLINICAL = """{%- for message in messages -%}
{%- if message.role == 'system' %}{{ message.content }}

{% elif message.role == 'user' %}{{ message.content }}

### Answer
{% else %}{{ message.content }}{{ eos_token }}{% endif -%}
{%- endfor -%}"""
_NOTE, _INSTRUCTION, _ANSWER = "\ue000", "\ue001", "\ue002"  # private use: stand in for the texts


class Question(NamedTuple):
    """A note and an instruction about it; `keep` are characters of the note to spare when it has to be trimmed."""

    note: str
    instruction: str
    keep: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True)
class Prompt:
    """Tokens of a prompt, and how many tokens of the note had to be left out."""

    input_ids: list[int]
    lost_tokens: int


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a base model or adapter, with a chat template.

    Padding and end go by position in all our code, never by a pad token: pad may be eos, and eos is always trained.

    Raises:
        UserError: it has no end-of-sequence token, or is none of the fast ones, which tell where a token stands.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if tokenizer.eos_token_id is None:
        raise UserError(
            "the tokenizer has no end-of-sequence token, so no adapter could learn to stop: "
            "set eos_token in tokenizer_config.json"
        )
    if not tokenizer.is_fast:
        raise UserError("the tokenizer has no tokenizer.json: convert it with transformers first")
    if not tokenizer.chat_template:
        begins = tokenizer("x").input_ids[0] == tokenizer.bos_token_id
        tokenizer.chat_template = ("{{- bos_token -}}" if begins else "") + CLINICAL
    return tokenizer


class Template:
    """A tokenizer's chat template, taken apart once."""

    def __init__(self, tokenizer: Any) -> None:
        """Raises UserError when the template changes what is said, or has no place for it."""
        self.tokenizer = tokenizer
        self._backend = tokenizer.backend_tokenizer
        self._backend.no_truncation()
        self._backend.no_padding()
        user = f"### Note\n{_NOTE}\n\n### Instruction\n{_INSTRUCTION}"
        rendered, prompt = _render(tokenizer, user)
        parts = prompt.replace(_INSTRUCTION, _NOTE).split(_NOTE)
        if len(parts) != 3 or not rendered.startswith(prompt) or rendered.count(_ANSWER) != 1:
            raise UserError("the chat template of the base model rewrites what is said: set a plainer chat_template")
        self._head, self._middle, self._tail = parts
        start, end = rendered[len(prompt) :].split(_ANSWER)
        self._tail += start
        self.end = end.partition(tokenizer.eos_token)[0] + tokenizer.eos_token
        added = tokenizer.added_tokens_decoder.values()
        self.special = [token.content for token in added if token.special and len(token.content) > 1]

    def prompt(self, question: Question) -> str:
        """The text that the model reads."""
        return f"{self._head}{self._plain(question.note)}{self._middle}{self._plain(question.instruction)}{self._tail}"

    def encode_answers(self, answers: Sequence[str]) -> list[list[int]]:
        """Tokens of each answer; end-of-sequence is the last."""
        return self._ids([self._plain(answer) + self.end for answer in answers])

    def encode_prompts(self, questions: Sequence[Question], room: Sequence[int]) -> list[Prompt]:
        """Tokens of each prompt, at most `room` of them: of a longer one the note is trimmed, never the instruction.
        Kept are its beginning, its end and, before them, what `keep` names.

        Raises:
            UserError: an instruction alone is longer than its room.
        """
        prompts = [prompt for prompt in self.fit_prompts(questions, room) if prompt]
        if len(prompts) < len(questions):
            raise UserError(f"an instruction leaves no room for a note in {min(room)} tokens: raise the length")
        return prompts

    def fit_prompts(
        self, questions: Sequence[Question], room: Sequence[int], share_notes: bool = False
    ) -> list[Prompt | None]:
        """As encode_prompts, with None for an instruction that is longer than its room.

        With `share_notes` the questions about one note read the same part of it, so that a pack of examples holds it
        once: as much as the longest of them leaves room for, with what any of them wants kept; but not where that is
        less than half of what another could read.
        """
        ids = self._ids([self.prompt(question) for question in questions])
        prompts: list[Prompt | None] = [Prompt(row, 0) for row in ids]
        long = [i for i, row in enumerate(ids) if len(row) > room[i]]
        if share_notes:
            notes = {questions[i].note for i in long}
            long = [i for i, question in enumerate(questions) if question.note in notes]
        pending = []
        for note, members in self._notes(questions, long, share_notes):
            budgets = {i: len(note.offsets) - (len(ids[i]) - room[i]) for i in members}
            least, most = min(budgets.values()), max(budgets.values())
            if note.wanted() <= least and least >= most / 2:
                pending.append((note, members, least))
            else:
                pending += [(replace(note, keep=questions[i].keep), [i], budgets[i]) for i in members]
        while pending:
            cuts = [(note, members, budget, *note.cut(max(0, budget))) for note, members, budget in pending]
            texts = [self.prompt(Question(text, questions[i].instruction)) for _, m, _, text, _ in cuts for i in m]
            rows = iter(self._ids(texts))
            pending = []
            for note, members, budget, _, lost in cuts:
                found = {i: next(rows) for i in members}
                over = max(len(row) - room[i] for i, row in found.items())
                if over > 0 and budget > 0:
                    pending.append((note, members, budget - over))
                for i, row in found.items():
                    prompts[i] = Prompt(row, lost) if over <= 0 else None
        return prompts

    def _notes(
        self, questions: Sequence[Question], long: Sequence[int], share: bool
    ) -> Iterator[tuple[_Note, list[int]]]:
        """The notes to be trimmed, each with the questions about it: all of them where they share, else one."""
        groups: dict[str | int, list[int]] = defaultdict(list)
        for i in long:
            groups[questions[i].note if share else i].append(i)
        texts = [self._plain(questions[members[0]].note) for members in groups.values()]
        encoded = self._backend.encode_batch(texts, add_special_tokens=False)
        for text, members, encoding in zip(texts, groups.values(), encoded, strict=True):
            keep = [span for i in members for span in questions[i].keep]
            yield _Note(text, keep, np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)), members

    def _plain(self, text: str) -> str:
        """A text of the same length whose words cannot be taken for special tokens: of `</s>` remains ` /s>`."""
        for token in self.special:
            if token in text:
                text = text.replace(token, f" {token[1:]}")
        return text

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        return [row.ids for row in self._backend.encode_batch_fast(texts, add_special_tokens=False)]


@dataclass
class _Note:
    """A note to be trimmed; offsets are characters of its tokens, shape (tokens, 2)."""

    text: str
    keep: Sequence[tuple[int, int]]
    offsets: np.ndarray

    def _kept(self) -> np.ndarray:
        start, end = self.offsets.T
        kept = np.zeros(len(self.offsets), dtype=bool)
        for a, b in self.keep:
            kept |= (start < b) & (end > a)
        return kept

    def wanted(self) -> int:
        """How many tokens `keep` names."""
        return int(self._kept().sum())

    def cut(self, budget: int) -> tuple[str, int]:
        """What `budget` tokens hold best, at word boundaries: those of `keep`, then one from the beginning and one
        from the end in turn; and how many tokens that leaves out."""
        start, end = self.offsets.T
        count = len(self.offsets)
        kept = self._kept()
        kept[np.flatnonzero(kept)[budget:]] = False
        order = np.empty(count, dtype=np.int64)
        order[0::2] = np.arange((count + 1) // 2)
        order[1::2] = np.arange(count - 1, (count + 1) // 2 - 1, -1)
        kept[order[~kept[order]][: budget - kept.sum()]] = True
        edges = np.flatnonzero(np.diff(kept, prepend=False, append=False)).reshape(-1, 2)
        pieces = [self._words(start[first], end[last - 1]) for first, last in edges]
        left = sum(int(((start >= a) & (end <= b)).sum()) for a, b in pieces)
        return GAP.join(self.text[a:b].strip() for a, b in pieces if a < b), count - left

    def _words(self, start: int, end: int) -> tuple[int, int]:
        """A piece without the halves of words at its ends, unless it is nothing else."""
        text = self.text
        whole_start = start
        if start > 0 and not text[start - 1].isspace():
            while whole_start < end and not text[whole_start].isspace():
                whole_start += 1
        whole_end = end
        if end < len(text) and not text[end].isspace():
            while whole_end > whole_start and not text[whole_end - 1].isspace():
                whole_end -= 1
        return (int(whole_start), int(whole_end)) if whole_start < whole_end else (int(start), int(end))


def _render(tokenizer: Any, user: str) -> tuple[str, str]:
    """A conversation and its prompt. Where the template knows no system message, the user says it."""
    system = {"role": "system", "content": SYSTEM}
    for messages in (
        [system, {"role": "user", "content": user}],
        [{"role": "user", "content": f"{SYSTEM}\n\n{user}"}],
    ):
        answer = {"role": "assistant", "content": _ANSWER}
        try:
            whole = tokenizer.apply_chat_template([*messages, answer], tokenize=False)
            prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except TemplateError:
            continue
        if SYSTEM in prompt:
            return whole, prompt
    raise UserError("the chat template of the base model fails on a user's message: set a plainer chat_template")
