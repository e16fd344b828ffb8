"""Identifiers and dates as exports write them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from clinadapt.config.origin import newest_share, origin_columns
from clinadapt.data.date_values import read_date
from clinadapt.data.patients import PATIENT_KEY, OriginReader, Pseudonyms, combined, describe_origin, normal_identifier
from clinadapt.errors import UserError


@pytest.mark.parametrize(
    ("columns", "named", "found"),
    [
        (["subject_id", "hadm_id", "charttime", "text"], {}, ["subject_id", "hadm_id", "charttime"]),
        (["Patient ID", "VisitDate"], {}, ["Patient ID", None, "VisitDate"]),
        (["PAT_MRN_ID", "PAT_ENC_CSN_ID"], {}, ["PAT_MRN_ID", "PAT_ENC_CSN_ID", None]),
        (["patient_num", "encounter_num"], {}, ["patient_num", "encounter_num", None]),
        (["mrn", "patient_id"], {}, ["patient_id", None, None]),
        (["mrn", "patient_id"], {"patient": "mrn"}, ["mrn", None, None]),
        (["mrn", "date"], {"patient": "", "date": ""}, [None, None, None]),
        (["mrn", "seen on"], {"date": "seen on %d/%m/%Y"}, ["mrn", None, "seen on"]),
        (["mrn"], {"patient": "other"}, [None, None, None]),
        (["ID", "section_header", "section_text", "dialogue"], {}, [None, None, None]),
        (["", "description", "medical_specialty", "sample_name", "transcription", "keywords"], {}, [None] * 3),
    ],
)
def test_columns_are_found_by_their_usual_names(
    columns: list[str], named: dict[str, str], found: list[str | None]
) -> None:
    result = origin_columns(columns, named)
    assert [result.get(field) for field in ("patient", "encounter", "date")] == found


@pytest.mark.parametrize("value", [123, "123", " 123 ", "00123", 123.0, "123.0", "１２３"])
def test_one_identifier_written_differently(value: Any) -> None:
    assert normal_identifier(value) == "123"


@pytest.mark.parametrize(
    "value",
    [None, "", " ", "NaN", float("nan"), "N/A", "#N/A", "unknown", "not recorded", "0", 0, -1, "-1", "?", "x" * 65],
)  # fmt: skip
def test_a_missing_identifier(value: Any) -> None:
    assert normal_identifier(value) == ""


@pytest.mark.parametrize(
    ("value", "form", "expected"),
    [
        ("2024-02-03", "", datetime(2024, 2, 3)),
        ("2024-02-03T10:20:30Z", "", datetime(2024, 2, 3, 10, 20, 30)),
        ("2024-02-03 01:00:00+02:00", "", datetime(2024, 2, 2, 23)),
        ("20240203", "", datetime(2024, 2, 3)),
        (20240203, "", datetime(2024, 2, 3)),
        ("3.2.2024", "", datetime(2024, 2, 3)),
        ("2/13/2024", "", datetime(2024, 2, 13)),
        ("13/2/2024 08:05", "", datetime(2024, 2, 13, 8, 5)),
        ("2/13/2024 12:30 AM", "", datetime(2024, 2, 13, 0, 30)),
        ("2/13/2024 3:05:09 PM", "", datetime(2024, 2, 13, 15, 5, 9)),
        ("2/13/2024 15:05 PM", "", None),
        ("3/3/2024", "", datetime(2024, 3, 3)),
        ("3/4/2024", "", None),
        ("3/4/2024", "%d/%m/%Y", datetime(2024, 4, 3)),
        ("3 Feb 2024", "", datetime(2024, 2, 3)),
        ("Feb 3, 2024", "", datetime(2024, 2, 3)),
        ("2156-02-30", "", None),
        ("yesterday", "", None),
        (None, "", None),
        (True, "", None),
        (date(2024, 2, 3), "", datetime(2024, 2, 3)),
        (datetime(2024, 2, 3, 12, tzinfo=timezone(timedelta(hours=2))), "", datetime(2024, 2, 3, 10)),
        (datetime(1, 1, 1, tzinfo=UTC), "", datetime(1, 1, 1)),
    ],
)
def test_dates(value: Any, form: str, expected: datetime | None) -> None:
    assert read_date(value, form) == expected


def test_the_key_decides_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = []
    for key in ("a" * 32, "a" * 32, "b" * 32):
        monkeypatch.setenv(PATIENT_KEY, key)
        pseudonyms = Pseudonyms()
        assert pseudonyms.stored("patient", pseudonyms.of("patient", 7)) == pseudonyms.of("patient", "7")
        assert pseudonyms.of("encounter", 7) != pseudonyms.of("patient", 7)
        hashes.append((pseudonyms.of("patient", 7), pseudonyms.key_id))
    assert hashes[0] == hashes[1] and not set(hashes[0]) & set(hashes[2])


def test_without_a_key_patients_are_numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PATIENT_KEY, raising=False)
    pseudonyms = Pseudonyms()
    assert pseudonyms.key_id == ""
    numbers = [pseudonyms.stored("patient", pseudonyms.of("patient", value)) for value in ("x", "y", "X ", None)]
    assert numbers == ["1", "2", "1", None]
    assert Pseudonyms().of("patient", "x") != pseudonyms.of("patient", "x")


def test_a_short_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PATIENT_KEY, "hunter2")
    with pytest.raises(UserError, match="fewer than 32 characters: make one with openssl") as raised:
        Pseudonyms()
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("columns", "named", "found"),
    [
        (["Gender", "Age (years)"], {}, {"sex": "Gender", "age": "Age (years)"}),
        (["sex", "patient_sex", "age"], {}, {"sex": "patient_sex", "age": "age"}),
        (["geschlecht", "alter", "sex"], {"sex": "geschlecht", "age": "alter"}, {"sex": "geschlecht", "age": "alter"}),
        (["sex", "age"], {"sex": "", "age": ""}, {}),
        (["anchor_age", "sexual history", "language", "stage"], {}, {}),  # anchor_age is not that of the note
    ],
)
def test_columns_of_sex_and_age(columns: list[str], named: dict[str, str], found: dict[str, str]) -> None:
    assert origin_columns(columns, named) == found


def test_sexes_and_ages_are_grouped_and_what_cannot_be_read_is_counted_and_not_shown() -> None:
    reader = OriginReader({}, Pseudonyms())
    values = [("F", 93), ("Xylophile", "8O"), ("unknown", None), (1, "90+"), ("male", "67 y")]
    origins = [reader.read({"sex": sex, "age": age}) for sex, age in values]
    assert [(origin.sex, origin.age_band) for origin in origins] == [
        ("female", "80 years and more"), (None, None), (None, None), (None, "80 years and more"),
        ("male", "65 to 79 years"),
    ]  # fmt: skip
    recorded = combined([reader.summary()], Pseudonyms())
    assert [recorded[name] for name in ("sex", "age", "unreadable sexes", "unreadable ages")] == [2, 3, 2, 1]
    lines = list(describe_origin(recorded))
    assert lines[-2:] == [
        "2 unreadable sexes, which count as unknown: write them as F or M, female or male, or other",
        "1 unreadable ages, which count as unknown: write them as 67, 67 y, 6 months or 90+",
    ]
    assert not [word for word in ("Xylophile", "8O", "93") if word in f"{recorded} {lines}"]


def test_rows_of_different_columns() -> None:
    """As in JSON lines, where a field that is empty is often left out."""
    reader = OriginReader({"patient": "mrn"}, Pseudonyms())
    origins = [reader.read(row) for row in ({"mrn": 1}, {"text": "x"}, {"mrn": 1, "date": "3/4/2024"})]
    assert origins[0].patient == origins[2].patient is not None and origins[1].patient is None
    counts = {"rows": 3, "patient": 2, "encounter": 0, "date": 0, "sex": 0, "age": 0, "unreadable dates": 1}
    assert reader.counts == counts
    reader.refuse_unused("file:///notes.csv", ["mrn"])
    with pytest.raises(UserError, match="no column 'd'"):
        OriginReader({"date": "d"}, Pseudonyms()).refuse_unused("file:///notes.csv", ["mrn"])


def test_another_date_where_the_first_is_empty() -> None:
    """The discharge summaries of MIMIC-III have a chartdate, and no charttime."""
    rows = [
        {"CHARTDATE": "2150-03-01", "CHARTTIME": "2150-03-01 10:00:00"},
        {"CHARTDATE": "2150-03-02", "CHARTTIME": ""},
    ]
    reader = OriginReader({}, Pseudonyms())
    assert [reader.read(row).date for row in rows] == [datetime(2150, 3, 1, 10), datetime(2150, 3, 2)]
    assert reader.columns == {"date": ["CHARTTIME", "CHARTDATE"]} and not reader.counts["unreadable dates"]
    named = OriginReader({"date": "CHARTTIME"}, Pseudonyms())
    assert named.read(rows[1]).date is None


@pytest.mark.parametrize(("test", "share"), [("random", None), ("newest 10%", 0.1), ("newest 2.5 %", 0.025)])
def test_which_notes_are_the_test(test: str, share: float | None) -> None:
    assert newest_share(test) == share


@pytest.mark.parametrize("test", ["newest", "newest 0%", "newest 60%", "oldest 10%", ""])
def test_an_unknown_test(test: str) -> None:
    with pytest.raises(ValueError, match="newest 10%"):
        newest_share(test)
