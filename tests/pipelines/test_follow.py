"""A run followed, shown, read and stopped, against a server that shows runs as Kubeflow Pipelines 2.17 and Argo do."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from fake_kfp import FakeKfp, Task, pod, show
from fake_server import Error
from support import Clinadapt

from pipelines import follow as following
from pipelines.follow import follow
from pipelines.kfp_api import Remote
from pipelines.recurring_runs import DESCRIPTION
from pipelines.submit import EXPERIMENT

UNSCHEDULABLE = "Unschedulable: 0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available"
EVICTED = 'Usage of EmptyDir volume "scratch" exceeds the limit "9Gi". '
EXITED = "Error (exit code 1): failed to execute component: exit status 2"
DONE = [Task("preflight-classify"), Task("download-classify"), Task("format-classify"), Task("lookup")]
NEW = [*DONE, Task("train-classify"), Task("evaluate-classify"), Task("gate")]


@pytest.fixture
def run(fake: FakeKfp) -> dict[str, Any]:
    experiment = fake.add("experiments", display_name=EXPERIMENT)
    return fake.add("runs", display_name="a run", state="PENDING", experiment_id=experiment["experiment_id"])


@pytest.mark.parametrize(
    ("state", "tasks", "status", "last"),
    [
        ("SUCCEEDED", [*NEW, Task("publish")], 0, "published"),
        (
            "SUCCEEDED",
            [*NEW, Task("publish-for-approval")],
            0,
            "published, and waits for people to approve it: see clinadapt registry list",
        ),
        ("SUCCEEDED", [*NEW, Task("publish", "SKIPPED", None)], 3, "refused by the gate: see its report"),
        ("SUCCEEDED", NEW, 3, "refused by the gate: see its report"),
        ("SUCCEEDED", DONE, 0, "nothing new: the registry already has this version"),
    ],
)
def test_an_outcome_is_one_sentence(
    fake: FakeKfp, remote: Remote, run: Any, capsys: Any, state: str, tasks: list[Task], status: int, last: str
) -> None:
    show(fake, run, *tasks, state=state)
    assert follow(remote, run["run_id"], interval=0) == status
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == f"a run: {last}" and len(lines) == len(tasks) + 1
    assert lines[0].split() == ["preflight-classify", "done", "65", "s"]


def test_a_check_of_the_monitor_is_no_training(fake: FakeKfp, remote: Remote, run: Any, capsys: Any) -> None:
    show(fake, run, Task("monitor"), Task("start-run"), state="SUCCEEDED")
    assert follow(remote, run["run_id"], interval=0) == 0
    shown = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in shown[:2]] == ["monitor", "start-run"]
    assert shown[2:] == ["a run: checked: its report says whether use has moved away from the evaluation"]


CUT = [Task("evaluate-classify", None), Task("gate", None)]
SCREENS: dict[str, tuple[list[tuple[list[Task], str]], int, str]] = {
    "waiting": (
        [([*DONE, Task("train-classify", "RUNNING", "Pending", UNSCHEDULABLE)], "RUNNING"),
         ([*NEW, Task("publish")], "SUCCEEDED")],
        0,
        f"""\
train-classify       waiting: {UNSCHEDULABLE}
train-classify       done N s
evaluate-classify    done N s
gate                 done N s
publish              done N s
a run: published
""",
    ),
    "evicted": (
        [([*DONE, Task("train-classify", "FAILED", "Failed", EVICTED), *CUT], "FAILED")],
        1,
        f"""\
train-classify       failed N s
evaluate-classify    left out
gate                 left out
    clinadapt | train | step 28 of 264
a run: failed; train-classify failed: {EVICTED.strip()}
""",
    ),
    "failed": (
        [([*DONE, Task("train-classify", "FAILED", "Failed", EXITED), *CUT], "FAILED")],
        1,
        f"""\
train-classify       failed N s
evaluate-classify    left out
gate                 left out
    clinadapt | train | step 28 of 264
a run: failed; train-classify failed: {EXITED}
""",
    ),
    "refused": (
        [(NEW, "SUCCEEDED")],
        3,
        """\
train-classify       done N s
evaluate-classify    done N s
gate                 done N s
a run: refused by the gate: see its report
""",
    ),
    "nothing new": ([(DONE, "SUCCEEDED")], 0, "a run: nothing new: the registry already has this version\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", SCREENS)
def test_the_whole_screen(
    fake: FakeKfp, remote: Remote, run: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Everything that --follow prints, from the first step to the outcome."""
    monkeypatch.setattr(following, "WAIT_SECONDS", 0)
    looks, status, screen = SCREENS[name]
    fake.logs[run["run_id"], pod("train-classify", 0)] = "clinadapt | train | step 28 of 264\n"
    left = iter(looks)

    def before(method: str, path: str) -> None:
        if "/v2beta1/runs/" in path:
            tasks, state = next(left)
            show(fake, run, *tasks, state=state)

    fake.before = before
    assert follow(remote, run["run_id"], interval=0) == status
    begun = "".join(f"{step.name:20} done N s\n" for step in DONE)
    assert re.sub(r"\b\d+ s$", "N s", capsys.readouterr().err, flags=re.MULTILINE) == begun + screen


def test_each_change_is_a_line(fake: FakeKfp, remote: Remote, run: Any, capsys: Any) -> None:
    """One for a task, none for its attempts, its driver and the groups; what runs has a time that runs."""
    steps = iter([
        ([], "PENDING"),
        ([Task("preflight-classify", "RUNNING", "Running", seconds=7)], "RUNNING"),
        ([Task("preflight-classify", "RUNNING", "Running", seconds=9)], "RUNNING"),
        (NEW, "SUCCEEDED"),
    ])  # fmt: skip
    fake.before = lambda method, path: show(fake, run, *(now := next(steps))[0], state=now[1])
    assert follow(remote, run["run_id"], interval=0) == 3
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].split() in (["preflight-classify", "running", f"{n}", "s"] for n in (7, 8))
    assert lines[1].split() == ["preflight-classify", "done", "65", "s"] and len(lines) == 2 + len(NEW)


def test_a_step_that_waits_says_why(
    fake: FakeKfp, remote: Remote, run: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API calls a task running while no node has room for its pod; Argo's node has the reason."""
    monkeypatch.setattr(following, "WAIT_SECONDS", 0)
    waiting = Task("train-classify", "RUNNING", "Pending", UNSCHEDULABLE)
    shown = iter([[*DONE, waiting], [*DONE, Task("train-classify", "RUNNING", "Running")], NEW])

    def before(method: str, path: str) -> None:
        if "/v2beta1/runs/" in path:
            tasks = next(shown)
            show(fake, run, *tasks, state="SUCCEEDED" if tasks is NEW else "RUNNING")

    fake.before = before
    follow(remote, run["run_id"], interval=0)
    train = [line for line in capsys.readouterr().err.splitlines() if line.startswith("train")]
    assert train[0] == f"train-classify       waiting: {UNSCHEDULABLE}"
    assert [line.split()[1] for line in train] == ["waiting:", "running", "done"]
    assert all(line.split()[-1] == "s" for line in train[1:]), "once it runs, a time and no reason"


def test_an_attempt_that_waits_after_one_that_ran_says_why(
    fake: FakeKfp, remote: Remote, run: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pod that was lost is retried, and may find no node."""
    monkeypatch.setattr(following, "WAIT_SECONDS", 0.001)
    again = Task("train-classify", "RUNNING", "Pending", UNSCHEDULABLE, attempts=2)
    shown = iter([[*DONE, Task("train-classify", "RUNNING", "Running")]] * 2 + [[*DONE, again]] * 2 + [NEW])

    def before(method: str, path: str) -> None:
        if "/v2beta1/runs/" in path:
            tasks = next(shown)
            show(fake, run, *tasks, state="SUCCEEDED" if tasks is NEW else "RUNNING")

    fake.before = before
    follow(remote, run["run_id"], interval=0.01)
    train = [line for line in capsys.readouterr().err.splitlines() if line.startswith("train")]
    assert [line.split()[1] for line in train] == ["running", "waiting:", "done"]
    assert train[1] == f"train-classify       waiting: {UNSCHEDULABLE}"


def test_the_reason_is_not_asked_for_at_once(fake: FakeKfp, remote: Remote, run: Any) -> None:
    shown = iter([[Task("preflight-classify", "RUNNING", "Pending", "ContainerCreating")], NEW])
    fake.before = lambda method, path: show(
        fake, run, *(now := next(shown)), state="SUCCEEDED" if now is NEW else "RUNNING"
    )
    follow(remote, run["run_id"], interval=0)
    assert not [path for _, path in fake.requests if "v1beta1" in path]


def test_a_driver_that_waits_is_its_step_that_waits(
    fake: FakeKfp, remote: Remote, run: Any, clinadapt: Clinadapt, endpoint: str
) -> None:
    """Before its driver has run, a step has no task of its own."""
    show(fake, run, *DONE)
    driver = {"id": "run-1-9", "displayName": "train-classify-driver", "type": "Pod", "phase": "Pending",
              "templateName": "system-container-driver", "message": UNSCHEDULABLE}  # fmt: skip
    fake.workflows[run["run_id"]]["status"]["nodes"]["run-1-9"] = driver
    run["run_details"]["task_details"].append(
        {"task_id": "d", "display_name": "train-classify-driver", "state": "RUNNING"}
    )
    done = clinadapt("runs", "show", run["run_id"], "--endpoint", endpoint)
    assert done.returncode == 0, done.stderr
    assert f"train-classify       waiting: {UNSCHEDULABLE}" in done.stdout


@pytest.mark.parametrize(
    ("message", "attempts"),
    [(EVICTED, 1), (EXITED, 1), ("pod deleted", 3)],
)
def test_a_failed_run_says_why_and_shows_the_log(
    fake: FakeKfp, remote: Remote, run: Any, capsys: Any, message: str, attempts: int
) -> None:
    """Argo's message of the last attempt, the last 20 lines of its log, and what the failure left out."""
    failed = Task("train-classify", "FAILED", "Failed", message, attempts)
    show(fake, run, *DONE, failed, Task("evaluate-classify", None), Task("gate", None), state="FAILED")
    text = "".join(f"clinadapt | train | step {n}\n" for n in range(1, 31))
    fake.logs[run["run_id"], pod("train-classify", attempts - 1)] = text
    assert follow(remote, run["run_id"], interval=0) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == f"a run: failed; train-classify failed: {message.strip()}"
    assert [line.strip() for line in lines[-21:-1]] == [f"clinadapt | train | step {n}" for n in range(11, 31)]
    assert "evaluate-classify    left out" in lines and "gate                 left out" in lines


def test_a_failed_run_without_log_or_workflow(fake: FakeKfp, remote: Remote, run: Any, capsys: Any) -> None:
    """Both may be gone, as after their time to live."""
    show(fake, run, *DONE, Task("train-classify", "FAILED", "Failed", "x"), state="FAILED")
    assert follow(remote, run["run_id"], interval=0) == 1
    assert capsys.readouterr().err.endswith("a run: failed; train-classify failed: x\n")
    fake.workflows.clear()
    assert follow(remote, run["run_id"], interval=0) == 1
    assert capsys.readouterr().err.endswith("a run: failed; train-classify failed\n")


def test_a_run_that_somebody_ends_is_stopped(
    fake: FakeKfp, remote: Remote, run: Any, capsys: Any, clinadapt: Clinadapt, endpoint: str
) -> None:
    """Kubeflow Pipelines calls it FAILED."""
    show(fake, run, *DONE, Task("train-classify", "RUNNING", "Running"))
    done = clinadapt("runs", "stop", "a run", "--endpoint", endpoint)
    assert done.returncode == 0 and done.stderr == "stopping a run\n" and run["state"] == "FAILED"
    assert follow(remote, run["run_id"], interval=0) == 1
    assert capsys.readouterr().err.endswith("a run: stopped by somebody; clinadapt submit starts it again\n")
    again = clinadapt("runs", "stop", run["run_id"], "--endpoint", endpoint)
    assert again.returncode == 2 and "has ended already: failed" in again.stderr


def test_a_server_that_is_away_for_a_while(fake: FakeKfp, remote: Remote, run: Any, capsys: Any) -> None:
    show(fake, run, *NEW, state="SUCCEEDED")
    failures = iter([True, True])

    def before(method: str, path: str) -> None:
        if next(failures, False):
            raise Error(404 if "v1beta1" in path else 408, "away")

    fake.before = before
    assert follow(remote, run["run_id"], interval=0) == 3
    shown = capsys.readouterr().err
    assert shown.count("the run continues, retrying") == 1 and "connected again" in shown


def test_following_on_a_terminal(
    fake: FakeKfp, remote: Remote, run: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    show(fake, run, *NEW, Task("publish"), state="SUCCEEDED")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert follow(remote, run["run_id"]) == 0
    shown = capsys.readouterr().err
    assert "publish" in shown and "\x1b[" in shown and "driver" not in shown and "(0)" not in shown


def test_the_list_and_the_log(fake: FakeKfp, run: Any, clinadapt: Clinadapt, endpoint: str) -> None:
    """Outcomes in our words, a scheduled run by its schedule, the log of one step."""
    show(fake, run, *NEW, state="SUCCEEDED")
    schedule = fake.add("recurringruns", display_name="weekly", experiment_id=run["experiment_id"],
                        description=DESCRIPTION)  # fmt: skip
    theirs = fake.add("runs", display_name="oftenmw569-1-3042731437", state="PENDING",
                      experiment_id=run["experiment_id"], recurring_run_id=schedule["recurring_run_id"])  # fmt: skip
    show(fake, theirs, *DONE, Task("train-classify", "RUNNING", "Running"))
    done = clinadapt("runs", "list", "--endpoint", endpoint, "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(row["state"], row["name"].partition(",")[0]) for row in rows] == [
        ("running", "weekly"), ("refused", "a run")]  # fmt: skip
    fake.logs[run["run_id"], pod("train-classify")] = "one\ntwo\nthree\n"
    done = clinadapt("runs", "logs", run["run_id"], "train", "--lines", "2", "--endpoint", endpoint)
    assert (done.returncode, done.stdout) == (0, "two\nthree\n")
    done = clinadapt("runs", "logs", run["run_id"], "gate", "--endpoint", endpoint)
    assert done.returncode == 2 and "gate has no log" in done.stderr
    done = clinadapt("runs", "logs", run["run_id"], "pretrain", "--endpoint", endpoint)
    assert done.returncode == 2 and "has no step 'pretrain'" in done.stderr
    done = clinadapt("runs", "show", "no such run", "--endpoint", endpoint)
    assert done.returncode == 2 and "run 'no such run' not found" in done.stderr
