"""The record of a step: state, error and exit status, in the store and in a local folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clinadapt.artifacts.run_summary import read_records, summarise
from clinadapt.artifacts.step_record import RECORDS, RUN, step
from clinadapt.errors import UserError


def fail(error: BaseException) -> Callable[[], None]:
    def body() -> None:
        raise error

    return body


def run_step(store: Path, body: Callable[[], None]) -> BaseException | None:
    try:
        with step("format", store.as_uri()) as outputs:
            outputs["rows"] = 3
            body()
    except BaseException as error:
        return error
    return None


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for local records."""
    folder = tmp_path / "records"
    folder.mkdir()
    monkeypatch.setenv(RECORDS, str(folder))
    monkeypatch.setenv(RUN, "a-run")
    return folder


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (lambda: None, {"state": "done", "exit_status": 0}),
        (fail(UserError("rows: fix them")), {"state": "failed", "exit_status": 2, "error": "rows: fix them"}),
        (fail(KeyboardInterrupt()), {"state": "interrupted", "exit_status": 75}),
        (fail(OSError(28, "No space left on device")), {"state": "failed", "exit_status": 2}),
        (fail(ZeroDivisionError("a secret")), {"state": "failed", "exit_status": 1}),
    ],
)
def test_the_record_says_how_a_step_ended(
    body: Callable[[], None], expected: dict[str, Any], tmp_path: Path, records: Path
) -> None:
    error = run_step(tmp_path / "store", body)
    assert getattr(error, "code", 0 if error is None else 1) == expected["exit_status"]
    record = json.loads((tmp_path / "store/runs/a-run/format.json").read_bytes())
    assert expected.items() <= record.items() and record["outputs"] == {"rows": 3}
    assert ("error" in record) == (record["state"] == "failed") and "secret" not in json.dumps(record)
    assert read_records(records) == {"format": record}
    assert 2**20 < record["peak_memory_bytes"] < 2**34


def test_a_step_that_cannot_reach_the_store_leaves_its_record_in_the_folder(tmp_path: Path, records: Path) -> None:
    (tmp_path / "store").write_text("a file, not a folder")
    assert isinstance(run_step(tmp_path / "store", fail(UserError("the store cannot be reached"))), SystemExit)
    summary = summarise("a-run", "FAILED", read_records(records), "file:///store")
    assert summary["error"] == "format: the store cannot be reached"
    assert summary["steps"]["format"]["exit_status"] == 2
