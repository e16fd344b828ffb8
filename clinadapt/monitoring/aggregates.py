"""Counts of answers by figure and cell, added up and read back strictly: what is not a count of ours is refused."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from clinadapt.monitoring.observations import FIGURES, NO, RARE, YES, Observation

FORMAT = 1
# A label or language of fewer answers in the evaluation is never named, and no smaller count of one is shown: a rare
# one may be that of a single patient (small cells, as statistical offices suppress them)
SMALLEST_CELL = 5
_MOST = 10**9  # of a count; more is no count of answers
_OPEN = ("label", "language")  # figures whose cells may be rare

Cells = dict[str, dict[str, int]]  # figure -> cell -> count


@dataclass
class Aggregate:
    """Counts of some answers.

    Attributes:
        answers: how many.
        notes: how many different notes they are about, as far as the writer remembers.
        flags: answers that reviewers flagged.
        cells: how many fall into each cell of each figure.
    """

    answers: int = 0
    notes: int = 0
    flags: int = 0
    cells: Cells = field(default_factory=dict)

    def add(self, observation: Observation) -> None:
        """Count an observation of an answer or of a note; the caller counts `answers` and `notes`."""
        for figure, cell in observation.items():
            counts = self.cells.setdefault(figure, {})
            counts[cell] = counts.get(cell, 0) + 1

    def __add__(self, other: Aggregate) -> Aggregate:
        total = Aggregate(self.answers + other.answers, self.notes + other.notes, self.flags + other.flags)
        for cells in (self.cells, other.cells):
            for figure, counts in cells.items():
                summed = total.cells.setdefault(figure, {})
                for cell, count in counts.items():
                    summed[cell] = summed.get(cell, 0) + count
        return total

    def counts(self, figure: str, cells: Iterable[str]) -> np.ndarray:
        """Counts of the cells of a figure, shape (cells,)."""
        own = self.cells.get(figure, {})
        return np.array([own.get(cell, 0) for cell in cells], dtype=np.int64)

    def to_json(self) -> dict[str, Any]:
        """As JSON; `from_json` reads it."""
        return {
            "format": FORMAT,
            "answers": self.answers,
            "notes": self.notes,
            "flags": self.flags,
            "cells": self.cells,
        }

    @classmethod
    def from_json(cls, document: Any, labels: Collection[str]) -> Aggregate:
        """
        Args:
            document: as `to_json` returns it.
            labels: that may be named.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: it is not what `to_json` returns.
        """
        if document["format"] != FORMAT:
            raise ValueError("format")
        cells: Cells = {}
        for figure, counts in document["cells"].items():
            allowed = {*FIGURES[figure].cells} or {*labels, RARE}
            if not allowed.issuperset(counts):
                raise ValueError("cell")
            cells[figure] = {cell: _count(count) for cell, count in counts.items()}
        result = cls(_count(document["answers"]), _count(document["notes"]), _count(document["flags"]), cells)
        totals = {figure: sum(counts.values()) for figure, counts in cells.items()}
        if any(total > getattr(result, FIGURES[figure].of) for figure, total in totals.items()):
            raise ValueError("more counts than answers")
        return result


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _MOST:
        raise ValueError("count")
    return value


@dataclass(frozen=True)
class Baseline:
    """The aggregate of a version's evaluation, which its use is compared with.

    Attributes:
        aggregate: labels and languages of fewer than SMALLEST_CELL answers are pooled as RARE.
        design_effects: figure -> variance of its shares, relative to that of as many independent answers (Kish 1965,
            Survey Sampling, section 8.2): several answers about one note are less than as many notes.
    """

    aggregate: Aggregate
    design_effects: dict[str, float] = field(default_factory=dict)

    def named(self, figure: str) -> tuple[str, ...]:
        """Cells of a figure in order; of labels and languages those that may be named, and RARE for all others."""
        own = self.aggregate.cells.get(figure, {})
        if figure not in _OPEN:
            return FIGURES[figure].cells
        return (*sorted((cell for cell in own if cell != RARE), key=lambda cell: (-own[cell], cell)), RARE)

    def pooled(self, observation: Observation) -> Observation:
        """An observation without a label or language that may not be named."""
        return {
            figure: RARE if figure in _OPEN and cell not in self.named(figure) else cell
            for figure, cell in observation.items()
        }

    def to_json(self) -> dict[str, Any]:
        """As `aggregates` of evaluation.json."""
        return self.aggregate.to_json() | {"design_effects": self.design_effects}

    @classmethod
    def of_evaluation(cls, evaluation: Mapping[str, Any]) -> Baseline:
        """Of evaluation.json; from its rates where an earlier release wrote it, without length and language.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: it is broken.
        """
        labels = evaluation.get("labels", [])
        if (document := evaluation.get("aggregates")) is None:
            return _of_rates(evaluation)
        effects = {figure: float(document["design_effects"][figure]) for figure in document["design_effects"]}
        if not all(figure in FIGURES and 0 < effect < _MOST for figure, effect in effects.items()):
            raise ValueError("design effect")
        return cls(Aggregate.from_json(document, labels), effects)


def baseline(observations: list[Observation], clusters: list[str], notes: Mapping[str, Observation]) -> Baseline:
    """The baseline of an evaluation.

    Args:
        observations: of each answer.
        clusters: that the note of each answer is in.
        notes: note_id -> what is counted of the note.
    """
    total = Aggregate(len(observations), len(notes))
    for each in (*observations, *notes.values()):
        total.add(each)
    _pool(total.cells)
    _, cluster = np.unique(clusters, return_inverse=True)
    effects = {}
    for figure in observations[0] if observations else ():
        values = [each[figure] for each in observations]
        effects[figure] = round(_design_effect(np.unique(values, return_inverse=True)[1], cluster), 4)
    return Baseline(total, effects)


def _pool(cells: Cells) -> None:
    """Pool labels and languages of too few answers."""
    for figure in _OPEN:
        if counts := cells.get(figure):
            rare = {cell for cell, count in counts.items() if count < SMALLEST_CELL}
            pooled = sum(counts.pop(cell) for cell in rare)
            if pooled:
                counts[RARE] = pooled


def _design_effect(cell: np.ndarray, cluster: np.ndarray) -> float:
    """Mean over the cells of (variance by cluster / binomial variance) of their shares, at least 1.

    Args:
        cell, cluster: number of each answer's, shape (answers,).
    """
    indicator = np.eye(cell.max() + 1)[cell]
    share = indicator.mean(axis=0)
    residuals = np.zeros((cluster.max() + 1, len(share)))
    np.add.at(residuals, cluster, indicator - share)
    binomial = len(cell) * share * (1 - share)
    varying = binomial > 0
    if not varying.any():
        return 1.0
    return max(1.0, float(np.mean((residuals**2).sum(axis=0)[varying] / binomial[varying])))


def _of_rates(evaluation: Mapping[str, Any]) -> Baseline:
    """What an evaluation of an earlier release tells: rates of claims, refusals and finished answers; labels."""
    candidate = evaluation["models"]["candidate"]
    if "labels" in evaluation:
        predicted = np.sum(candidate["confusion"], axis=0)
        cells = {"label": {label: int(n) for label, n in zip(evaluation["labels"], predicted, strict=True) if n}}
        _pool(cells)
        return Baseline(Aggregate(int(predicted.sum()), int(evaluation["notes"]), 0, cells))
    rows, unanswerable = int(evaluation["rows"]), int(evaluation["unanswerable"])
    rates = {name: estimate["value"] for name, estimate in candidate["metrics"].items()}
    right, wrong = rates.get("correct_refusals", 0.0), rates.get("wrong_refusals", 0.0)
    yes = {
        "refusals": right * unanswerable + wrong * (rows - unanswerable),
        "unsupported": rates["unsupported"] * rows,
        "contradicted": rates["contradicted"] * rows,
        "cut_off": (1 - rates["finished"]) * rows,
    }
    cells = {name: {YES: round(number), NO: rows - round(number)} for name, number in yes.items()}
    return Baseline(Aggregate(rows, int(evaluation["notes"]), 0, cells))
