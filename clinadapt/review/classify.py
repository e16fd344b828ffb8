"""Predictions of a published classify adapter: for one note, or for the rows of a file as a stream."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from clinadapt.data.readers import Row
from clinadapt.data.tables import batched
from clinadapt.data.text import clean
from clinadapt.models.classifier import Classifier
from clinadapt.monitoring.observations import Observation, of_latency, of_prediction
from clinadapt.monitoring.recorder import Writer, recorder
from clinadapt.review.inputs import cell, input_error, validated
from clinadapt.review.loading import published_adapter

UNSURE = "unsure"  # the label where no probability reaches the adapter's threshold
_BATCH = 16  # notes


class ClassifyService:
    """A published classify adapter, loaded.

    Attributes:
        uri: of the version that answers.
        base_model: URI of its base model.
        labels: in the order of the outputs.
        unsure_below: highest probability below which it answers UNSURE.
        recorder: counts the answers; None where nothing counts them.
    """

    def __init__(self, adapter: str, store_uri: str, writer: Writer | None = None) -> None:
        """Load `adapter`: a name (its champion), name/version or URI.

        Args:
            adapter, store_uri: as of `download_adapter`.
            writer: what counts the answers for monitoring; nothing when None.

        Raises:
            UserError: the adapter is not found, cannot be loaded, or differs from what was published.
        """
        with published_adapter(adapter, store_uri, "classify") as (folder, self.uri):
            self._classifier = Classifier(folder)
            self.recorder = recorder(folder, self.uri, writer)
        self.labels = self._classifier.card.labels
        self.base_model = self._classifier.card.base_model
        self.unsure_below = self._classifier.card.unsure_below

    def remark(self, answer: dict[str, Any]) -> str:
        """What the reader of an answer must know besides; empty where there is nothing."""
        remarks = []
        if answer["label"] == UNSURE != answer["most_likely"]:
            remarks.append(f"Unsure: no label has a probability of {answer['unsure_below']:.1%} or more.")
        if unseen := answer["unseen_token_share"]:
            remarks.append(f"Too long: the model did not see the last {unseen:.0%} of this note.")
        return "\n".join(remarks)

    def answer(self, text: str) -> dict[str, Any]:
        """Predict the label of one note.

        Returns:
            `label` (UNSURE below the adapter's threshold), `most_likely` (the label of the highest probability) and
            its number `predicted_class`, `probabilities` (label -> calibrated probability), `unsure_below` (the
            threshold), `unseen_token_share` and `adapter`.

        Raises:
            UserError: the note is empty or too long.
        """
        note, start = validated(text), time.monotonic()
        (answer,) = self._answers([note])
        self._count([note], [answer], of_latency(time.monotonic() - start))
        return answer

    def answer_rows(self, rows: Iterable[Row], column: str) -> Iterator[dict[str, Any]]:
        """Predict the label of each row, a batch at a time; the answer has the row's number as `row`, and only an
        `error` if the row cannot be used.

        Args:
            rows: numbered from 1.
            column: with the note.

        Raises:
            UserError: the first row has no such column.
        """
        for batch in batched(enumerate(rows, start=1), _BATCH):
            texts = {number: cell(row, column, number) for number, row in batch}
            usable = {number: clean(text) for number, text in texts.items() if not input_error(text)}
            answers = dict(zip(usable, self._answers(list(usable.values())), strict=True)) if usable else {}
            self._count(list(usable.values()), list(answers.values()))
            for number, row in batch:
                error = row if isinstance(row, str) else input_error(texts[number])
                yield {"row": number, **answers.get(number, {"error": error})}

    def _answers(self, texts: list[str]) -> list[dict[str, Any]]:
        notes = self._classifier.tokenize(texts)
        unseen = 1 - notes.seen_token_counts / notes.token_counts.clip(min=1)
        return [
            {
                "predicted_class": int(row.argmax()),
                "label": UNSURE if row.max() < self.unsure_below else self.labels[int(row.argmax())],
                "most_likely": self.labels[int(row.argmax())],
                "probabilities": {label: round(float(p), 4) for label, p in zip(self.labels, row, strict=True)},
                "unsure_below": round(self.unsure_below, 4),
                "unseen_token_share": round(float(share), 4),
                "adapter": self.uri,
            }
            for row, share in zip(self._classifier.probabilities(notes), unseen, strict=True)
        ]

    def _count(self, notes: list[str], answers: list[dict[str, Any]], latency: Observation | None = None) -> None:
        """Count answers for monitoring; the latency only of one that was asked for alone."""
        if self.recorder and answers:
            predictions = [(answer["most_likely"], max(answer["probabilities"].values())) for answer in answers]
            self.recorder.answered(notes, [of_prediction(*each) | (latency or {}) for each in predictions])
