"""The claims of every model's answers, checked once for all that an evaluation says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from clinadapt.clinical.claims import CheckedClaim, check, missing_claims
from components.evaluate.generation import Row

REFERENCE = "reference"  # stands for a model: its answers are the expected ones


class AnswerCheck(NamedTuple):
    """What the check of claims says of one answer.

    Attributes:
        claims: of the answer, in its order.
        omitted: (missing, all) key claims of the reference answer.
    """

    claims: list[CheckedClaim]
    omitted: tuple[int, int]

    @property
    def unsupported(self) -> list[CheckedClaim]:
        """Claims that the note contradicts or does not contain."""
        return [each for each in self.claims if each.outcome != "supported"]


def check_answers(rows: Sequence[Row], texts: Mapping[str, Sequence[str]]) -> dict[str, list[AnswerCheck]]:
    """Check the answers row by row, so that each note is read once for the answers of all models.

    Args:
        rows: the instructions with their reference answers, and `decimal_comma`.
        texts: model -> its answer to each row.

    Returns:
        Model, and REFERENCE for the reference answers -> of each row.
    """
    checks: dict[str, list[AnswerCheck]] = {name: [] for name in (*texts, REFERENCE)}
    for number, row in enumerate(rows):
        note, comma = row["note_text"], row["decimal_comma"]
        for name, answers in (*texts.items(), (REFERENCE, None)):
            text = answers[number] if answers is not None else row["answer"]
            claims = check(text, note, row["instruction"], comma)
            checks[name].append(AnswerCheck(claims, missing_claims(text, row["answer"], note, comma)))
    return checks
