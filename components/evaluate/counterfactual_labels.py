"""Whether a classifier predicts the same for a patient of the other sex, of another age, or with a name of another
origin: the held-out notes are changed where the label must not change, and the candidate predicts again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from clinadapt.artifacts.step_record import log
from clinadapt.models.classifier import Classifier
from components.evaluate.answer_cache import AnswerCache
from components.evaluate.counterfactual_notes import KINDS, changes
from components.evaluate.metrics import probabilities, ratios


def score_changed(
    classifier: Classifier,
    cache: Callable[[Any], AnswerCache],
    texts: list[str],
    temperature: float,
    most: int,
    seed: int,
) -> dict[str, tuple[list[int], np.ndarray]]:
    """Score counterfactual notes.

    Args:
        cache: opens the cache of the adapter for prompts.
        texts: of the held-out notes.
        temperature: of the candidate.
        most: notes of a kind.
        seed: of the draw.

    Returns:
        Kind -> numbers of the notes that were changed, and the probabilities of these, shape (changed, labels).
    """
    scored = {}
    for kind, notes in changed_notes(texts, most, seed).items():
        changed, logits = list(notes.values()), np.zeros((0, len(classifier.card.labels)))
        if changed:
            log("evaluate", f"counterfactual notes, {KINDS[kind]}: scoring {len(changed)} notes")
            logits = np.array(cache([changed]).get("logits", partial(_logits, classifier, changed)))
        scored[kind] = list(notes), probabilities(logits, temperature)
    return scored


def changed_notes(texts: list[str], most: int, seed: int) -> dict[str, dict[int, str]]:
    """Kind -> number of a note -> its counterfactual, of at most `most` notes drawn at random: they may stand by
    label or by date."""
    made: dict[str, dict[int, str]] = {kind: {} for kind in KINDS}
    for number in np.random.default_rng(seed).permutation(len(texts)).tolist():
        if all(len(notes) >= most for notes in made.values()):
            break
        for kind, change in changes(texts[number]).items():
            if len(made[kind]) < most:
                made[kind][number] = change(texts[number])
    return made


def _logits(classifier: Classifier, texts: list[str]) -> list[list[float]]:
    logits: list[list[float]] = classifier.logits(classifier.tokenize(texts)).tolist()
    return logits


def measure_labels(
    before: np.ndarray, after: dict[str, tuple[list[int], np.ndarray]], cluster: np.ndarray, seed: int
) -> dict[str, dict[str, Any]]:
    """How predictions differ on counterfactual notes.

    Args:
        before: calibrated probabilities of the held-out notes, shape (notes, labels).
        after: kind -> numbers of the notes that were changed, and the probabilities of these, shape (changed, labels).
        cluster: of each note, shape (notes,).
        seed: of the bootstrap.

    Returns:
        Kind -> notes and, where there are any, `unchanged` (share with the same label) and `shift` (mean absolute
        difference of the probability of the label that was predicted for the note as it is), with intervals.
    """
    measured: dict[str, dict[str, Any]] = {}
    for kind, (numbers, changed) in after.items():
        measured[kind] = {"notes": len(numbers)}
        if numbers:
            own = before[numbers]
            label, index = own.argmax(axis=1), np.arange(len(numbers))
            shift = np.abs(changed[index, label] - own[index, label])
            values = np.column_stack([changed.argmax(axis=1) == label, shift]).astype(float)
            estimates = ratios(values, np.ones_like(values), cluster[numbers], seed)
            measured[kind]["unchanged"], measured[kind]["shift"] = estimates
    return measured
