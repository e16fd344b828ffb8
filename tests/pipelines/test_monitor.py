"""The monitor's pipeline: as compiled, its step, the step that starts a run, and its schedule."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from fake_kfp import FakeKfp
from simulated_use import publish_and_shift
from support import ROOT, instruct_profile
from typer.testing import CliRunner

from clinadapt.artifacts.step_record import RUN
from clinadapt.config.base import Monitoring
from clinadapt.errors import UserError
from clinadapt.registry.monitor import check
from clinadapt.storage import open_store
from clinadapt.storage.object_store import Store
from components.monitor.component import monitor
from pipelines import kfp_api
from pipelines import recurring_runs as schedules
from pipelines.cli import monitor as monitor_cli
from pipelines.cli.main import app
from pipelines.kfp_api import connect
from pipelines.monitor import compile_monitor
from pipelines.named_settings import load_cluster, load_profile, profile_names
from pipelines.start_run import start_run

CLUSTER = load_cluster("default")
STARTING = load_profile("cpu-demo").model_copy(update={"monitoring": Monitoring(start_run=True, days=30)})


@pytest.mark.parametrize("name", profile_names())
def test_it_is_the_file_that_is_kept(name: str, tmp_path: Path) -> None:
    file = compile_monitor(load_profile(name), CLUSTER, tmp_path)
    kept = ROOT / "pipelines/compiled" / file.name
    assert kept.is_file() and file.read_text() == kept.read_text(), f"{file.name} is out of date: run make compile"
    (pipeline, platform) = yaml.safe_load_all(file.read_text())
    assert list(pipeline["root"]["dag"]["tasks"]) == ["monitor"], "it starts nothing by itself"
    options = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-monitor"]
    assert options["podMetadata"]["labels"]["app.kubernetes.io/component"] == "monitor"


def test_a_run_is_started_only_where_the_profile_says_so(tmp_path: Path) -> None:
    (pipeline, _) = yaml.safe_load_all(compile_monitor(STARTING, CLUSTER, tmp_path).read_text())
    tasks = pipeline["root"]["dag"]["tasks"]
    condition = tasks["condition-1"]["triggerPolicy"]["condition"]
    assert "monitor-Output'] == 'start a run'" in condition
    assert tasks["monitor"]["inputs"]["parameters"]["start_run"]["runtimeValue"]["constant"] is True
    assert pipeline["root"]["inputDefinitions"]["parameters"]["days"]["defaultValue"] == 30


class Artifact(SimpleNamespace):
    """Of KFP: a path and what is logged."""

    def log_metric(self, name: str, value: float) -> None:
        self.logged[name] = value


def step(store: Store, folder: Path, start: bool) -> tuple[str, Artifact]:
    """Run the step; its output and its metrics."""
    metrics, report = (Artifact(path=str(folder / name), logged={}) for name in ("metrics", "report.html"))
    output = monitor.python_func(adapter="a", days=30, start_run=start, store=store.uri, report=report, metrics=metrics)
    return output, metrics


def test_the_step_tells_whether_a_run_is_to_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RUN, "watch-1")
    store = open_store((tmp_path / "store").as_uri())
    publish_and_shift(store, tmp_path)
    assert step(store, tmp_path, False)[0] == "moved"
    output, metrics = step(store, tmp_path, True)
    assert output == "start a run" and step(store, tmp_path, True)[0] == "moved", "once for an alarm"
    assert metrics.logged["answers"] == 1_700 and metrics.logged["moved"] == 1 and metrics.logged["psi_refusals"] > 0
    record = json.loads(store.get("runs/watch-1/monitor.json")[0])
    assert record["outputs"]["sentence"].startswith("Refusals rose from ") and record["state"] == "done"
    assert "Refusals rose from " in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_run_is_started_through_the_api(
    fake: FakeKfp, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kfp_api, "IN_CLUSTER", endpoint)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    profile = json.loads(json.dumps(STARTING.model_dump(exclude_none=True)))
    cluster = json.loads(json.dumps(CLUSTER.model_dump(exclude_none=True)))
    store = (tmp_path / "store").as_uri()
    run_id = start_run.python_func(profile=profile, cluster=cluster, adapter_name="specialty", store=store)
    (run,) = fake.objects["runs"]
    assert run["run_id"] == run_id and run["display_name"].startswith("specialty, cpu-demo, ")
    form = {"adapter_name": "specialty", "started_by": "monitor of specialty", "store": store}
    assert run["runtime_config"]["parameters"] == form
    assert [pipeline["display_name"] for pipeline in fake.objects["pipelines"]] == ["classify-cpu-demo"]


def test_a_run_that_cannot_be_started_is_started_by_the_next_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setattr(kfp_api, "connect", lambda *_: refused("not signed in"))
    store = open_store((tmp_path / "store").as_uri())
    publish_and_shift(store, tmp_path)
    assert step(store, tmp_path, True)[0] == "start a run"
    profile, cluster = STARTING.model_dump(exclude_none=True), CLUSTER.model_dump(exclude_none=True)
    with pytest.raises(SystemExit):
        start_run.python_func(profile=profile, cluster=cluster, adapter_name="a", store=store.uri)
    assert step(store, tmp_path, True)[0] == "start a run"


def refused(why: str) -> Any:
    raise UserError(why)


@pytest.mark.parametrize("days", [0, -1, 10**12])
def test_days_of_the_run_form_that_are_none_or_too_many(tmp_path: Path, days: int) -> None:
    store = open_store((tmp_path / "store").as_uri())
    publish_and_shift(store, tmp_path)
    with pytest.raises(UserError, match="days: read 1 to 3,650 days"):
        check(store, "a", print, days)


@pytest.mark.parametrize(("outcome", "status"), [(0, 4), (3, 4), (2, 2), (75, 75), (None, 1)])
def test_a_run_on_this_machine_is_started_again_where_it_came_to_no_verdict(
    outcome: int | None, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store((tmp_path / "store").as_uri())
    publish_and_shift(store, tmp_path)
    profile = tmp_path / "profile.yaml"
    profile.write_text(yaml.safe_dump(instruct_profile() | {"monitoring": {"start_run": True}}))
    monkeypatch.setattr(monitor_cli, "_start", lambda *_: refused("no space") if outcome is None else outcome)
    done = CliRunner().invoke(app, ["monitor", "a", "--store", store.uri, "--profile", str(profile)])
    assert done.exit_code == status and (outcome is not None or str(done.exception) == "no space")
    run = json.loads(store.get("monitoring/a/1/check.json")[0])["run"]
    assert bool(run and run["started"]) is (outcome in (0, 3))
    if outcome == 0:
        done = CliRunner().invoke(app, ["monitor", "a", "--store", store.uri, "--profile", str(profile)])
        assert done.exit_code == 4 and "one was, and the next one is once nothing has moved for 14 days" in done.stderr
    done = CliRunner().invoke(app, ["monitor", "a", "--store", store.uri, "--profile", "cpu-demo"])
    assert done.exit_code == 4, "a profile that starts nothing may be of another recipe"
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(STARTING.model_dump(mode="json", exclude_none=True)))
    done = CliRunner().invoke(app, ["monitor", "a", "--store", store.uri, "--profile", str(other)])
    assert "a is of the recipe instruct, and the profile cpu-demo is not" in str(done.exception)


def test_a_schedule_of_it(fake: FakeKfp, endpoint: str, tmp_path: Path) -> None:
    declared = yaml.safe_load((ROOT / "pipelines/schedules/daily-monitor.yaml").read_text())
    both = [declared | {"profile": "cpu-demo"}, {"name": "weekly", "profile": "cpu-demo", "cron": "0 0 2 * * 0"}]
    for number, schedule in enumerate(both):
        (tmp_path / f"{number}.yaml").write_text(yaml.safe_dump(schedule))
    plan = schedules.Plan(connect(endpoint, None), CLUSTER, schedules.load(tmp_path, CLUSTER))
    assert plan.apply()
    names = {pipeline["pipeline_id"]: pipeline["display_name"] for pipeline in fake.objects["pipelines"]}
    made = {
        each["display_name"]: names[each["pipeline_version_reference"]["pipeline_id"]]
        for each in fake.objects["recurringruns"]
    }
    assert made == {"daily-monitor": "monitor-cpu-demo", "weekly": "classify-cpu-demo"}
    again = schedules.Plan(connect(endpoint, None), CLUSTER, schedules.load(tmp_path, CLUSTER))
    assert {change.action for change in again.changes} == {"keep"}
