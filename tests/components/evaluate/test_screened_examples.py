"""Example answers that people are shown: without what names somebody directly, where notes were screened."""

from pathlib import Path

import pytest

from clinadapt.artifacts.hashing import write_json
from clinadapt.config.phi import Phi
from clinadapt.privacy import written_texts
from clinadapt.privacy.screening import Screener
from components.evaluate.gate.step import screened_examples

EXAMPLE = {
    "task": "Question Answering",
    "answerable": True,
    "note": "Mr. Martell fell on 3/5/2009.",
    "instruction": "Who fell?",
    "reference": "Mr. Martell",
    "claims": [{"start": 8, "end": 24, "outcome": "contradicted", "evidence": [12, 28]}],
    "answers": {"base": "E99431010 did: MRN: E99431010.", "candidate": "martell fell on 3/5/2009"},
}


def test_examples_of_screened_notes_name_nobody(tmp_path: Path) -> None:
    write_json(tmp_path / "examples.json", [EXAMPLE])
    (shown,) = screened_examples(tmp_path, {"policy": "redact", "rows": 7})
    assert shown["note"] == "Mr. [NAME] fell on 3/5/2009." and shown["reference"] == "Mr. [NAME]"
    assert shown["answers"] == {"base": "[OTHERID] did: MRN: [OTHERID].", "candidate": "[NAME] fell on 3/5/2009"}
    (claim,) = shown["claims"]
    assert shown["answers"]["candidate"][claim["start"] : claim["end"]] == "fell on 3/5/2009"
    assert shown["note"][slice(*claim["evidence"])] == "fell on 3/5/2009"
    assert shown["instruction"] == "Who fell?" and shown["task"] == EXAMPLE["task"]


def test_an_example_that_takes_too_long_to_screen_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written_texts, "_screener", lambda direct_only: Screener(Phi(seconds_per_note=1e-6)))
    write_json(tmp_path / "examples.json", [EXAMPLE])
    assert screened_examples(tmp_path, {"policy": "redact", "rows": 7}) == []


def test_built_in_notes_are_shown_as_they_are(tmp_path: Path) -> None:
    write_json(tmp_path / "examples.json", [EXAMPLE])
    assert screened_examples(tmp_path, {"policy": "redact", "rows": 0}) == [EXAMPLE]
    assert screened_examples(tmp_path / "nothing", {}) == []
