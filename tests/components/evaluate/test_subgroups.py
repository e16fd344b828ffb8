"""Groups of held-out rows by what their notes tell."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from clinadapt.data.schemas.classify import SPLIT
from components.evaluate.metrics import HeldOutNotes, measure
from components.evaluate.subgroups import label_subgroups, subgroups


def groups_of(*notes: str) -> dict[str, dict[str, list[int]]]:
    rows = [{"note_text": note, "source": number % 2} for number, note in enumerate(notes)]
    return {
        by: {name: mask.nonzero()[0].tolist() for name, mask in masks.items()} for by, masks in subgroups(rows).items()
    }


def test_rows_are_grouped_by_source_length_sex_and_age() -> None:
    long = "A 7-year-old boy with fever. " + "The ears are clear. " * 60
    found = groups_of("A 61-year-old woman with cough.", "An 82-year-old man with cough.", long, "Knee pain.")
    assert found == {
        "source": {"source 1": [0, 2], "source 2": [1, 3]},
        "length of the note": {"under 150 words": [0, 1, 3], "150 to 399 words": [2]},
        "sex of the patient": {"female": [0], "male": [1, 2]},
        "age of the patient": {"under 18 years": [2], "40 to 64 years": [0], "80 years and more": [1]},
    }


def test_a_column_wins_over_the_note_which_is_read_where_no_column_tells() -> None:
    note = "A 61-year-old woman with cough."
    rows = [
        {"note_text": text, "source": 0, "sex": sex, "age_band": age}
        for text, sex, age in (
            (note, None, None),
            (note, "male", "80 years and more"),  # the note is wrong, or about somebody else
            ("Knee pain.", "male", None),
            ("", "female", "under 18 years"),
            ("Knee pain.", None, None),
        )
    ]
    groups = {
        by: {name: mask.nonzero()[0].tolist() for name, mask in masks.items()} for by, masks in subgroups(rows).items()
    }
    assert groups == {
        "sex of the patient": {"female": [0, 3], "male": [1, 2]},
        "age of the patient": {"under 18 years": [3], "40 to 64 years": [0], "80 years and more": [1]},
    }


def test_a_sex_that_is_neither_is_a_group() -> None:
    rows = [{"note_text": "Knee pain.", "source": 0, "sex": sex} for sex in ("female", "other", "male", "other")]
    (masks,) = subgroups(rows).values()
    assert {name: mask.nonzero()[0].tolist() for name, mask in masks.items()} == {
        "female": [0], "male": [2], "other": [1, 3]
    }  # fmt: skip


def test_specialties_of_few_patients_are_one_group() -> None:
    specialties = ["Surgery"] * 10 + ["Under observation"] * 12 + ["Ward 3"] * 9 + [None, "Urology"]
    rows = [
        {"note_text": f"Note {number}.", "source": 0, "specialty": name, "cluster": number}
        for number, name in enumerate(specialties)
        for _ in range(2)
    ]
    groups = subgroups(rows)["specialty"]
    assert {name: int(mask.sum()) for name, mask in groups.items()} == {
        "Surgery": 20, "Under observation": 24, "other specialties": 20,
    }  # fmt: skip
    same = [row | {"cluster": 0} for row in rows]  # notes of one patient
    assert "specialty" not in subgroups(same)


def test_one_group_is_no_split() -> None:
    assert groups_of("Knee pain.") == {}


def test_groups_of_a_classifier_are_counted_as_all_notes_are() -> None:
    """A note listed under two labels has two rows, in its group as over all: the groups' counts add up to all."""
    texts = [f"A {age}-year-old {who} with cough." for who in ("woman", "man") for age in range(20, 40)]
    counts = np.zeros((40, 3))
    counts[:, 0] = 1
    counts[:10, 1] = 2
    predicted = np.tile([0.1, 0.2, 0.7], (40, 1))
    predicted[:25] = [0.2, 0.7, 0.1]
    notes = HeldOutNotes(counts, np.arange(40))
    fields = {field.name: [None] * 40 for field in SPLIT} | {"text": texts}
    told = pa.table(fields | {"sex": ["male"] * 40}, schema=SPLIT)
    assert "sex of the patient" not in {each["by"] for each in label_subgroups(told, predicted, notes, 0)}
    found = label_subgroups(pa.table(fields, schema=SPLIT), predicted, notes, 0)
    entries = [each for each in found if each["by"] == "sex of the patient"]
    shares = [each["metrics"]["any_label_accuracy"] for each in entries]
    whole = measure(predicted, None, notes, 0)["metrics"]["any_label_accuracy"]
    assert [(each["group"], each["rows"], each["clusters"]) for each in entries] == [
        ("female", 40, 20),
        ("male", 20, 20),
    ]
    assert [share["value"] for share in shares] == [pytest.approx(0.75), 0]
    assert sum(share["value"] * share["of"] for share in shares) == pytest.approx(whole["value"] * whole["of"])
