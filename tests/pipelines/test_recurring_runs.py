"""Schedules against a server that speaks the API of Kubeflow Pipelines: what is declared, and what becomes of it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_kfp import FakeKfp, Task, show
from fake_server import Error
from support import ROOT, Clinadapt

from clinadapt.errors import UserError
from pipelines import recurring_runs as schedules
from pipelines.kfp_api import connect
from pipelines.named_settings import load_cluster, load_profile
from pipelines.recurring_runs import DESCRIPTION, Plan
from pipelines.submit import compiled, upload

WEEKLY = {
    "name": "weekly",
    "profile": "cpu-demo",
    "cron": "0 0 2 * * 0",
    "parameters": {"num_train_epochs": 3, "source": "s3://notes/all.parquet"},
}
STARTED = {"started_by": "schedule weekly"}
FORM = {**STARTED, **WEEKLY["parameters"]}
CLUSTER = load_cluster("default")


@pytest.fixture(autouse=True)
def no_sign_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLINADAPT_KFP_TOKEN", "CLINADAPT_KFP_COOKIE", "KUBERNETES_SERVICE_HOST", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True, scope="module")
def compiled_once() -> Iterator[None]:
    """Nothing here depends on compiling anew each time."""
    with pytest.MonkeyPatch.context() as patch:
        once = functools.cache(lambda name: compiled(load_profile(name), CLUSTER))
        patch.setattr(schedules, "compiled", lambda profile, cluster: once(profile.name))
        yield


@pytest.fixture
def plan(endpoint: str, tmp_path: Path) -> Callable[..., Plan]:
    """Plan the declared schedules anew."""

    def make(*declared: dict[str, Any], force: bool = False) -> Plan:
        folder = tmp_path / "schedules"
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():
            path.unlink()
        for number, schedule in enumerate(declared):
            (folder / f"{number}.yaml").write_text(yaml.safe_dump(schedule))
        return Plan(connect(endpoint, None), CLUSTER, schedules.load(folder, CLUSTER), force)

    return make


def actions(plan: Plan) -> dict[str, str]:
    return {change.name: change.action for change in plan.changes}


def running(fake: FakeKfp, recurring: dict[str, Any], state: str = "RUNNING") -> dict[str, Any]:
    return fake.add("runs", display_name="weekly-1", state=state, experiment_id=recurring["experiment_id"],
                    recurring_run_id=recurring["recurring_run_id"])  # fmt: skip


def test_created(fake: FakeKfp, plan: Callable[..., Plan]) -> None:
    first = plan(WEEKLY)
    assert actions(first) == {"weekly": "create"} and [p.name for p in first.outdated] == ["classify-cpu-demo"]
    assert fake.changed() == [], "a plan changes nothing"
    assert first.apply()
    (made,) = fake.objects["recurringruns"]
    (pipeline,) = fake.objects["pipelines"]
    (version,) = fake.objects["versions"]
    assert made["pipeline_version_reference"] == {
        "pipeline_id": pipeline["pipeline_id"], "pipeline_version_id": version["pipeline_version_id"]
    }, "a schedule holds a version"  # fmt: skip
    assert (made["display_name"], made["mode"], made["no_catchup"], made["max_concurrency"]) == (
        "weekly", "ENABLE", True, "1")  # fmt: skip
    assert made["trigger"] == {"cron_schedule": {"cron": "0 0 2 * * 0"}}
    assert made["runtime_config"] == {"parameters": FORM}
    assert "service_account" not in made
    assert made["plugins_input"] == {"mlflow": {"experiment_name": "clinadapt/demo-specialty"}}


def test_unchanged(fake: FakeKfp, plan: Callable[..., Plan]) -> None:
    plan(WEEKLY).apply()
    fake.requests.clear()
    again = plan(WEEKLY)
    assert actions(again) == {"weekly": "keep"} and again.outdated == []
    assert again.apply()
    assert fake.changed() == []
    (version,) = fake.objects["versions"]
    assert [line for change in again.changes for line in change.lines()] == [
        f"= weekly: unchanged, version {version['name']}"]  # fmt: skip


def test_changed_while_idle(fake: FakeKfp, plan: Callable[..., Plan]) -> None:
    plan(WEEKLY).apply()
    (before,) = fake.objects["recurringruns"]
    running(fake, before, "SUCCEEDED")
    changed = plan(WEEKLY | {"cron": "0 30 3 * * 0"})
    assert [line for change in changed.changes for line in change.lines()] == [
        "~ weekly: replace", "    cron: '0 0 2 * * 0' -> '0 30 3 * * 0'"]  # fmt: skip
    fake.requests.clear()
    assert changed.apply()
    (after,) = fake.objects["recurringruns"]
    assert after["trigger"] == {"cron_schedule": {"cron": "0 30 3 * * 0"}} and after["mode"] == "ENABLE"
    assert [(method, path.partition(":")[2]) for method, path in fake.changed()] == [
        ("POST", ""), ("POST", "disable"), ("DELETE", ""), ("POST", "enable")]  # fmt: skip


@pytest.mark.parametrize("state", ["RUNNING", "PENDING", "CANCELING", "PAUSED"])
def test_changed_while_running(fake: FakeKfp, plan: Callable[..., Plan], state: str) -> None:
    plan(WEEKLY).apply()
    (before,) = fake.objects["recurringruns"]
    for _ in range(5):  # over several pages
        running(fake, before, "SUCCEEDED")
    run = running(fake, before, state)
    for _ in range(5):
        running(fake, before | {"recurring_run_id": "another"}, "SUCCEEDED")
    fake.requests.clear()
    changed = plan(WEEKLY | {"max_concurrency": 2})
    assert next(changed.changes[0].lines()) == "! weekly: not changed: run weekly-1 is in progress"
    assert not changed.apply()
    assert fake.changed() == [] and fake.objects["recurringruns"] == [before]
    run["state"] = "SUCCEEDED"
    assert plan(WEEKLY | {"max_concurrency": 2}).apply()
    assert [made["max_concurrency"] for made in fake.objects["recurringruns"]] == ["2"]


@pytest.mark.parametrize("declared", [[WEEKLY | {"max_concurrency": 2}], []])
def test_a_run_that_begins_after_the_plan(
    fake: FakeKfp, plan: Callable[..., Plan], declared: list[dict[str, Any]]
) -> None:
    plan(WEEKLY).apply()
    (before,) = fake.objects["recurringruns"]
    late = plan(*declared)
    run = running(fake, before)
    assert not late.apply()
    assert before in fake.objects["recurringruns"] and before["mode"] == "ENABLE" and run["state"] == "RUNNING"
    run["state"] = "SUCCEEDED"
    assert plan(*declared).apply()
    assert [made["max_concurrency"] for made in fake.objects["recurringruns"]] == ["2"] * len(declared)


def test_forced_while_running(fake: FakeKfp, plan: Callable[..., Plan]) -> None:
    plan(WEEKLY).apply()
    run = running(fake, fake.objects["recurringruns"][0])
    assert plan(WEEKLY | {"max_concurrency": 2}, force=True).apply()
    assert run["state"] == "CANCELED" and len(fake.objects["recurringruns"]) == 1


def test_no_longer_declared(fake: FakeKfp, plan: Callable[..., Plan]) -> None:
    """Ours goes, unless its run is in progress; one that was made by hand stays."""
    plan(WEEKLY, WEEKLY | {"name": "nightly"}).apply()
    by_hand = fake.add("recurringruns", **{key: value for key, value in fake.objects["recurringruns"][0].items()
                       if key not in ("recurring_run_id", "created_at", "description")})  # fmt: skip
    run = running(fake, fake.objects["recurringruns"][0])
    left = plan()
    assert actions(left) == {"weekly": "wait", "nightly": "delete"}
    assert not left.apply()
    run["state"] = "FAILED"
    assert plan().apply()
    assert fake.objects["recurringruns"] == [by_hand]


def test_switched_off_and_on(fake: FakeKfp, plan: Callable[..., Plan]) -> None:
    """Without making it anew, even while it runs."""
    plan(WEEKLY).apply()
    (made,) = fake.objects["recurringruns"]
    running(fake, made)
    for enabled, mode in ((False, "DISABLE"), (True, "ENABLE")):
        assert plan(WEEKLY | {"enabled": enabled}).apply()
        assert made["mode"] == mode and fake.objects["recurringruns"] == [made]


@pytest.mark.parametrize("after", range(1, 6))
def test_interrupted_half_way(fake: FakeKfp, plan: Callable[..., Plan], after: int) -> None:
    """The connection is lost after so many changes of a first apply, and of a change; the next apply ends it."""
    for declared in (WEEKLY, WEEKLY | {"parameters": {"num_train_epochs": 9}}):
        left = after

        def before(method: str, path: str) -> None:
            nonlocal left
            left -= method != "GET"
            if left <= 0 and method != "GET":
                raise Error(503, "the connection is lost")

        fake.before = before
        try:
            plan(declared).apply()
        except UserError as error:
            assert "returned HTTP 503" in str(error)
        assert len(fake.objects["recurringruns"]) <= 2
        assert sum(made["mode"] == "ENABLE" for made in fake.objects["recurringruns"]) <= 1, "never two that fire"
        fake.before = lambda method, path: None
        assert plan(declared).apply()
        (made,) = fake.objects["recurringruns"]
        assert made["mode"] == "ENABLE" and made["runtime_config"]["parameters"] == {
            **STARTED,
            **declared["parameters"],
        }
        assert actions(plan(declared)) == {"weekly": "keep"}
    assert len(fake.objects["pipelines"]) == len(fake.objects["versions"]) == len(fake.objects["experiments"]) == 1


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("where", ["/recurringruns", ":enable", "upload_version"])
def test_two_at_once(fake: FakeKfp, plan: Callable[..., Plan], existing: bool, where: str) -> None:
    """Two applies that meet at the same request end with one schedule, enabled, as declared."""
    if existing:
        plan(WEEKLY | {"parameters": {}}).apply()
        if where == "upload_version":
            fake.objects["versions"].clear()
    barrier = threading.Barrier(2)

    def before(method: str, path: str) -> None:
        if method == "POST" and path.endswith(where):
            with contextlib.suppress(threading.BrokenBarrierError):
                barrier.wait(1)

    fake.before = before
    plans, failed = [plan(WEEKLY), plan(WEEKLY)], []

    def apply(mine: Plan) -> None:
        try:
            assert mine.apply()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=apply, args=(mine,)) for mine in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    (made,) = fake.objects["recurringruns"]
    assert made["mode"] == "ENABLE" and made["runtime_config"]["parameters"] == FORM
    assert len(fake.objects["versions"]) == len(fake.objects["pipelines"]) == len(fake.objects["experiments"]) == 1


def test_two_that_are_equal_become_one(fake: FakeKfp, plan: Callable[..., Plan]) -> None:
    plan(WEEKLY).apply()
    (first,) = fake.objects["recurringruns"]
    second = {key: value for key, value in first.items() if key not in ("recurring_run_id", "created_at")}
    fake.add("recurringruns", **second)
    assert plan(WEEKLY).apply()
    assert fake.objects["recurringruns"] == [first]


def test_a_trial_does_not_move_a_schedule(fake: FakeKfp, endpoint: str, plan: Callable[..., Plan]) -> None:
    """A submit with other settings makes the newest version; the schedule stays with its own, `apply` moves it."""
    plan(WEEKLY).apply()
    (made,) = fake.objects["recurringruns"]
    mine = compiled(load_profile("cpu-demo"), CLUSTER)
    trial = dataclasses.replace(mine, text=mine.text + "# a trial\n")
    upload(connect(endpoint, None), trial)
    assert [version["name"] for version in fake.objects["versions"]] == [mine.version, trial.version]
    assert schedules.status(connect(endpoint, None))[0][3] == mine.version
    fake.requests.clear()
    assert actions(plan(WEEKLY)) == {"weekly": "keep"} and plan(WEEKLY).apply() and fake.changed() == []
    moved = plan(WEEKLY)
    moved.pipelines["cpu-demo", "train"] = trial  # as if the profile had changed
    moved.changes = moved._changes()
    assert list(moved.changes[0].lines()) == [
        "~ weekly: replace", f"    version: '{mine.version}' -> '{trial.version}'"]  # fmt: skip
    assert moved.apply()
    (after,) = fake.objects["recurringruns"]
    assert after["recurring_run_id"] != made["recurring_run_id"]
    assert schedules.status(connect(endpoint, None))[0][3] == trial.version


def test_the_status_says_what_came_of_the_last_run(fake: FakeKfp, endpoint: str, plan: Callable[..., Plan]) -> None:
    """In the words of `runs list`: Kubeflow Pipelines calls a refused run SUCCEEDED, and one that was ended FAILED."""
    plan(WEEKLY).apply()
    run = running(fake, fake.objects["recurringruns"][0])
    show(fake, run, Task("lookup"), Task("gate"), state="SUCCEEDED")
    assert schedules.status(connect(endpoint, None))[0][5] == "refused"
    fake.terminated(run)
    assert schedules.status(connect(endpoint, None))[0][5] == "stopped"


@pytest.mark.parametrize(
    ("version", "shown"), [(None, "the newest"), ("gone", "deleted version")], ids=["without a version", "deleted"]
)
def test_a_schedule_that_holds_no_version_gets_one(
    fake: FakeKfp, plan: Callable[..., Plan], version: str | None, shown: str
) -> None:
    plan(WEEKLY).apply()
    (made,) = fake.objects["recurringruns"]
    reference = made["pipeline_version_reference"]
    reference["pipeline_version_id"] = version
    again = plan(WEEKLY)
    assert again.changes[0].diff == [f"version: '{shown}' -> '{fake.objects['versions'][0]['name']}'"]
    assert again.apply()
    (after,) = fake.objects["recurringruns"]
    assert (
        after["pipeline_version_reference"]["pipeline_version_id"] == fake.objects["versions"][0]["pipeline_version_id"]
    )


def test_pages(fake: FakeKfp, plan: Callable[..., Plan]) -> None:
    """More schedules than a page holds."""
    declared = [WEEKLY | {"name": f"schedule-{number}"} for number in range(7)]
    plan(*declared).apply()
    fake.requests.clear()
    assert set(actions(plan(*declared)).values()) == {"keep"}
    assert fake.requests.count(("GET", "/apis/v2beta1/recurringruns")) == 4


def test_several_users(fake: FakeKfp, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.multi_user = True
    with pytest.raises(UserError, match="give --namespace"):
        connect(endpoint, None)
    monkeypatch.setenv("CLINADAPT_KFP_TOKEN", "abc")
    declared = schedules.Schedule.model_validate(WEEKLY)
    plan = Plan(connect(endpoint, "nlp"), CLUSTER, [declared])
    assert plan.apply() and fake.headers["authorization"] == "Bearer abc"
    assert fake.objects["experiments"][0]["namespace"] == fake.objects["pipelines"][0]["namespace"] == "nlp"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"cron": "0 2 * * 0"}, "give six fields"),
        ({"cron": "0 0 25 * * 0"}, "hour '25' is not in 0 to 23"),
        ({"cron": "0 0 5-2 * * 0"}, "hour '5-2'"),
        ({"cron": "0 0 2 * FEVER 0"}, "month 'FEVER'"),
        ({"cron": "0 0 2 30 2 *"}, "'0 0 2 30 2 *' never comes"),
        ({"time_zone": "Mars/Olympus"}, "give a name of the IANA time zone database"),
        ({"time_zone": "Europe/Berlin"}, "CRON_SCHEDULE_TIMEZONE"),
        ({"max_concurrency": 11}, "max_concurrency"),
        ({"name": "Weekly run"}, "name: string should match"),
        ({"catchup": True}, "catchup: extra inputs"),
        ({"profile": "none"}, "profile 'none' not found"),
        ({"parameters": {"epoch": 3}}, "unknown parameter 'epoch'"),
        ({"parameters": {"num_train_epochs": "3"}}, "parameter num_train_epochs: give a value of type int"),
        ({"parameters": {"quantization": "nf8"}}, "use one of none, nf4"),
    ],
)
def test_what_is_wrong_is_named(plan: Callable[..., Plan], change: dict[str, Any], what: str) -> None:
    with pytest.raises(UserError) as error:
        plan(WEEKLY | change)
    assert what in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "cron", ["0 0 2 * * 0", "0 */15 8-18 ? JAN-MAR MON-FRI", "0 0,30 2 1,15 * *", "*/10 * * * * ?"]
)
def test_crons_that_are_right(cron: str) -> None:
    assert schedules.Schedule.model_validate(WEEKLY | {"cron": cron}).cron == cron


def test_the_schedules_that_come_along() -> None:
    assert schedules.load(ROOT / "pipelines/schedules", CLUSTER)


@pytest.mark.parametrize(
    ("status", "advice"),
    [(401, "sign in again"), (403, "ask for the role"), (404, "check the endpoint"), (500, "log of the deployment")],
)
def test_a_refusal_is_one_line(fake: FakeKfp, endpoint: str, clinadapt: Clinadapt, status: int, advice: str) -> None:
    def before(method: str, path: str) -> None:
        raise Error(status, "so it is\nand no other way")

    fake.before = before
    done = clinadapt("schedule", "status", "--endpoint", endpoint)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"error: {endpoint} returned HTTP {status} (so it is and no other way): ")
    assert done.stderr.count("\n") == 1
    assert advice in done.stderr


def test_a_server_that_is_down(clinadapt: Clinadapt) -> None:
    done = clinadapt("schedule", "status", "--endpoint", "http://127.0.0.1:9")
    assert done.returncode == 2
    assert done.stderr == (
        "error: http://127.0.0.1:9 cannot be reached (NewConnectionError): is it up, and is the address right?\n"
    )


def test_a_sign_in_page(fake: FakeKfp, endpoint: str) -> None:
    fake.html = True
    with pytest.raises(UserError, match="a web page instead of the API"):
        connect(endpoint, None)


def test_a_cookie_and_no_endpoint(fake: FakeKfp, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINADAPT_KFP_COOKIE", "authservice_session=abc")
    connect(endpoint, None)
    assert fake.headers["cookie"] == "authservice_session=abc" and "authorization" not in fake.headers
    with pytest.raises(UserError, match="give --endpoint"):
        connect(None, None)


def test_the_service_account_of_a_pod(
    fake: FakeKfp, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("of-the-pod\n")
    (tmp_path / "namespace").write_text("nlp")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr("pipelines.kfp_api.POD_NAMESPACE", str(tmp_path / "namespace"))
    monkeypatch.setattr("pipelines.kfp_api.IN_CLUSTER", endpoint)
    fake.multi_user = True
    assert connect(None, None).namespace == "nlp"
    assert fake.headers["authorization"] == "Bearer of-the-pod"
    connect(endpoint, None)
    assert "authorization" not in fake.headers, "which is nobody else's business"


def test_the_commands(fake: FakeKfp, endpoint: str, clinadapt: Clinadapt, tmp_path: Path) -> None:
    (tmp_path / "weekly.yaml").write_text(yaml.safe_dump(WEEKLY))
    where = ["--folder", tmp_path, "--endpoint", endpoint]
    done = clinadapt("schedule", "apply", *where)
    assert done.returncode == 0, done.stderr
    version = fake.objects["versions"][0]["name"]
    assert done.stdout.splitlines()[1:] == [f"+ weekly: create, version {version}"]
    assert done.stdout.startswith("+ pipeline classify-cpu-demo: new version ")
    running(fake, fake.objects["recurringruns"][0])
    done = clinadapt("schedule", "status", "--endpoint", endpoint)
    assert done.returncode == 0 and "weekly" in done.stdout and "running" in done.stdout
    assert version in done.stdout
    (tmp_path / "weekly.yaml").write_text(yaml.safe_dump(WEEKLY | {"cron": "0 0 3 * * 0"}))
    done = clinadapt("schedule", "apply", *where)
    assert done.returncode == 75 and "weekly-1 is in progress" in done.stdout
    assert fake.objects["recurringruns"][0]["description"] == DESCRIPTION
