"""Which answers say what a correction says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from clinadapt.data.schemas.classify import SPLIT
from clinadapt.models.generator import Answer
from components.evaluate.corrections import answers_on_corrections, describe, is_right, labels_on_corrections
from components.evaluate.generation import ModelAnswers
from components.evaluate.instruct import MODEL_TITLES

NOTE = "The patient takes metoprolol 25 mg twice daily and lisinopril 10 mg daily. No chest pain."
REFUSAL = "The note does not say."


def row(answer: str, instruction: str = "Which dose of metoprolol?", **fields: Any) -> dict[str, Any]:
    return {"note_text": NOTE, "instruction": instruction, "answer": answer, "answerable": True,
            "decimal_comma": False, "cluster": 1, **fields}  # fmt: skip


@pytest.mark.parametrize(
    ("correction", "answer", "right"),
    [
        ("25 mg twice daily.", "25 mg twice daily", True),
        ("Metoprolol 25 mg twice daily.", "She takes metoprolol 25 mg twice daily.", True),
        ("Metoprolol 25 mg twice daily.", "She takes metoprolol 50 mg twice daily.", False),
        ("Metoprolol 25 mg twice daily.", "She takes metoprolol.", False),
        ("Metoprolol 25 mg twice daily.", "Metoprolol 25 mg twice daily, and warfarin 5 mg.", False),
        ("Metoprolol 25 mg twice daily.", REFUSAL, False),
        ("Rest and see.", "Rest, then see.", False),
    ],
)
def test_an_answer_that_says_what_the_correction_says(correction: str, answer: str, right: bool) -> None:
    assert is_right(answer, row(correction)) == right


def test_a_correction_that_is_a_refusal() -> None:
    refused = row(REFUSAL, "When was the last colonoscopy?", answerable=False)
    assert is_right("The note does not mention a colonoscopy.", refused)
    assert not is_right("In 2019.", refused)


def scored() -> dict[str, Any]:
    rows = [row("25 mg twice daily."), row("Lisinopril 10 mg daily.", "The other drug?", cluster=2)]
    answers = {"candidate": ["25 mg twice daily.", "Lisinopril 10 mg daily."], "base": ["", "x"],
               "champion": ["25 mg twice daily.", "Lisinopril 20 mg daily."]}  # fmt: skip
    nothing = np.zeros(2)
    given = {
        name: ModelAnswers([Answer(text, [], True, 0) for text in texts], nothing, nothing, 0.0, 0.0)
        for name, texts in answers.items()
    }
    assert answers_on_corrections([], {}, MODEL_TITLES, seed=0) == {}
    return dict(answers_on_corrections(rows, given, MODEL_TITLES, seed=0)["feedback"])


def test_right_answers_are_counted_with_their_intervals() -> None:
    result = scored()
    right = {name: (model["right"], model["right_share"]["value"]) for name, model in result["models"].items()}
    assert right == {"candidate": (2, 1.0), "base": (0, 0.0), "champion": (1, 0.5)}
    champion = result["models"]["champion"]
    ends = champion["right_share"]["low"], champion["right_share"]["high"]
    assert ends == (pytest.approx(0.013, abs=0.01), pytest.approx(0.987, abs=0.01))
    assert champion["token_f1"]["value"] == pytest.approx((1 + 0.75) / 2)
    assert describe(result).endswith("trained on: Adapter 2, Base model 0, Champion 1")


def test_labels() -> None:
    fields = {"note_id": ["a", "b"], "text": ["x", "y"], "labels": [["C"], ["D"]], "counts": [[1], [1]]}
    told = {"sex": [None, "female"], "age_band": [None, None]}
    notes = pa.table(fields | {"cluster": [1, 2]} | told, schema=SPLIT)
    result = labels_on_corrections(notes, {"candidate": ["C", "C"]}, {"candidate": "Adapter"}, seed=0)
    assert result["rows"] == 2 and result["models"]["candidate"]["right"] == 1
    assert "token_f1" not in result["models"]["candidate"]
