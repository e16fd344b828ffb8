"""Answers that the report shows in full: the worst ones first, then a random draw; never about private notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clinadapt.clinical.claims import CheckedClaim, unsupported
from clinadapt.clinical.refusals import is_refusal
from components.evaluate.generation import Row

_LONGEST_NOTE = 6000  # characters of a note that an example shows, in a box that scrolls
_WORST = 6
# What can be wrong with an answer, the gravest first
FAULTS = (
    "contradicts the note",
    "claims what the note does not say",
    "answers a question that the note does not answer",
    "refuses a question that the note answers",
)


def examples(rows: Sequence[Row], answers: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """The candidate's worst answers, the gravest first, and the first rows of each task in the order of the sample,
    which is random.

    Args:
        rows: the instructions with their reference answers, and `decimal_comma`.
        answers: model -> text of its answer to each row; `candidate` is judged.

    Returns:
        For each example task, answerable, instruction, reference, answers, `fault` (one of FAULTS; None in the random
        draw), the beginning of the note, and `claims` of the candidate's answer that the note does not support: start,
        end, outcome, and evidence, all in characters.
    """
    shown = [i for i, row in enumerate(rows) if not row["private"]]
    checks = {i: _unsupported(rows[i], answers["candidate"][i]) for i in shown}
    faults = {i: _fault(rows[i], answers["candidate"][i], checks[i]) for i in shown}
    wrong = [i for i in shown if faults[i] is not None]
    worst = sorted(wrong, key=lambda i: (FAULTS.index(faults[i] or ""), -len(checks[i]), i))[:_WORST]
    drawn = [i for i in _first_rows(rows, shown) if i not in worst]
    listed = [(i, faults[i]) for i in worst] + [(i, None) for i in drawn]
    return [
        {
            "task": rows[i]["task"],
            "answerable": rows[i]["answerable"],
            "fault": fault,
            "note": rows[i]["note_text"][:_LONGEST_NOTE],
            "shortened": len(rows[i]["note_text"]) > _LONGEST_NOTE,
            "instruction": rows[i]["instruction"],
            "reference": rows[i]["answer"],
            "answers": {name: texts[i] for name, texts in answers.items()},
            "claims": [
                {"start": each.claim.start, "end": each.claim.end, "outcome": each.outcome, "evidence": each.evidence}
                for each in checks[i]
            ],
        }
        for i, fault in listed
    ]


def _unsupported(row: Row, answer: str) -> list[CheckedClaim]:
    return unsupported(answer, row["note_text"], row["instruction"], row["decimal_comma"])


def _fault(row: Row, answer: str, claims: Sequence[CheckedClaim]) -> str | None:
    refusal = is_refusal(answer)
    if refusal and row["answerable"]:  # its claim, that the note lacks something, is the refusal itself
        return FAULTS[3]
    if claims:
        return FAULTS[0] if any(each.outcome == "contradicted" for each in claims) else FAULTS[1]
    return None if refusal or row["answerable"] else FAULTS[2]


def _first_rows(rows: Sequence[Row], shown: Sequence[int]) -> list[int]:
    """The first answerable row of each task by name, then the first two unanswerable ones."""
    firsts: dict[str, int] = {}
    for i in shown:
        if rows[i]["answerable"]:
            firsts.setdefault(rows[i]["task"], i)
    unanswerable = [i for i in shown if not rows[i]["answerable"]][:2]
    return [firsts[task] for task in sorted(firsts)] + unanswerable
