"""Where an answer ends: at whatever the authors of the base model ship, the same for base, candidate and champion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from transformers import GenerationConfig


@dataclass(frozen=True)
class Stopping:
    """The ends of an answer.

    Attributes:
        token_ids: tokens that end it; the first is the tokenizer's end-of-sequence.
        strings: texts that end it.
    """

    token_ids: tuple[int, ...]
    strings: tuple[str, ...] = ()

    @classmethod
    def of(cls, published: GenerationConfig, tokenizer: Any, end: str) -> Self:
        """The ends of a base model's answers.

        Args:
            published: generation config of the base model, whose `eos_token_id` (one or several) and `stop_strings`
                are used.
            tokenizer: with its chat template; its end-of-sequence token ends an answer.
            end: what the chat template puts after an answer; its first special token ends a turn, so an answer too.
        """
        added = {token for token, entry in tokenizer.added_tokens_decoder.items() if entry.special}
        after_answer = tokenizer.encode(end, add_special_tokens=False)
        turn_end = next((token for token in after_answer if token in added), tokenizer.eos_token_id)
        shipped = published.eos_token_id
        listed = shipped if isinstance(shipped, list) else [] if shipped is None else [shipped]
        ids = dict.fromkeys([tokenizer.eos_token_id, turn_end, *(int(token) for token in listed)])
        strings = published.stop_strings or ()
        return cls(tuple(ids), (strings,) if isinstance(strings, str) else tuple(s for s in strings if s))

    def generation_config(self, max_new_tokens: int) -> GenerationConfig:
        """Greedy decoding that ends here; also what servers read as generation_config.json."""
        return GenerationConfig(
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=list(self.token_ids),
            pad_token_id=self.token_ids[0],
            stop_strings=list(self.strings) or None,
        )

    def cut(self, row: Sequence[int]) -> tuple[list[int], bool]:
        """(the tokens before the first that ends an answer, whether there is one)."""
        end = next((i for i, token in enumerate(row) if token in self.token_ids), None)
        return list(row[:end]), end is not None

    def cut_text(self, text: str) -> tuple[str, bool]:
        """(the text before the first stop string, whether there is one)."""
        end = min((text.index(string) for string in self.strings if string in text), default=None)
        return text[:end], end is not None

    def final_length(self, text: str) -> int:
        """Length of the beginning of a text that is still being written which no stop string can shorten."""
        shown, ended = self.cut_text(text)
        if ended:
            return len(shown)
        starts = (string[:n] for string in self.strings for n in range(1, len(string)))
        return len(text) - max((len(start) for start in starts if text.endswith(start)), default=0)
