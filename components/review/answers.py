"""What a published adapter answers: one note, or the rows of a file as a stream."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from components.common.adapter import download_adapter
from components.common.classifier import Classifier
from components.common.dataset import clean
from components.common.errors import UserError
from components.common.readers import Row, column_names

_AT_ONCE = 16  # notes
LONGEST_NOTE = 200_000  # characters


class Answerer:
    """A published adapter that answers, and says which version it is."""

    def __init__(self, adapter: str, store_uri: str) -> None:
        """Load `adapter`: a name (its champion), name/version or URI.

        Raises:
            UserError: it cannot be found or loaded, or is not what was published.
        """
        folder, self.uri = download_adapter(adapter, store_uri)
        self._classifier = Classifier(folder)
        shutil.rmtree(folder)
        self.labels = self._classifier.card.labels
        self.base_model = self._classifier.card.base_model

    def answer(self, text: str) -> dict[str, Any]:
        """predicted_class, label, probabilities (calibrated, label -> share), unseen_token_share and adapter.

        Raises:
            UserError: the note is empty or too long.
        """
        reason = _unusable(text)
        if reason:
            raise UserError(f"the note has {reason}: give another one")
        return self._answers([clean(text)])[0]

    def stream(self, rows: Iterable[Row], column: str) -> Iterator[dict[str, Any]]:
        """An answer for each row with its number, a batch at a time; `error` instead where a row cannot be used.

        Raises:
            UserError: the first row has no such column.
        """
        numbered = enumerate(rows, start=1)
        while batch := list(islice(numbered, _AT_ONCE)):
            texts = {number: _text(row, column, number) for number, row in batch}
            usable = {number: clean(text) for number, text in texts.items() if not _unusable(text)}
            answers = dict(zip(usable, self._answers(list(usable.values())), strict=True)) if usable else {}
            for number, text in texts.items():
                yield {"row": number, **answers.get(number, {"error": _unusable(text)})}

    def _answers(self, texts: list[str]) -> list[dict[str, Any]]:
        prepared = self._classifier.prepare(texts)
        unseen = 1 - prepared.seen / prepared.tokens.clip(min=1)
        return [
            {
                "predicted_class": int(row.argmax()),
                "label": self.labels[int(row.argmax())],
                "probabilities": {label: round(float(p), 4) for label, p in zip(self.labels, row, strict=True)},
                "unseen_token_share": round(float(share), 4),
                "adapter": self.uri,
            }
            for row, share in zip(self._classifier.probabilities(prepared), unseen, strict=True)
        ]


def _unusable(text: str) -> str | None:
    if not clean(text):
        return "no text"
    if len(text) > LONGEST_NOTE:
        return f"more than {LONGEST_NOTE:,} characters"
    return None


def _text(row: Row, column: str, number: int) -> str:
    if isinstance(row, str):
        return ""
    if column not in row and number == 1:
        raise UserError(f"there is no column '{column}': {column_names(list(row))}; choose with --text-column")
    text = row.get(column)
    return text if isinstance(text, str) else ""
