"""Generated hospitals: the notes of patients over the years, with missing, clashing and misspelled identifiers, copies
of notes, and the truth about who each note is of."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from typing import Any

SPECIALTIES = ("Cardiology", "Neurology")
_SYLLABLES = [a + b for a in "bcdfghklmnprstvz" for b in "aeiou"]


def sentence(rng: Random) -> str:
    """A sentence of ten invented words, so that notes of two patients have nothing in common."""
    return " ".join("".join(rng.choices(_SYLLABLES, k=3)) for _ in range(10)) + "."


def hospital(seed: int, patients: int = 10) -> list[dict[str, Any]]:
    """Rows of a hospital, in no order.

    Patients have 1 to 40 notes, most of them few. Some rows lack their patient but have an encounter in which another
    row names it; identifiers are written as text, numbers or with zeros before them; some encounters have the number
    of another patient's; some notes are twins of an earlier one, of the same patient or of another.

    Returns:
        Rows with subject_id, hadm_id, charttime, transcription, medical_specialty, and the truth: `patient` of the note
        as a number and `written`.
    """
    rng = Random(seed)
    rows: list[dict[str, Any]] = []
    for patient in range(patients):
        admitted = datetime(2020, 1, 1) + timedelta(hours=rng.randrange(50_000))
        for visit in range(min(40, 1 + int(rng.expovariate(0.4)))):
            written = admitted + timedelta(hours=rng.randrange(20_000))
            encounter = rng.randint(1, patients) if rng.random() < 0.02 else 1000 * (patient + 1) + visit
            for part in range(rng.choice((1, 1, 2))):
                twin = rng.choice(rows) if rows and rng.random() < 0.03 else None
                text = twin["transcription"] if twin else " ".join(sentence(rng) for _ in range(3))
                subject = rng.choice([patient + 1, str(patient + 1), f"{patient + 1:05}", f" {patient + 1} "])
                lacks = part == 1 and rng.random() < 0.3
                rows.append({
                    "subject_id": rng.choice([None, "", "unknown"]) if lacks else subject, "hadm_id": encounter,
                    "charttime": f"{written + timedelta(hours=part):%Y-%m-%d %H:%M}", "transcription": text,
                    "medical_specialty": SPECIALTIES[patient % 2], "patient": patient,
                    "written": written + timedelta(hours=part),
                })  # fmt: skip
    rng.shuffle(rows)
    return rows
