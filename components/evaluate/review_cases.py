"""Draw the held-out answers that people are asked to judge: the riskiest, and a random share of all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from clinadapt.clinical.claims import CheckedClaim
from clinadapt.clinical.refusals import is_refusal
from clinadapt.config.base import Review
from clinadapt.data.schemas.review import CASES, CASES_FILE
from clinadapt.data.tables import write_table
from clinadapt.evaluation.text_metrics import token_f1
from clinadapt.feedback.cases import RISKS, case_id

DEFAULT_REVIEW = Review()
LOW_MARGIN = 0.5  # of a label's probability over the next one's, below which it is a risk
DIFFERENT = 0.5  # share of the words in which an answer differs from the champion's, above which it is a risk


class Candidate(NamedTuple):
    """An answer that could be judged.

    Attributes:
        row: of test.parquet.
        note_id, instruction: of the question.
        answer: the text, or the predicted label.
        private: whether the note is.
        risks: by name, as in clinadapt.feedback.cases.RISKS.
    """

    row: int
    note_id: str
    instruction: str
    answer: str
    private: bool
    risks: dict[str, float]


def write_cases(output: Path, recipe: str, answers: Sequence[Candidate], settings: Review, seed: int) -> dict[str, int]:
    """Draw the queue and write cases.parquet.

    Args:
        output: folder to write to.
        recipe: `classify` or `instruct`.
        answers: of the candidate; of two to the same question the first counts.
        settings: how many, and whether private notes may be among them.
        seed: of the random share.

    Returns:
        population (answers that the queue was drawn from) and withheld (those about private notes).
    """
    by_question = {case_id(recipe, each.note_id, each.instruction): each for each in reversed(answers)}
    different = [each for each in answers if by_question[case_id(recipe, each.note_id, each.instruction)] is each]
    shown = [each for each in different if settings.private_notes or not each.private]
    risky = sorted((each for each in shown if each.risks), key=_rank)[: settings.riskiest]
    others = [each for each in shown if each not in risky]
    order = np.random.default_rng(seed).permutation(len(others))[: settings.random]
    drawn = [(each, "risk") for each in risky] + [(others[i], "random") for i in order]
    rows = [
        {
            "index": each.row,
            "note_id": each.note_id,
            "answer": each.answer,
            "drawn": how,
            "reasons": [{"kind": kind, "value": each.risks[kind]} for kind in RISKS if kind in each.risks],
        }
        for each, how in drawn
    ]
    output.mkdir(parents=True, exist_ok=True)
    write_table(pa.Table.from_pylist(rows, CASES), output / CASES_FILE)
    return {"population": len(shown), "withheld": len(different) - len(shown)}


def answer_risks(
    row: Mapping[str, Any], answer: str, doubtful: Sequence[CheckedClaim], champion: str | None
) -> dict[str, float]:
    """Why an answer to an instruction is risky.

    Args:
        row: the instruction with its note, and `decimal_comma`.
        answer: of the candidate.
        doubtful: claims of the answer that the note does not support.
        champion: its answer; None where there is none.
    """
    risks: dict[str, float] = {}
    refusal = is_refusal(answer)
    if refusal and row["answerable"]:  # its claim, that the note lacks something, is the refusal itself
        risks["refused"] = 1
    else:
        for outcome in ("contradicted", "not found"):
            risks[outcome] = sum(claim.outcome == outcome for claim in doubtful)
        risks["not refused"] = float(not refusal and not row["answerable"])
    if champion is not None:
        difference = 1 - token_f1(answer, champion, row["decimal_comma"])
        risks["champion"] = difference if difference > DIFFERENT else 0
    return {name: value for name, value in risks.items() if value}


def label_risks(probabilities: np.ndarray, champion: int | None) -> dict[str, float]:
    """Why a predicted label is risky.

    Args:
        probabilities: of the labels, shape (labels,).
        champion: index of the label that it predicts; None where there is no champion.
    """
    risks: dict[str, float] = {}
    if champion is not None and champion != int(probabilities.argmax()):
        risks["champion"] = 1
    if len(probabilities) > 1:
        second, first = np.sort(probabilities)[-2:]
        if first - second < LOW_MARGIN:
            risks["margin"] = float(first - second)
    return risks


def _rank(answer: Candidate) -> list[float]:
    """The riskiest comes first: by the gravest reason, then by the next; a low margin is grave, a high number of
    anything else is."""
    numbers = {name: -value for name, value in answer.risks.items()}
    if "margin" in answer.risks:
        numbers["margin"] = answer.risks["margin"] - 1
    return [numbers.get(name, 0.0) for name in RISKS]
