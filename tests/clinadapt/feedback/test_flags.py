"""What a flag stores."""

import json
from pathlib import Path
from typing import Any

import pytest

from clinadapt.config.phi import Phi
from clinadapt.data.duplicates import note_id
from clinadapt.errors import UserError
from clinadapt.feedback import flags
from clinadapt.privacy import written_texts
from clinadapt.privacy.screening import Screener

NOTE = "62-year-old woman with chest pain."


@pytest.fixture
def answer(tmp_path: Path) -> dict[str, Any]:
    return {
        "predicted_class": 1,
        "label": "Urology",
        "probabilities": {"Cardiology": 0.3, "Urology": 0.7},
        "unseen_token_share": 0.0,
        "adapter": f"{tmp_path.as_uri()}/adapters/specialty/0123456789abcdef",
    }


def test_a_flag_is_stored_beside_the_adapter(tmp_path: Path, answer: dict[str, Any]) -> None:
    uri = flags.flag_label((NOTE, answer), "Cardiology", " typical angina ", "rita")
    (path,) = (tmp_path / "flagged/specialty/0123456789abcdef").iterdir()
    assert uri == path.as_uri() and path.suffix == ".json"
    record = json.loads(path.read_text())
    assert record.pop("time").endswith("+00:00")
    assert record == {
        "reviewer": "rita",
        "note_id": note_id(NOTE),
        "note": NOTE,
        "answer": answer,
        "correction": "Cardiology",
        "comment": "typical angina",
    }


def test_none_of_the_labels_and_no_comment_are_stored_as_null(tmp_path: Path, answer: dict[str, Any]) -> None:
    flags.flag_label((NOTE, answer), flags.NONE_OF_THESE, "  ", None)
    flags.flag_label((NOTE, answer), flags.NONE_OF_THESE, "", None)
    paths = list((tmp_path / "flagged/specialty/0123456789abcdef").iterdir())
    assert len(paths) == 2, "two flags within a second are two objects"
    for path in paths:
        record = json.loads(path.read_text())
        assert [record[key] for key in ("correction", "comment", "reviewer")] == [None, None, None]


def test_a_flag_needs_an_answer_and_a_correction(tmp_path: Path, answer: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="submit a note first"):
        flags.flag_label(None, "Cardiology", "", None)
    with pytest.raises(UserError, match="choose what it should be"):
        flags.flag_label((NOTE, answer), None, "", None)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def instructed(answer: dict[str, Any]) -> dict[str, Any]:
    remarks = {"complete": True, "trimmed_tokens": 0, "unsupported": ["40 mg"]}
    return {"instruction": "Which dose?", "answer": "40 mg.", **remarks, "adapter": answer["adapter"]}


def test_a_flag_of_an_instruction_says_what_is_wrong(tmp_path: Path, instructed: dict[str, Any]) -> None:
    uri = flags.flag_answer((NOTE, instructed), "invented", " The note gives no dose. ", " ", "rita")
    (path,) = (tmp_path / "flagged/specialty/0123456789abcdef").iterdir()
    record = json.loads(path.read_text())
    assert uri == path.as_uri() and record.pop("time").endswith("+00:00")
    assert record == {
        "reviewer": "rita",
        "note_id": note_id(NOTE),
        "note": NOTE,
        "answer": {name: value for name, value in instructed.items() if name != "unsupported"},
        "fault": "invented",
        "correction": "The note gives no dose.",
        "comment": None,
        "as_written": True,
    }


def test_a_flag_of_an_instruction_needs_an_answer_and_a_fault(tmp_path: Path, instructed: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="submit a note first"):
        flags.flag_answer(None, "invented", "", "", None)
    with pytest.raises(UserError, match="choose what is wrong"):
        flags.flag_answer((NOTE, instructed), None, "It says nothing.", "", None)
    with pytest.raises(UserError, match="the correction is the answer itself"):
        flags.flag_answer((NOTE, instructed), "wrong", f" {instructed['answer']} ", "", None)
    assert not list(tmp_path.iterdir())


def test_what_identifies_the_patient_is_not_stored(tmp_path: Path, instructed: dict[str, Any]) -> None:
    note = "Ms. Velnadal, MRN: E99431010, takes 40 mg."
    instructed |= {"answer": "Velnadal takes 40 mg."}
    instructed |= {"unsupported": ["Velnadal"], "claims": [{"claim": "40 mg", "evidence": "Velnadal, MRN: E99431010"}]}
    flags.flag_answer((note, instructed), "wrong", "velnadal takes 20 mg", "Ask Dr. Okonjo.", "rita")
    (path,) = (tmp_path / "flagged/specialty/0123456789abcdef").iterdir()
    record = json.loads(path.read_text())
    assert record["note"] == "Ms. [NAME], MRN: [MRN], takes 40 mg." and record["note_id"] == note_id(note)
    assert record["answer"]["answer"] == "[NAME] takes 40 mg." and record["correction"] == "[NAME] takes 20 mg"
    assert record["comment"] == "Ask Dr. [NAME]." and record["as_written"] is False
    assert "elnadal" not in path.read_text() and "99431010" not in path.read_text()


def test_a_note_that_takes_too_long_to_screen_is_not_stored(
    tmp_path: Path, answer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(written_texts, "_screener", lambda direct_only: Screener(Phi(seconds_per_note=1e-6)))
    with pytest.raises(UserError, match="a text took too long to screen: shorten it"):
        flags.flag_label((NOTE, answer), "Cardiology", "", "rita")
    assert not list(tmp_path.iterdir())
