"""`clinadapt phi`: counts and shares, never the text."""

import json
from pathlib import Path

import pytest
from planted_notes import planted_notes
from typer.testing import CliRunner

from clinadapt.errors import UserError
from pipelines.cli.main import app


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(note) + "\n" for note in planted_notes(10, seed=5)))
    return path


def test_scan_counts_and_shows_no_text(labelled: Path, tmp_path: Path) -> None:
    spans = tmp_path / "spans.jsonl"
    spans.touch(0o644)  # of an earlier time
    command = ["phi", "scan", str(labelled), "--text-column", "text", "--spans", str(spans), "--json"]
    done = CliRunner().invoke(app, command)
    result = json.loads(done.stdout)
    assert result["rows"] == result["rows_with_identifiers"] == 10 and result["identifiers"]["NAME"] > 20
    lines = [json.loads(line) for line in spans.read_text().splitlines()]
    assert len(lines) == sum(result["identifiers"].values()) and spans.stat().st_mode & 0o777 == 0o600
    assert all(line.keys() == {"row", "start", "end", "type"} for line in lines)
    for note in planted_notes(10, seed=5):
        for span in note["spans"]:
            if span["type"] == "NAME":
                assert note["text"][span["start"] : span["end"]] not in done.output


def test_measure_prints_shares_with_intervals(labelled: Path) -> None:
    done = CliRunner().invoke(app, ["phi", "measure", "--labelled", str(labelled), "--json"])
    recall = json.loads(done.stdout)["recall"]
    assert recall["all"]["low"] < recall["all"]["value"] <= recall["all"]["high"] and recall["all"]["total"] > 80


def test_a_column_that_is_missing_is_named(labelled: Path) -> None:
    with pytest.raises(UserError, match="row 1 of own.jsonl has no text in 'transcription'"):
        CliRunner().invoke(app, ["phi", "scan", str(labelled)], catch_exceptions=False)
