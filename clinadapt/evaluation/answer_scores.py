"""The scores of one answer by its text alone, in the evaluation and on a running server alike."""

from __future__ import annotations

from collections.abc import Iterable

from clinadapt.clinical.claims import CheckedClaim, check
from clinadapt.evaluation.text_metrics import token_f1

TEXT_SCORES = ("token_f1", "unsupported", "contradicted")


def answer_scores(
    answer: str, reference: str | None, note: str, instruction: str, decimal_comma: bool
) -> dict[str, float]:
    """Scores of an answer.

    Args:
        answer: its text.
        reference: the expected answer; None where there is none.
        note, instruction: that it answers.
        decimal_comma: whether 0,125 is less than one in the texts.

    Returns:
        `token_f1` (where there is a reference), and `unsupported` and `contradicted`: 1 where the answer has a claim
        that the note does not support, or contradicts, else 0.
    """
    claims = claim_scores(check(answer, note, instruction, decimal_comma))
    return claims if reference is None else {"token_f1": token_f1(answer, reference, decimal_comma), **claims}


def claim_scores(claims: Iterable[CheckedClaim]) -> dict[str, float]:
    """`unsupported` and `contradicted`, as of `answer_scores`, of an answer whose claims are checked."""
    outcomes = {claim.outcome for claim in claims}
    return {"unsupported": float(bool(outcomes - {"supported"})), "contradicted": float("contradicted" in outcomes)}
