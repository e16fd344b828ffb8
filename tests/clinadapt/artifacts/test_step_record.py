"""The record of a step: state, error and exit status, in the store and in a local folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clinadapt.artifacts.run_summary import _markdown, read_records, summarise
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
    assert (summary["state"], summary["failed_step"]) == ("failed", "format")


def test_a_step_is_on_record_from_its_start(tmp_path: Path, records: Path) -> None:
    """So that one whose pod is lost without a word is the one that did not end."""

    def body() -> None:
        record = json.loads((tmp_path / "store/runs/a-run/format.json").read_bytes())
        assert record["state"] == "running" and "duration_seconds" not in record
        summary = summarise("a-run", "RUNNING", read_records(records), "file:///store")
        assert (summary["state"], summary["failed_step"]) == ("failed", "format")
        assert "its pod was lost" in summary["error"] and "format | running | " in _markdown(summary)

    assert run_step(tmp_path / "store", body) is None


@pytest.mark.parametrize(
    ("steps", "reasons", "failed", "error"),
    [
        (["preflight", "lost"], {"download": "Usage of EmptyDir volume exceeds the limit"}, "download",
         "download: Usage of EmptyDir volume exceeds the limit"),
        (["preflight"], {"download": "ErrImagePull"}, "download", "download: ErrImagePull"),  # it never started
        (["preflight", "download"], {"download": "Error (exit code 64): failed to put file"}, "download",
         "download: Error (exit code 64): failed to put file"),
        (["preflight", "failed"], {"download": "Error (exit code 1)"}, "download", "download: no rows"),
        (["preflight"], {"summarise": "a race"}, None, "no step started after preflight"),
    ],
)  # fmt: skip
def test_what_the_cluster_says_stands_where_a_record_cannot_know(
    steps: list[str], reasons: dict[Any, str], failed: str | None, error: str
) -> None:
    states = {"lost": record("running"), "failed": {**record("failed"), "error": "no rows"}}
    records: dict[Any, Any] = {"download" if step in states else step: states.get(step, record()) for step in steps}
    summary = summarise("a-run", "RUNNING", records, "file:///store", reasons)
    assert (summary["state"], summary["failed_step"], summary["error"]) == ("failed", failed, error)


def test_a_version_is_published_though_its_log_was_not_archived() -> None:
    reasons: dict[Any, str] = {"publish": "Error (exit code 64): failed to put file"}
    assert summarise("a-run", "RUNNING", {"publish": record()}, "file:///store", reasons)["state"] == "published"


DONE = {"state": "done", "exit_status": 0, "duration_seconds": 1.0, "outputs": {}}


def record(state: str = "done", **outputs: Any) -> dict[str, Any]:
    return {**DONE, "state": state, "outputs": outputs}


@pytest.mark.parametrize(
    ("reported", "steps", "state", "error"),
    [
        # What Kubeflow Pipelines reports to the exit handler, and what the records say
        ("COMPLETE", {"lookup": record(decision="new"), "gate": record(decision="pass"), "publish": record()},
         "published", None),
        ("COMPLETE", {"gate": record(decision="pass"),
                      "publish": {**DONE, "outputs": {"state": "awaiting approval", "uri": "s3://x/adapters/answers/1"}}},
         "awaiting approval", None),
        ("COMPLETE", {"lookup": record(decision="new"), "gate": record(decision="fail")}, "refused", None),
        ("RUNNING", {"lookup": record(decision="known")}, "nothing new", None),
        ("RUNNING", {"lookup": record(decision="new"), "train": record("running")}, "failed", "train: its pod was"),
        ("FAILED", {"lookup": record(decision="new"), "train": record("interrupted")}, "failed",
         "train: its pod was stopped"),
        ("FAILED", {"preflight": record(), "download": {**record("failed"), "error": "no rows"}}, "failed",
         "download: no rows"),
        ("FAILED", {"preflight": record(), "lookup": record(decision="new")}, "failed", "no step started after lookup"),
        ("FAILED", {}, "failed", "no step started"),
        ("CANCELLED", {"preflight": record(), "train": record("interrupted")}, "stopped", "train: its pod was stopped"),
        ("SUCCEEDED", {"gate": record(decision="pass"), "publish": record("running")}, "failed", "publish: its pod"),
    ],
)  # fmt: skip
def test_the_summary_says_what_came_of_the_run(
    reported: str, steps: dict[Any, Any], state: str, error: str | None
) -> None:
    summary = summarise("a-run", reported, {**steps, "summarise": record("running")}, "file:///store")
    assert summary["state"] == state and "summarise" not in summary["steps"]
    approve = "clinadapt registry approve answers/1 --reason ... --store file:///store"
    assert summary["approve"] == (approve if state == "awaiting approval" else None)
    assert summary["error"] is None if error is None else summary["error"].startswith(error)
