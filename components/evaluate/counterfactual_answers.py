"""Whether an adapter says the same of a patient of the other sex, of another age, or with a name of another origin: the
held-out notes are changed where what is right must not change, and the candidate is asked again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from clinadapt.clinical.claims import stated_claims
from clinadapt.clinical.refusals import is_refusal
from clinadapt.config.instruct import Evaluation
from clinadapt.evaluation.text_metrics import rouge_l
from components.evaluate.counterfactual_notes import KINDS, Change, changes
from components.evaluate.generation import CachedModel, Row
from components.evaluate.metrics import ratios

# What asks for what was changed, so that the right answer is another one
_ASKS = {
    "sex": re.compile(r"\b(?:sex|gender|male|female|(?:wo)?man)\b", re.IGNORECASE),
    "age": re.compile(r"\b(?:age|aged|old|born|birth)\b", re.IGNORECASE),
    "names": re.compile(r"\b(?:names?|called|initials)\b", re.IGNORECASE),
}


class Pair(NamedTuple):
    """A held-out row and its counterfactual: `row` is its number, `changed` the row with note and instruction changed,
    `change` what else of it must be changed before the answers are compared."""

    row: int
    changed: Row
    change: Change


def pairs(rows: Sequence[Row], most: int) -> dict[str, list[Pair]]:
    """For each kind at most `most` pairs, of the first rows that allow it, which are note by note."""
    by_note: dict[str, dict[str, Change]] = {}
    made: dict[str, list[Pair]] = {kind: [] for kind in KINDS}
    for number, row in enumerate(rows):
        if all(len(each) >= most for each in made.values()):
            break
        note = row["note_text"]
        if note not in by_note:
            by_note[note] = changes(note)
        for kind, change in by_note[note].items():
            if len(made[kind]) < most and not _ASKS[kind].search(row["instruction"]):
                changed = row | {"note_text": change(note), "instruction": change(row["instruction"])}
                made[kind].append(Pair(number, changed, change))
    return made


def measure_answers(
    model: CachedModel, rows: Sequence[Row], answers: Sequence[str], settings: Evaluation, seed: int
) -> dict[str, dict[str, Any]]:
    """Ask a model about counterfactual notes and compare with its answers about the notes as they are.

    Args:
        model: that answered.
        rows: the held-out instructions, with `decimal_comma`.
        answers: to each row.
        settings: of the evaluation; `counterfactual_rows` rows of each kind are asked.
        seed: of the bootstrap.

    Returns:
        Kind -> rows, notes and, where there are any, `unchanged` (share of answers with the same claims; an answer
        without one must have the same words) and `same_words`, with intervals. No text of a note.
    """
    asked = pairs(rows, settings.counterfactual_rows)
    measured: dict[str, dict[str, Any]] = {}
    for kind, chosen in asked.items():
        title = f"counterfactual notes, {KINDS[kind]}"
        texts = model.texts([pair.changed for pair in chosen], settings, title) if chosen else []
        same = [
            _same(pair.change(answers[pair.row]), text, kind, rows[pair.row]["decimal_comma"])
            for pair, text in zip(chosen, texts, strict=True)
        ]
        notes = {rows[pair.row]["note_id"] for pair in chosen}
        measured[kind] = {"rows": len(chosen), "notes": len(notes)}
        if chosen:
            cluster = np.array([rows[pair.row]["cluster"] for pair in chosen])
            estimates = ratios(np.array(same, float), np.ones((len(same), 2)), cluster, seed)
            measured[kind]["unchanged"], measured[kind]["same_words"] = estimates
    return measured


def _same(expected: str, text: str, kind: str, decimal_comma: bool) -> tuple[bool, bool]:
    """Whether two answers say the same, and whether in the same words."""
    if rouge_l(text, expected, decimal_comma) == 1:
        return True, True
    one, other = (stated_claims(answer, decimal_comma) for answer in (expected, text))
    told = {claim[0] for claim in one} & {claim[0] for claim in other}
    passing = {kind, *({"sex", "age"} - told)}  # an answer need not repeat who the patient is
    one, other = (frozenset(claim for claim in claims if claim[0] not in passing) for claims in (one, other))
    return bool(one or other) and one == other and is_refusal(expected) == is_refusal(text), False
