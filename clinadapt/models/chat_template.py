"""Note + instruction -> prompt -> tokens, the same in training, evaluation and prediction.

The prompt is rendered by the tokenizer's own chat template, with a date that never changes and with the system prompt
of its authors, or by CLINICAL_TEMPLATE if it has none; the template is published with the adapter. The note comes
before the instruction, so that several instructions about one note share a prefix.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from transformers import AutoTokenizer

from clinadapt.errors import UserError
from clinadapt.models.published_template import TEMPLATE_ERRORS, keep_system_prompt, pin_date

SYSTEM = "Answer from the clinical note alone. If it does not say, say so."
TRIM_MARK = "\n[...]\n"  # replaces what is trimmed from a note
# For a base model without a chat template: plain headings, end-of-sequence after the answer
CLINICAL_TEMPLATE = """{%- for message in messages -%}
{%- if message.role == 'system' %}{{ message.content }}

{% elif message.role == 'user' %}{{ message.content }}

### Answer
{% else %}{{ message.content }}{{ eos_token }}{% endif -%}
{%- endfor -%}"""
_NOTE, _INSTRUCTION, _ANSWER = "\ue000", "\ue001", "\ue002"  # placeholders from the private use area of Unicode


class Question(NamedTuple):
    """A note and an instruction about it.

    Attributes:
        note: text.
        instruction: text.
        protected_spans: (start, end) in characters of the note, trimmed last when the note is too long.
    """

    note: str
    instruction: str
    protected_spans: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True)
class Prompt:
    """A tokenized prompt.

    Attributes:
        input_ids: its tokens.
        trimmed_tokens: tokens of the note that were left out.
    """

    input_ids: list[int]
    trimmed_tokens: int


def load_tokenizer(folder: Path) -> Any:
    """Load the tokenizer of a base model or adapter; one without a chat template gets CLINICAL_TEMPLATE. In a template,
    the date is pinned, and the system prompt of the base's authors stays before SYSTEM.

    Nothing here relies on a pad token: padding goes by position, as pad may equal eos, which is always trained.

    Raises:
        UserError: the tokenizer has no end-of-sequence token, or is not a fast one, which character offsets need; or it
            has several chat templates and none of them is the default.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if tokenizer.eos_token_id is None:
        raise UserError(
            "the tokenizer has no end-of-sequence token, so an adapter could not learn to stop: "
            "set eos_token in tokenizer_config.json"
        )
    if not tokenizer.is_fast:
        raise UserError("the tokenizer has no tokenizer.json: convert it with transformers first")
    if not tokenizer.chat_template:
        adds_bos = tokenizer("x").input_ids[0] == tokenizer.bos_token_id
        tokenizer.chat_template = ("{{- bos_token -}}" if adds_bos else "") + CLINICAL_TEMPLATE
    if isinstance(tokenizer.chat_template, dict):  # name -> template
        if "default" not in tokenizer.chat_template:
            raise UserError("none of the chat templates of the base model is named default: set one chat_template")
        tokenizer.chat_template = tokenizer.chat_template["default"]
    tokenizer.chat_template = pin_date(tokenizer.chat_template)
    tokenizer.chat_template = keep_system_prompt(tokenizer, SYSTEM)
    return tokenizer


class Template:
    """A tokenizer's chat template, split once into the fixed texts around note, instruction and answer.

    Attributes:
        end: text after an answer; ends with end-of-sequence.
        special: the tokenizer's special tokens, which notes and instructions must not contain.
    """

    def __init__(self, tokenizer: Any) -> None:
        """Raises UserError when the template changes note, instruction or answer, or leaves one out."""
        self.tokenizer = tokenizer
        self._backend = tokenizer.backend_tokenizer
        self._backend.no_truncation()
        self._backend.no_padding()
        conversation, prompt = _render(tokenizer, _user_text(_NOTE, _INSTRUCTION))
        parts = prompt.replace(_INSTRUCTION, _NOTE).split(_NOTE)
        if len(parts) != 3 or not conversation.startswith(prompt) or conversation.count(_ANSWER) != 1:
            raise UserError("the chat template of the base model rewrites its messages: set a plainer chat_template")
        before_answer, after_answer = conversation[len(prompt) :].split(_ANSWER)
        self._head, self._middle, self._tail = parts[0], parts[1], parts[2] + before_answer
        self.end = after_answer.partition(tokenizer.eos_token)[0] + tokenizer.eos_token
        added = tokenizer.added_tokens_decoder.values()
        self.special = [token.content for token in added if token.special and len(token.content) > 1]

    def prompt(self, question: Question) -> str:
        """The text of a prompt, nothing trimmed."""
        note, instruction = self._escape(question.note), self._escape(question.instruction)
        return f"{self._head}{note}{self._middle}{instruction}{self._tail}"

    def parse(self, prompt_ids: Sequence[int]) -> Question:
        """The note, as far as it was not trimmed, and the instruction of a tokenized prompt."""
        note, _, rest = self.tokenizer.decode(prompt_ids).rpartition(self._middle.strip())
        tail = self._tail.strip()
        instruction = rest.rpartition(tail)[0] if tail in rest else rest
        return Question(note.partition(self._head.strip())[2].strip() or note.strip(), instruction.strip())

    def encode_answers(self, answers: Sequence[str]) -> list[list[int]]:
        """The tokens of each answer, the last of them end-of-sequence."""
        return self._tokenize([self._escape(answer) + self.end for answer in answers])

    def encode_prompts(self, questions: Sequence[Question], max_tokens: Sequence[int]) -> list[Prompt]:
        """Tokenize prompts; trim the note, never the instruction, of those that are too long. Protected spans are
        trimmed last, the beginning and the end of the note before them, the middle first.

        Args:
            questions: about notes.
            max_tokens: limit for each prompt.

        Raises:
            UserError: an instruction alone is longer than its limit.
        """
        prompts = [prompt for prompt in self.fit_prompts(questions, max_tokens) if prompt]
        if len(prompts) < len(questions):
            raise UserError(f"an instruction leaves no room for a note in {min(max_tokens)} tokens: raise the length")
        return prompts

    def fit_prompts(
        self, questions: Sequence[Question], max_tokens: Sequence[int], share_notes: bool = False
    ) -> list[Prompt | None]:
        """As `encode_prompts`, but None for a prompt whose instruction alone is too long.

        Args:
            questions: about notes.
            max_tokens: limit for each prompt.
            share_notes: give all questions about one note the same excerpt, so that packed examples hold it once. Its
                size is what the longest instruction leaves, and it has the protected spans of all. Where that is less
                than half of what another question could have, or less than the spans, each has an excerpt of its own.
        """
        rows = self._tokenize([self.prompt(question) for question in questions])
        excess = [len(row) - limit for row, limit in zip(rows, max_tokens, strict=True)]
        prompts: list[Prompt | None] = [Prompt(row, 0) for row in rows]
        pending = list(self._excerpts(questions, excess, share_notes))
        while pending:
            cuts = [excerpt.cut() for excerpt in pending]
            shortened = [
                self.prompt(Question(note, questions[i].instruction))
                for excerpt, (note, _) in zip(pending, cuts, strict=True)
                for i in excerpt.questions
            ]
            tokenized = iter(self._tokenize(shortened))
            too_long = []
            for excerpt, (_, trimmed) in zip(pending, cuts, strict=True):
                encoded = {i: next(tokenized) for i in excerpt.questions}
                over = max(len(row) - max_tokens[i] for i, row in encoded.items())
                for i, row in encoded.items():
                    prompts[i] = Prompt(row, trimmed) if over <= 0 else None
                if over > 0 and excerpt.budget > 0:
                    too_long.append(replace(excerpt, budget=excerpt.budget - over))
            pending = too_long
        return prompts

    def _excerpts(self, questions: Sequence[Question], excess: Sequence[int], share: bool) -> Iterator[_Excerpt]:
        """First excerpts of the notes to be trimmed, by `excess` tokens for each question."""
        long = [i for i, tokens in enumerate(excess) if tokens > 0]
        if share:
            notes = {questions[i].note for i in long}
            long = [i for i, question in enumerate(questions) if question.note in notes]
        groups: dict[str | int, list[int]] = defaultdict(list)
        for i in long:
            groups[questions[i].note if share else i].append(i)
        texts = [self._escape(questions[members[0]].note) for members in groups.values()]
        encodings = self._backend.encode_batch(texts, add_special_tokens=False)
        for text, members, encoding in zip(texts, groups.values(), encodings, strict=True):
            offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
            budgets = {i: len(offsets) - excess[i] for i in members}
            smallest, largest = min(budgets.values()), max(budgets.values())
            spans = [span for i in members for span in questions[i].protected_spans]
            shared = _Excerpt(text, offsets, spans, members, smallest)
            if shared.protected().sum() <= smallest and smallest >= largest / 2:
                yield shared
            else:
                for i in members:
                    yield _Excerpt(text, offsets, questions[i].protected_spans, [i], budgets[i])

    def _escape(self, text: str) -> str:
        """A text of the same length whose words are not read as special tokens: `</s>` becomes ` /s>`."""
        for token in self.special:
            if token in text:
                text = text.replace(token, f" {token[1:]}")
        return text

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        return [row.ids for row in self._backend.encode_batch_fast(texts, add_special_tokens=False)]


@dataclass(frozen=True)
class _Excerpt:
    """Part of a note that is too long for a prompt.

    Attributes:
        text: the complete note.
        offsets: (tokens, 2), the first and one past the last character of each token.
        protected_spans: (start, end) in characters.
        questions: indices of the questions that read the excerpt.
        budget: tokens of the excerpt, at most; 0 and below is an empty excerpt.
    """

    text: str
    offsets: np.ndarray
    protected_spans: Sequence[tuple[int, int]]
    questions: list[int]
    budget: int

    def protected(self) -> np.ndarray:
        """Whether each token overlaps a protected span, shape (tokens,)."""
        start, end = self.offsets.T
        mask = np.zeros(len(self.offsets), dtype=bool)
        for span_start, span_end in self.protected_spans:
            mask |= (start < span_end) & (end > span_start)
        return mask

    def cut(self) -> tuple[str, int]:
        """Fill the budget with protected tokens, then in turn with one from the beginning and one from the end, and
        drop cut words at the edges.

        Returns:
            (text of the excerpt, with TRIM_MARK between its pieces; tokens of the note that it leaves out).
        """
        start, end = self.offsets.T
        count, budget = len(self.offsets), max(0, self.budget)
        chosen = self.protected()
        chosen[np.flatnonzero(chosen)[budget:]] = False
        from_both_ends = np.empty(count, dtype=np.int64)
        from_both_ends[0::2] = np.arange((count + 1) // 2)
        from_both_ends[1::2] = np.arange(count - 1, (count + 1) // 2 - 1, -1)
        chosen[from_both_ends[~chosen[from_both_ends]][: budget - chosen.sum()]] = True
        runs = np.flatnonzero(np.diff(chosen, prepend=False, append=False)).reshape(-1, 2)
        pieces = [self._complete_words(start[first], end[stop - 1]) for first, stop in runs]
        covered = sum(int(((start >= a) & (end <= b)).sum()) for a, b in pieces)
        return TRIM_MARK.join(self.text[a:b].strip() for a, b in pieces if a < b), count - covered

    def _complete_words(self, start: int, end: int) -> tuple[int, int]:
        """A piece without the cut words at its edges, unless there is nothing else in it; in characters."""
        text = self.text
        first, last = start, end
        if start > 0 and not text[start - 1].isspace():
            while first < end and not text[first].isspace():
                first += 1
        if end < len(text) and not text[end].isspace():
            while last > first and not text[last - 1].isspace():
                last -= 1
        return (int(first), int(last)) if first < last else (int(start), int(end))


def chat_messages(question: Question, has_system: bool) -> list[dict[str, str]]:
    """The messages that a chat endpoint renders to the training prompt of a question.

    Args:
        question: about a note, of which nothing is trimmed.
        has_system: whether the chat template has a system role (`has_system_role`).
    """
    return _messages(_user_text(question.note, question.instruction), has_system)


def has_system_role(tokenizer: Any) -> bool:
    """Whether a tokenizer's chat template renders the system message of `chat_messages`."""
    try:
        return SYSTEM in tokenizer.apply_chat_template(_messages("", True), tokenize=False, add_generation_prompt=True)
    except TEMPLATE_ERRORS:
        return False


def _user_text(note: str, instruction: str) -> str:
    return f"### Note\n{note}\n\n### Instruction\n{instruction}"


def _messages(user: str, has_system: bool) -> list[dict[str, str]]:
    """System and user message; where the template has no system role, one message with both."""
    if has_system:
        return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": user}]
    return [{"role": "user", "content": f"{SYSTEM}\n\n{user}"}]


def _render(tokenizer: Any, user: str) -> tuple[str, str]:
    """A conversation and its prompt as text. A template without a system role gets the system message as the user's.

    Raises:
        UserError: the template fails on both.
    """
    for has_system in (True, False):
        messages = _messages(user, has_system)
        answer = {"role": "assistant", "content": _ANSWER}
        try:
            conversation = tokenizer.apply_chat_template([*messages, answer], tokenize=False)
            prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except TEMPLATE_ERRORS:
            continue
        if SYSTEM in prompt:
            return conversation, prompt
    raise UserError("the chat template of the base model fails on a user message: set a plainer chat_template")
