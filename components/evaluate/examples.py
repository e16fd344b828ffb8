"""Answers that the report shows in full: the worst ones, then some drawn at random; never about private notes."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from clinadapt.clinical.claims import CheckedClaim
from clinadapt.clinical.refusals import is_refusal
from clinadapt.evaluation.text_metrics import matches
from components.evaluate.answer_checks import AnswerCheck
from components.evaluate.generation import Row

_LONGEST_NOTE = 6000  # characters of a note that an example shows, in a box that scrolls
_LONGEST_TEXT = 4000  # of an instruction or an answer
_WORST = 6
_DRAWN = 8
# What can be wrong with an answer, the gravest first
FAULTS = (
    "contradicts the note",
    "claims what the note does not say",
    "answers a question that the note does not answer",
    "refuses a question that the note answers",
    "differs from the reference answer",
)


def examples(
    rows: Sequence[Row], answers: Mapping[str, Sequence[str]], checks: Sequence[AnswerCheck], seed: int
) -> list[dict[str, Any]]:
    """The candidate's worst answers, the gravest first, then others drawn at random, whatever is wrong with them.

    Args:
        rows: the instructions with their reference answers.
        answers: model -> text of its answer to each row; `candidate` is judged.
        checks: of the candidate's answers.
        seed: of the draw.

    Returns:
        For each example task, answerable, instruction, reference, answers, `fault` (one of FAULTS, or None), `right`
        (why no fault, or None where no rule can tell), `drawn` (whether at random), the beginning of the note, and
        `claims` of the candidate's answer that the note does not support: start, end, outcome, and evidence, all in
        characters.
    """
    shown = [i for i, row in enumerate(rows) if not row["private"]]
    doubtful = {i: checks[i].unsupported for i in shown}
    faults = {i: _fault(rows[i], answers["candidate"][i], doubtful[i]) for i in shown}
    wrong = [i for i in shown if faults[i] is not None]
    worst = sorted(wrong, key=lambda i: (FAULTS.index(faults[i] or ""), -len(doubtful[i]), i))[:_WORST]
    others = [i for i in shown if i not in worst]
    drawn = random.Random(seed).sample(others, min(_DRAWN, len(others)))
    return [
        {
            "task": rows[i]["task"],
            "answerable": rows[i]["answerable"],
            "fault": faults[i],
            "right": None if faults[i] else _right(rows[i]),
            "drawn": i in drawn,
            "note": rows[i]["note_text"][:_LONGEST_NOTE],
            "shortened": len(rows[i]["note_text"]) > _LONGEST_NOTE,
            "instruction": _shortened(rows[i]["instruction"]),
            "reference": _shortened(rows[i]["answer"]),
            "answers": {name: _shortened(texts[i]) for name, texts in answers.items()},
            "claims": [
                {"start": each.claim.start, "end": each.claim.end, "outcome": each.outcome, "evidence": each.evidence}
                for each in doubtful[i]
                if each.claim.end <= _LONGEST_TEXT
            ],
        }
        for i in [*worst, *drawn]
    ]


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]} …"


def _fault(row: Row, answer: str, claims: Sequence[CheckedClaim]) -> str | None:
    refusal = is_refusal(answer)
    if refusal and row["answerable"]:  # its claim, that the note lacks something, is the refusal itself
        return FAULTS[3]
    if claims:
        return FAULTS[0] if any(each.outcome == "contradicted" for each in claims) else FAULTS[1]
    if not (refusal or row["answerable"]):
        return FAULTS[2]
    right = row["check"] == "none" or matches(answer, row["answer"], row["check"], row["decimal_comma"])
    return None if refusal or right else FAULTS[4]


def _right(row: Row) -> str | None:
    """What is right about an answer without a fault."""
    if not row["answerable"]:
        return "rightly says that the note does not tell"
    return None if row["check"] == "none" else "equals the reference answer"
