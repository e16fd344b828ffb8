"""What a published adapter answers: one note, or the rows of a file as a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from clinadapt.data.readers import Row
from clinadapt.data.tables import batched
from clinadapt.data.text import clean
from clinadapt.models.classifier import Classifier
from clinadapt.review.inputs import cell, unusable, usable
from clinadapt.review.loading import published

_AT_ONCE = 16  # notes


class Answerer:
    """A published adapter that answers, and says which version it is."""

    def __init__(self, adapter: str, store_uri: str) -> None:
        """Load `adapter`: a name (its champion), name/version or URI.

        Raises:
            UserError: it cannot be found or loaded, or is not what was published.
        """
        with published(adapter, store_uri, "classify") as (folder, self.uri):
            self._classifier = Classifier(folder)
        self.labels = self._classifier.card.labels
        self.base_model = self._classifier.card.base_model

    def answer(self, text: str) -> dict[str, Any]:
        """predicted_class, label, probabilities (calibrated, label -> share), unseen_token_share and adapter.

        Raises:
            UserError: the note is empty or too long.
        """
        return self._answers([usable(text)])[0]

    def stream(self, rows: Iterable[Row], column: str) -> Iterator[dict[str, Any]]:
        """An answer for each row with its number, a batch at a time; `error` instead where a row cannot be used.

        Raises:
            UserError: the first row has no such column.
        """
        for batch in batched(enumerate(rows, start=1), _AT_ONCE):
            texts = {number: cell(row, column, number) for number, row in batch}
            taken = {number: clean(text) for number, text in texts.items() if not unusable(text)}
            answers = dict(zip(taken, self._answers(list(taken.values())), strict=True)) if taken else {}
            for number, row in batch:
                broken = row if isinstance(row, str) else unusable(texts[number])
                yield {"row": number, **answers.get(number, {"error": broken})}

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
