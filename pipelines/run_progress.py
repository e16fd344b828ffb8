"""What a run of Kubeflow Pipelines has come to: the state of each step, why it waits or failed, and the outcome.

The v2beta1 API gives the tasks. Why a pod waits or was lost stands in Argo's nodes only, in the Workflow that the
v1beta1 API returns; a step's log is under v1alpha1.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from clinadapt.errors import EXIT_BUG, EXIT_DONE, EXIT_REFUSED, UserError
from clinadapt.kubernetes.workflow import (
    TASKS,
    is_task_of,
    last_pods,
    message,
    pod_name,
    task_name,
    without_attempt,
    workflow_of,
)
from pipelines.kfp_api import Remote

Outcome = Literal["published", "awaiting approval", "refused", "nothing new", "checked", "failed", "stopped"]
EXIT_STATUS: dict[Outcome, int] = {
    "published": EXIT_DONE, "awaiting approval": EXIT_DONE, "nothing new": EXIT_DONE, "checked": EXIT_DONE,
    "refused": EXIT_REFUSED, "failed": EXIT_BUG, "stopped": EXIT_BUG,
}  # fmt: skip
PROPOSED = "publish-for-approval"  # what publish is called where people have to approve the version afterwards
ENDED = {"SUCCEEDED", "FAILED", "SKIPPED", "CANCELED"}
LOG_LINES = 20
_WORDS = {"SUCCEEDED": "done", "CANCELED": "stopped", "CANCELING": "stopping"}


@dataclass
class StepState:
    """A step of a run.

    Attributes:
        state: waiting, running, done, failed, skipped, stopped; or left out, after a failure before it.
        seconds: since its start, or that it took; None if it never started.
        reason: of waiting or failure, from Argo; only after `explain`.
        pod: name of its last pod, to read its log; only after `explain`.
    """

    state: str
    seconds: float | None = None
    reason: str = ""
    pod: str = ""

    def line(self, name: str) -> str:
        """One line: name, state, time and reason."""
        duration = f"{self.seconds:.0f} s" if self.seconds is not None and self.state != "waiting" else ""
        return f"{name:20} {self.state} {duration}".rstrip() + (f": {self.reason}" if self.reason else "")


def step_states(run: Any) -> dict[str, StepState]:
    """The state of each step's task, by the task's name and in the order of the pipeline.

    A step whose driver waits or failed has no task of its own yet, and gets the driver's state.
    """
    states: dict[str, StepState] = {}
    own: set[str] = set()
    for task in (run.run_details and run.run_details.task_details) or ():
        shown, name = without_attempt(task.display_name), task_name(task.display_name)
        if name is None or (name in own and shown != task.display_name):
            continue  # a group, or an attempt, where the task itself says more
        state = StepState(_state(task.state, run.state), _seconds(task))
        if shown == name:
            own.add(name)
            states[name] = state
        elif name not in own and state.state in ("running", "waiting", "failed"):
            states[name] = StepState("failed") if state.state == "failed" else StepState("waiting")
    return {name: states[name] for step in TASKS for name in states if is_task_of(name, step)}


def _state(task: str | None, run: str | None) -> str:
    if task in (None, "PENDING", "RUNTIME_STATE_UNSPECIFIED"):
        return "left out" if run in ENDED else "waiting"
    return _WORDS.get(task, task.lower())


def _seconds(task: Any) -> float | None:
    """Seconds between start and end; the API gives the year 1 as the end of what has not ended."""
    start, end = (_time(value) for value in (task.start_time or task.create_time, task.end_time))
    return max(0.0, ((end or datetime.now(UTC)) - start).total_seconds()) if start else None


def _time(value: datetime | None) -> datetime | None:
    return value if value and value.year > 1 else None


def outcome(run: Any, steps: dict[str, StepState]) -> Outcome:
    """How an ended run ended. A run that somebody terminated is FAILED, with CANCELING in its history."""
    history = {status.state for status in run.state_history or ()}
    if run.state == "CANCELED" or "CANCELING" in history:
        return "stopped"
    if run.state != "SUCCEEDED":
        return "failed"
    done = {name for name, step in steps.items() if step.state == "done"}
    if "monitor" in done:
        return "checked"
    if PROPOSED in done:
        return "awaiting approval"
    return "published" if "publish" in done else "refused" if "gate" in done else "nothing new"


def state_of(remote: Remote, run: Any) -> str:
    """What came of a run, of a list of runs; of one in progress its state."""
    if run.state not in ENDED:
        return (run.state or "pending").lower()
    if run.state == "SUCCEEDED" and not run.run_details:  # a list may leave them out
        run = remote.call(remote.runs.run_service_get_run, run.run_id)
    return outcome(run, step_states(run))


def workflow(remote: Remote, run_id: str) -> dict[str, Any]:
    """The Argo Workflow of a run; empty where the API has none (any more).

    Raises:
        UserError: no connection.
    """
    return workflow_of(remote.get(f"/apis/v1beta1/runs/{run_id}"))


def explain(steps: dict[str, StepState], manifest: dict[str, Any]) -> None:
    """Add reason and pod to the steps, and `waiting` where a pod has not started, from the nodes of a Workflow."""
    for name, node in last_pods(manifest).items():
        if name not in steps:
            continue
        step = steps[name]
        step.pod = pod_name(manifest, node)
        if step.state == "running" and node["phase"] == "Pending":
            step.state = "waiting"
        if step.state in ("waiting", "failed"):
            step.reason = message(node)


def log_tail(remote: Remote, run_id: str, pod: str, lines: int | None = LOG_LINES) -> list[str]:
    """The last lines of a step's log, all with None; empty where it is gone.

    Raises:
        UserError: no connection.
    """
    try:
        text = remote.get_text(f"/apis/v1alpha1/runs/{run_id}/nodes/{pod}/log")
    except UserError as error:
        if getattr(error, "status", None) in (404, 500):  # the pod is gone and nothing was archived
            return []
        raise
    return text.splitlines()[-(lines or 0) :]
