"""A token classifier: what it takes each word of a text for, read in windows that overlap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

from clinadapt.errors import UserError
from clinadapt.models.base_model import fetch
from clinadapt.models.devices import device

_LONGEST = 512  # tokens of a window, special ones included
_SHARED = 64  # tokens that a window has in common with the next; of each half the one that has them further inside
_BATCH = 8  # windows in a forward pass


class TokenClassifier:
    """A published model for token classification, as it is: nothing is trained."""

    def __init__(self, uri: str) -> None:
        """Load a model from the cache, or download it.

        Raises:
            UserError: it is not available, no token classifier with all its weights as safetensors, or its tokenizer
                does not tell where a token stands.
        """
        folder = fetch(uri)
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            model, loading = AutoModelForTokenClassification.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, output_loading_info=True
            )
        except (ValueError, OSError, KeyError, RuntimeError, ImportError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise UserError(f"'{uri}' cannot be loaded as a token classifier: {reason}") from error
        if missing := sorted(loading["missing_keys"]):
            raise UserError(f"'{uri}' lacks {len(missing)} weights of a token classifier ({missing[0]}): use another")
        if not self._tokenizer.is_fast:
            raise UserError(f"'{uri}' has no tokenizer.json, which tells where tokens stand: use another model")
        self._tokenizer.truncation_side = "right"  # windows from the text's beginning
        self._model = model.to(device()).eval()
        places = getattr(model.config, "max_position_embeddings", _LONGEST) - 2  # RoBERTa's begin after two others
        self._length = min(_LONGEST, places, self._tokenizer.model_max_length)
        room = self._length - self._tokenizer.num_special_tokens_to_add()
        if room < 1:
            raise UserError(f"'{uri}' reads no more than {self._length} tokens at once: use another model")
        self._shared = min(_SHARED, room // 4) // 2 * 2

    def labels(self, text: str) -> list[tuple[int, int, str]]:
        """The most probable label of each token of a text, in its order: first character, the one after the last, and
        the label as the model names it."""
        encoded = self._tokenizer(
            text,
            max_length=self._length,
            truncation=True,
            stride=self._shared,
            padding=True,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
            split_special_tokens=True,
            return_tensors="pt",
        )
        names, result = self._model.config.id2label, []
        places, special = (encoded[name].tolist() for name in ("offset_mapping", "special_tokens_mask"))
        last, half = len(places) - 1, self._shared // 2
        for number, labels in enumerate(self._predicted(encoded)):
            window = zip(places[number], labels, special[number], strict=True)
            tokens = [(*place, names[label]) for place, label, is_special in window if not is_special]
            inner = tokens[half if number else 0 : len(tokens) - (half if number < last else 0)]
            result += [token for token in inner if token[0] < token[1]]  # a blank may be a token without characters
        return result

    def _predicted(self, encoded: Any) -> Iterator[list[int]]:
        """The most probable label of each token of each window."""
        inputs = {name: encoded[name] for name in self._tokenizer.model_input_names if name in encoded}
        with torch.inference_mode():
            for first in range(0, len(encoded["input_ids"]), _BATCH):
                batch = {name: rows[first : first + _BATCH].to(device()) for name, rows in inputs.items()}
                yield from self._model(**batch).logits.argmax(-1).tolist()
