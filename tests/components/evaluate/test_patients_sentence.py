"""A result begins with it where rows do not name their patient."""

from __future__ import annotations

from typing import Any

import pytest

from components.evaluate.gate.step import patients_sentence


@pytest.mark.parametrize(
    ("rows", "patient", "columns", "start"),
    [
        (100, 0, [], "No source has a patient column, so notes of one patient may be in training and in the test"),
        (100, 0, ["mrn"], "100% of the rows name no patient, so"),
        (100, 75, ["mrn"], "25% of the rows name no patient, so"),
        (100, 100, ["mrn"], ""),
    ],
)
def test_the_first_words_of_a_result(rows: int, patient: int, columns: list[str], start: str) -> None:
    sentence = patients_sentence({"rows": rows, "patient": patient, "columns": {"patient": columns}})
    assert sentence.startswith(start) and bool(sentence) == bool(start)


def test_built_in_notes_are_nobodys() -> None:
    nothing: dict[str, Any] = {}
    assert patients_sentence(nothing) == ""
