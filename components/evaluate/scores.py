"""The scores of the answers of one model, row by row, and what the check of claims says of the reference answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clinadapt.clinical.refusals import is_refusal
from clinadapt.evaluation.answer_scores import claim_scores
from clinadapt.evaluation.text_metrics import matches, rouge_l, token_f1
from components.evaluate.answer_checks import AnswerCheck
from components.evaluate.generation import ModelAnswers, Row
from components.evaluate.metrics import ratios

SCORED_METRICS = (
    "token_f1",
    "rouge_l",
    "exact_match",
    "loss",
    "unsupported",
    "contradicted",
    "omitted",
    "correct_refusals",
    "wrong_refusals",
    "finished",
)


def score(rows: Sequence[Row], model: ModelAnswers, checks: Sequence[AnswerCheck]) -> tuple[np.ndarray, np.ndarray]:
    """Score each answer on each metric, as a fraction.

    Args:
        rows: the instructions with their reference answers, and `decimal_comma`.
        model: its answers and losses.
        checks: of its answers.

    Returns:
        Numerators and denominators, both of shape (rows, len(SCORED_METRICS)); the denominator is 0 where a metric does
        not apply to the row.
    """
    numerators, denominators = np.zeros((len(rows), len(SCORED_METRICS))), np.ones((len(rows), len(SCORED_METRICS)))
    for i, (row, answer, checked) in enumerate(zip(rows, model.answers, checks, strict=True)):
        refusal = is_refusal(answer.text)
        comma, checkable = row["decimal_comma"], row["check"] != "none"
        of_claims = claim_scores(checked.claims)
        fractions = {
            "token_f1": (token_f1(answer.text, row["answer"], comma), 1),
            "rouge_l": (rouge_l(answer.text, row["answer"], comma), 1),
            "exact_match": (checkable and matches(answer.text, row["answer"], row["check"], comma), checkable),
            "loss": (model.losses[i], model.tokens[i]),
            "unsupported": (of_claims["unsupported"], 1),
            "contradicted": (of_claims["contradicted"], 1),
            "omitted": checked.omitted,
            "correct_refusals": (refusal and not row["answerable"], not row["answerable"]),
            "wrong_refusals": (refusal and row["answerable"], row["answerable"]),
            "finished": (answer.complete, 1),
        }
        numerators[i], denominators[i] = zip(*(fractions[name] for name in SCORED_METRICS), strict=True)
    return numerators, denominators


def reference_rates(checks: Sequence[AnswerCheck], cluster: np.ndarray, seed: int) -> dict[str, dict[str, float]]:
    """Shares of the reference answers that the check of claims finds fault with: how much of a model's rate is the
    check's own error, or the data's.

    Args:
        checks: of the reference answers.
        cluster: of each row, shape (rows,).
        seed: of the bootstrap.

    Returns:
        `unsupported` and `contradicted`, as in SCORED_METRICS, with their intervals.
    """
    names = ("unsupported", "contradicted")
    scores = [claim_scores(each.claims) for each in checks]
    wrong = np.array([[each[name] for name in names] for each in scores])
    return dict(zip(names, ratios(wrong, np.ones_like(wrong), cluster, seed), strict=True))
