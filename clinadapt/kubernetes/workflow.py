"""Argo's Workflow behind a run of Kubeflow Pipelines: the last pod of each step, and why it waits or failed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import urllib3

from clinadapt.config.steps import STEPS, Step

API = "http://ml-pipeline.kubeflow.svc.cluster.local:8888"  # of Kubeflow Pipelines, within the cluster
RUN_ID = "CLINADAPT_KFP_RUN"  # variable of summarise with the run's id, from the pod's label
RUN_ID_LABEL = "pipeline/runid"
TASKS = (*STEPS, "start-run")  # the last in the monitor's pipeline
_DRIVER = "-driver"
_ATTEMPT = re.compile(r"\(\d+\)$")  # Argo shows a task that may be retried as `train` and, each attempt, `train(0)`
_TIMEOUT = urllib3.Timeout(connect=5, read=10)

Node = dict[str, Any]


def without_attempt(shown: str) -> str:
    """The name of a task or a driver without the number of an attempt."""
    return _ATTEMPT.sub("", shown)


def is_task_of(name: str, step: str) -> bool:
    """Whether a task is a step's: `train` and `train-classify` are train's."""
    return name == step or name.startswith(f"{step}-")


def task_name(shown: str) -> str | None:
    """The name of a step's task (`train`, `train-classify`) as it is shown for itself, an attempt or its driver; None
    for a group."""
    name = without_attempt(shown).removesuffix(_DRIVER)
    return name if any(is_task_of(name, step) for step in TASKS) else None


def last_pods(manifest: Node) -> dict[str, Node]:
    """The node of the last pod of each task that has had one, by the task's name: its own or its driver's."""
    nodes = (manifest.get("status") or {}).get("nodes") or {}
    above = {child: node for node in nodes.values() for child in node.get("children") or ()}
    last: dict[str, Node] = {}
    for node in nodes.values():
        if node["type"] == "Pod":
            name = next(filter(None, (task_name(at["displayName"]) for at in _upwards(node, above))), None)
            if name:
                last[name] = max(last.get(name, node), node, key=lambda pod: (pod.get("startedAt") or "", pod["id"]))
    return last


def _upwards(node: Node, above: dict[str, Node]) -> Iterator[Node]:
    """The node and those above it, up to the next pod: a pod's children are what comes after it."""
    yield node
    while (node := above.get(node["id"], {})) and node["type"] != "Pod":
        yield node


def pod_name(manifest: Node, node: Node) -> str:
    """Name of a node's pod: workflow, template and the number that ends the node's id."""
    if manifest["metadata"].get("annotations", {}).get("workflows.argoproj.io/pod-name-format") == "v1":
        return str(node["id"])
    return f"{manifest['metadata']['name']}-{node['templateName']}-{node['id'].rpartition('-')[2]}"


def message(node: Node) -> str:
    """Argo's message of a node, on one line."""
    return " ".join((node.get("message") or "").split())


def workflow_of(answer: Any) -> Node:
    """The Workflow in an answer of GET /apis/v1beta1/runs/{id}; empty where there is none (any more)."""
    manifest = (answer.get("pipeline_runtime") or {}).get("workflow_manifest")
    return dict(json.loads(manifest)) if manifest else {}


def own_run() -> tuple[bool, dict[Step, str]]:
    """What Kubeflow Pipelines says of the run that this pod belongs to.

    Returns:
        Whether somebody terminated it, and why the last pod of a step failed, by step. False and nothing where the API
        does not answer, as in a multi-user Kubeflow, which wants a token: what is known without it is reported then.
    """
    if not (run_id := os.environ.get(RUN_ID)):
        return False, {}
    stopped, reasons = False, dict[Step, str]()
    with suppress(urllib3.exceptions.HTTPError, ValueError, KeyError, TypeError, AttributeError):
        history = _get(f"/apis/v2beta1/runs/{run_id}").get("state_history") or ()
        stopped = any(status.get("state") == "CANCELING" for status in history)
        for name, node in last_pods(workflow_of(_get(f"/apis/v1beta1/runs/{run_id}"))).items():
            step = next((step for step in STEPS if is_task_of(name, step)), None)
            if step and node["phase"] in ("Failed", "Error") and message(node):
                reasons[step] = message(node)
    return stopped, reasons


def _get(path: str) -> Any:
    answer = urllib3.PoolManager(retries=False, timeout=_TIMEOUT).request("GET", f"{API}{path}")
    return json.loads(answer.data)
