"""What the patient denies is asked only where the answer is all of it."""

from __future__ import annotations

import pytest
from taught import answers

QUESTION = r"What does the patient deny\?|Which symptoms does the patient (?:deny|not have)\?"
LIST = "Separate|separated"


@pytest.mark.parametrize(
    ("note", "denied", "listed"),
    [
        ("He has a cough. He denies fever or chills.", "fever or chills", "fever; chills"),
        ("He denies fever or chills. No PV discharge.", None, None),
        ("He has no shoulder pain. He denies fever or chills.", None, None),
        ("GI: No heartburn. No nausea. GU: No dysuria. Denies slow stream or straining.", None, None),
        ("HPC: dysuria. No fever, no loin pain. No PV discharge.", None, None),
        ("No thoughts of self harm, no psychosis.", "No thoughts of self harm, no psychosis", None),
        ("He denies fever or chills. He has not had headaches.", None, None),
        ("He denies fever or chills. She has nausea without vomiting.", None, None),
        ("He denies fever or chills. No significant neck pain.", None, None),
        ("He denies fever or chills. The rest of his systems is negative.", None, None),
        ("He denies fever or chills. O/E no wheeze, no edema.", "fever or chills", "fever; chills"),
        ("He denies fever or chills. No known drug allergies.", "fever or chills", "fever; chills"),
        ("He denies fever or chills. There was no improvement.", "fever or chills", "fever; chills"),
        ("He denies fever or chills. X-rays were negative for fracture.", "fever or chills", "fever; chills"),
    ],
)
def test_what_is_denied_is_asked_where_the_note_denies_nothing_else(
    note: str, denied: str | None, listed: str | None
) -> None:
    assert answers(note, QUESTION) - answers(note, LIST) == (set() if denied is None else {denied})
    assert answers(note, LIST) == (set() if listed is None else {listed})


def test_illnesses_are_no_symptoms() -> None:
    note = "The patient denies high blood pressure, diabetes or lung disease."
    assert answers(note, "What does the patient deny") == {"high blood pressure, diabetes or lung disease"}
    assert answers(note, "symptoms") == set()
