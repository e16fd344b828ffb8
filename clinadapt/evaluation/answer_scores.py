"""The scores of one answer by its text alone, in the evaluation and on a running server alike."""

from __future__ import annotations

from clinadapt.clinical.claims import unsupported
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
    doubtful = unsupported(answer, note, instruction, decimal_comma)
    claims = {
        "unsupported": float(bool(doubtful)),
        "contradicted": float(any(claim.outcome == "contradicted" for claim in doubtful)),
    }
    return claims if reference is None else {"token_f1": token_f1(answer, reference, decimal_comma), **claims}
