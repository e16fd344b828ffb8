"""What a run of Kubeflow Pipelines has come to: the state of each step, why it waits or failed, and the outcome.

The v2beta1 API gives the tasks. Why a pod waits or was lost stands in Argo's nodes only, in the Workflow that the
v1beta1 API returns; a step's log is under v1alpha1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from clinadapt.config.steps import STEPS
from clinadapt.errors import EXIT_BUG, EXIT_DONE, EXIT_REFUSED, UserError
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
_TASKS = (*STEPS, "start-run")  # the last in the monitor's pipeline
_DRIVER = "-driver"
_ATTEMPT = re.compile(r"\(\d+\)$")  # Argo shows a task that may be retried as `train` and, each attempt, `train(0)`


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


def task_name(shown: str) -> str | None:
    """The name of a step's task (`train`, `train-classify`) as it is shown for itself, an attempt or its driver; None
    for a group."""
    name = _ATTEMPT.sub("", shown).removesuffix(_DRIVER)
    return name if any(name == step or name.startswith(f"{step}-") for step in _TASKS) else None


def step_states(run: Any) -> dict[str, StepState]:
    """The state of each step's task, by the task's name and in the order of the pipeline.

    A step whose driver waits or failed has no task of its own yet, and gets the driver's state.
    """
    states: dict[str, StepState] = {}
    own: set[str] = set()
    for task in (run.run_details and run.run_details.task_details) or ():
        shown, name = _ATTEMPT.sub("", task.display_name), task_name(task.display_name)
        if name is None or (name in own and shown != task.display_name):
            continue  # a group, or an attempt, where the task itself says more
        state = StepState(_state(task.state, run.state), _seconds(task))
        if shown == name:
            own.add(name)
            states[name] = state
        elif name not in own and state.state in ("running", "waiting", "failed"):
            states[name] = StepState("failed") if state.state == "failed" else StepState("waiting")
    return {name: states[name] for step in _TASKS for name in states if name == step or name.startswith(f"{step}-")}


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


def workflow(remote: Remote, run_id: str) -> dict[str, Any]:
    """The Argo Workflow of a run; empty where the API has none (any more).

    Raises:
        UserError: no connection.
    """
    answer = remote.get(f"/apis/v1beta1/runs/{run_id}")
    manifest = (answer.get("pipeline_runtime") or {}).get("workflow_manifest")
    return dict(json.loads(manifest)) if manifest else {}


def explain(steps: dict[str, StepState], manifest: dict[str, Any]) -> None:
    """Add reason and pod to the steps, and `waiting` where a pod has not started, from the nodes of a Workflow."""
    nodes = (manifest.get("status") or {}).get("nodes") or {}
    for name, pods in _pods_of_tasks(nodes).items():
        if name not in steps:
            continue
        last = max(pods, key=lambda node: (node.get("startedAt") or "", node["id"]))
        step = steps[name]
        step.pod = _pod_name(manifest, last)
        if step.state == "running" and last["phase"] == "Pending":
            step.state = "waiting"
        if step.state in ("waiting", "failed"):
            step.reason = " ".join((last.get("message") or "").split())


def _pods_of_tasks(nodes: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The pods' nodes by the name of the task that they work for: the pod's own, or that of the nearest node above."""
    above = {child: node for node in nodes.values() for child in node.get("children") or ()}
    pods: dict[str, list[dict[str, Any]]] = {}
    for node in nodes.values():
        if node["type"] == "Pod":
            name = next(filter(None, (task_name(at["displayName"]) for at in _upwards(node, above))), None)
            if name:
                pods.setdefault(name, []).append(node)
    return pods


def _upwards(node: dict[str, Any], above: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The node and those above it, up to the next pod: a pod's children are what comes after it."""
    yield node
    while (node := above.get(node["id"], {})) and node["type"] != "Pod":
        yield node


def _pod_name(manifest: dict[str, Any], node: dict[str, Any]) -> str:
    """Name of a node's pod: workflow, template and the number that ends the node's id."""
    if manifest["metadata"].get("annotations", {}).get("workflows.argoproj.io/pod-name-format") == "v1":
        return str(node["id"])
    return f"{manifest['metadata']['name']}-{node['templateName']}-{node['id'].rpartition('-')[2]}"


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
