"""What a pod of a run learns from Kubeflow Pipelines about its own run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_kfp import FakeKfp, Task, show
from fake_server import Error, serve

from clinadapt.artifacts.step_record import RUN
from clinadapt.kubernetes import workflow
from clinadapt.kubernetes.workflow import own_run
from clinadapt.storage import open_store
from components.publish.component import summarise

EVICTED = 'Usage of EmptyDir volume "scratch" exceeds the limit "9Gi". '
LOST = [Task("preflight-classify"), Task("lookup"), Task("train-classify", "FAILED", "Failed", EVICTED)]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKfp]:
    made = FakeKfp()
    with serve(made) as address:
        monkeypatch.setattr(workflow, "API", address)
        yield made


@pytest.fixture
def run(fake: FakeKfp, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    made = fake.add("runs", display_name="a run", state="RUNNING")
    monkeypatch.setenv(workflow.RUN_ID, made["run_id"])
    return made


def test_the_reason_of_a_step_that_failed(fake: FakeKfp, run: dict[str, Any]) -> None:
    show(fake, run, *LOST)
    assert own_run() == (False, {"train": EVICTED.strip()})


def test_an_attempt_that_failed_before_one_that_did_not_is_no_reason(fake: FakeKfp, run: dict[str, Any]) -> None:
    show(fake, run, Task("train-classify", attempts=3))
    assert own_run() == (False, {})


def test_a_run_that_somebody_ended(fake: FakeKfp, run: dict[str, Any]) -> None:
    fake.terminated(run)
    assert own_run() == (True, {})


@pytest.mark.parametrize("trouble", ["401", "503", "html", "no such run", "no id", "no server"])
def test_an_api_that_does_not_answer_is_no_failure(
    fake: FakeKfp, run: dict[str, Any], monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """As in a multi-user Kubeflow, where a pod needs a token of another audience."""
    show(fake, run, *LOST)
    if trouble.isdigit():
        fake.before = lambda method, path: (_ for _ in ()).throw(Error(int(trouble), "so it is"))
    fake.html = trouble == "html"
    if trouble == "no such run":
        monkeypatch.setenv(workflow.RUN_ID, "another")
    if trouble == "no id":
        monkeypatch.setenv(workflow.RUN_ID, "")
    if trouble == "no server":
        monkeypatch.setattr(workflow, "API", "http://127.0.0.1:9")
    assert own_run() == (False, {})


@pytest.mark.parametrize("ended", [False, True])
def test_the_summary_of_a_run_has_it(
    fake: FakeKfp, run: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    """The exit handler is told RUNNING in one case and FAILED in the other."""
    show(fake, run, *LOST)
    if ended:
        fake.terminated(run)
    store, summary = open_store((tmp_path / "store").as_uri()), SimpleNamespace(path=str(tmp_path / "summary.md"))
    monkeypatch.setenv(RUN, "run-1")
    for step, state in (("lookup", "done"), ("train", "interrupted" if ended else "running")):
        store.put(f"runs/run-1/{step}.json", json.dumps({"state": state, "outputs": {}}).encode())
    status = SimpleNamespace(state="FAILED" if ended else "RUNNING")
    summarise.python_func(store=store.uri, status=status, summary=summary)
    written = json.loads(store.get("runs/run-1/summary.json")[0])
    assert (written["state"], written["failed_step"]) == ("stopped" if ended else "failed", "train")
    expected = "train: its pod was stopped" if ended else f"train: {EVICTED.strip()}"
    assert written["error"].startswith(expected) and expected in Path(summary.path).read_text()
