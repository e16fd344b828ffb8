"""A small server that speaks the v2beta1 API of Kubeflow Pipelines, as kfp_server_api defines it: every answer is read
back into that package's model before it is sent, every request that carries an object too."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import kfp_server_api
from fake_server import Error, FakeServer, Object

IDS = {"pipelines": "pipeline_id", "versions": "pipeline_version_id", "experiments": "experiment_id",
       "runs": "run_id", "recurringruns": "recurring_run_id"}  # fmt: skip
MODELS = {"pipelines": "V2beta1Pipeline", "versions": "V2beta1PipelineVersion", "experiments": "V2beta1Experiment",
          "runs": "V2beta1Run", "recurringruns": "V2beta1RecurringRun"}  # fmt: skip
LISTS = {"pipelines": ("pipelines", "V2beta1ListPipelinesResponse"),
         "versions": ("pipeline_versions", "V2beta1ListPipelineVersionsResponse"),
         "experiments": ("experiments", "V2beta1ListExperimentsResponse"),
         "runs": ("runs", "V2beta1ListRunsResponse"),
         "recurringruns": ("recurringRuns", "V2beta1ListRecurringRunsResponse")}  # fmt: skip


class FakeKfp(FakeServer):
    """The state behind the server, and what a test can set.

    Attributes:
        objects: by kind, in the order they were made.
        multi_user: whether a namespace is needed.
        page: most items of a page, whatever is asked for.
        workflows: run id -> Argo's Workflow, of runs that have one (still).
        logs: (run id, pod) -> log.
        unknown_fields: of the platform spec, which a server before 2.17 refuses.
    """

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, list[Object]] = {kind: [] for kind in IDS}
        self.multi_user = False
        self.page = 2
        self.clock = datetime(2026, 1, 1, tzinfo=UTC)
        self.workflows: dict[str, Object] = {}
        self.logs: dict[tuple[str, str], str] = {}
        self.unknown_fields: tuple[str, ...] = ()

    def respond(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, Object]:
        self.before(method, path)
        with self.lock:
            self.requests.append((method, path))
            return 200, self.answer(method, path, query, body)

    def refusal(self, error: Error) -> Object:
        if self.requests and self.requests[-1][1].endswith("/upload_version"):
            return {"error_message": error.message, "error_details": error.message}
        return {"code": error.status, "message": error.message, "details": []}

    def add(self, kind: str, **values: Any) -> Object:
        with self.lock:
            self.clock += timedelta(seconds=1)
            made = {IDS[kind]: f"{kind}-{len(self.requests)}-{self.clock:%j%H%M%S}",
                    "created_at": self.clock.strftime("%Y-%m-%dT%H:%M:%SZ"), **values}  # fmt: skip
            self.objects[kind].append(checked(made, MODELS[kind]))
            return made

    def find(self, kind: str, identifier: str) -> Object:
        for item in self.objects[kind]:
            if item[IDS[kind]] == identifier:
                return item
        raise Error(404, f"{kind} {identifier} not found")

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> Object:
        """Route one request."""
        if not path.startswith("/apis/v2beta1/"):
            return self.older(method, path)
        parts = path.removeprefix("/apis/v2beta1/").split("/")
        parts[-1], _, verb = parts[-1].partition(":")
        match method, parts, verb:
            case "GET", ["healthz"], "":
                return {"multi_user": self.multi_user}
            case "GET", ["pipelines", pipeline_id, "versions"], "":
                return self.listed("versions", query, lambda item: item["pipeline_id"] == pipeline_id)
            case "GET", ["pipelines", _, "versions", version_id], "":
                return self.find("versions", version_id)
            case "POST", ["runs", run_id], "terminate":
                return self.terminated(self.find("runs", run_id))
            case "POST", ["pipelines", "upload_version"], "":
                return self.uploaded(query, body)
            case "GET", [kind], "":
                return self.listed(kind, query, lambda item: self.visible(kind, item, query))
            case "POST", [kind], "":
                return self.made(kind, checked(json.loads(body), MODELS[kind]))
            case "GET", [kind, identifier], "":
                return self.find(kind, identifier)
            case "DELETE", ["recurringruns", identifier], "":
                self.objects["recurringruns"].remove(self.find("recurringruns", identifier))
                for run in self.objects["runs"]:  # the real one ends the run in progress
                    if run.get("recurring_run_id") == identifier and run["state"] == "RUNNING":
                        run["state"] = "CANCELED"
                return {}
            case "POST", ["recurringruns", identifier], ("enable" | "disable"):
                self.find("recurringruns", identifier)["mode"] = verb.upper()
                return {}
        raise Error(404, f"no such path {path}")

    def older(self, method: str, path: str) -> Object:
        """What only older versions of the API have: a run's Workflow (v1beta1), and logs (v1alpha1)."""
        match method, path.removeprefix("/apis/").split("/"):
            case "GET", ["v1beta1", "runs", run_id]:
                self.find("runs", run_id)
                found = self.workflows.get(run_id)
                manifest = {"workflow_manifest": json.dumps(found)} if found else {}
                return {"run": {"id": run_id}, "pipeline_runtime": manifest}
            case "GET", ["v1alpha1", "runs", run_id, "nodes", pod, "log"] if (run_id, pod) in self.logs:
                return {"": self.logs[run_id, pod]}  # sent as plain text
        raise Error(404, "Not Found")

    def terminated(self, run: Object) -> Object:
        """A run that somebody ends is FAILED, with CANCELING in its history."""
        run["state_history"] = [{"state": "RUNNING"}, {"state": "CANCELING"}, {"state": "FAILED"}]
        run["state"] = "FAILED"
        return {}

    def visible(self, kind: str, item: Object, query: dict[str, str]) -> bool:
        if self.multi_user and kind in ("pipelines", "experiments") and "namespace" not in query:
            raise Error(400, "namespace is empty")
        return item.get("experiment_id") == query.get("experiment_id", item.get("experiment_id"))

    def listed(self, kind: str, query: dict[str, str], keep: Callable[[Object], bool]) -> Object:
        items = [item for item in self.objects[kind] if keep(item)]
        for predicate in json.loads(query.get("filter", "{}")).get("predicates", []):
            assert predicate["operation"] == "EQUALS"
            items = [item for item in items if item[predicate["key"]] == predicate["stringValue"]]
        newest_first = query.get("sort_by") == "created_at desc"
        items.sort(key=lambda item: item["created_at"], reverse=newest_first)
        size, left = min(self.page, int(query.get("page_size", self.page))), items
        if token := query.get("page_token"):  # a place in the order, as the real one: deletions do not shift it
            left = [
                item for item in items if (item["created_at"] < token) == newest_first and item["created_at"] != token
            ]
        field, model = LISTS[kind]
        answer: Object = {field: left[:size], "total_size": len(items)}
        if len(left) > size:
            answer["next_page_token"] = left[size - 1]["created_at"]
        return checked(answer, model)

    def made(self, kind: str, body: Object) -> Object:
        if kind in ("pipelines", "experiments"):
            if self.multi_user and not body.get("namespace"):
                raise Error(400, "namespace is empty")
            if any(item["display_name"] == body["display_name"] for item in self.objects[kind]):
                raise Error(409, f"{body['display_name']} already exists")
        if kind in ("runs", "recurringruns"):
            self.find("experiments", body["experiment_id"])
            self.find("pipelines", body["pipeline_version_reference"]["pipeline_id"])
            if version := body["pipeline_version_reference"].get("pipeline_version_id"):
                self.find("versions", version)
        return self.add(kind, **body, **({"state": "PENDING"} if kind == "runs" else {}))

    def uploaded(self, query: dict[str, str], body: bytes) -> Object:
        assert b'name="uploadfile"' in body and b"pipelineInfo" in body and b"platforms:" in body
        for name in self.unknown_fields:
            if name.encode() in body:
                raise Error(400, f'Failed to create a pipeline version: proto: (line 1:2): unknown field "{name}"')
        versions = [item for item in self.objects["versions"] if item["pipeline_id"] == query["pipelineid"]]
        if any(version["name"] == query["name"] for version in versions):
            raise Error(409, f"version {query['name']} already exists")
        named = {"name": query["name"], "display_name": query["name"], "description": query.get("description", "")}
        return self.add("versions", pipeline_id=query["pipelineid"], **named)


def checked(value: Object, model: str) -> Object:
    """The same, once kfp_server_api has read it into its model: a name or a kind that it does not know is our error."""
    client = kfp_server_api.ApiClient()
    read = client.deserialize(SimpleNamespace(data=json.dumps(value)), model)
    known = client.sanitize_for_serialization(read)
    lost = {key for key in value if value[key] not in (None, [], {}, "") and key not in known}
    assert not lost, f"{model} does not know {lost}"
    return value


@dataclass
class Task:
    """What the API shows of one step of a run.

    Attributes:
        name: of the task, as `train-classify`.
        state: of the task; None for one that a failure left out.
        phase, message: of Argo's node of its last pod; phase None where no pod was made.
        attempts: pods that it had.
        seconds: between start and end.
    """

    name: str
    state: str | None = "SUCCEEDED"
    phase: str | None = "Succeeded"
    message: str = ""
    attempts: int = 1
    seconds: int = 65


def show(fake: FakeKfp, run: Object, *tasks: Task, state: str = "RUNNING", workflow: str = "run-1") -> None:
    """Let the API show these tasks of a run, as Kubeflow Pipelines 2.17 and Argo do: a task and each of its attempts,
    drivers, groups, the year 1 as the end of what runs; and in the Workflow the nodes with their messages."""
    details = [{"task_id": "g", "display_name": "adapt", "state": state}]
    nodes: dict[str, Object] = {}
    for number, task in enumerate(tasks):
        details += _shown(task)
        nodes |= _nodes(task, workflow, number)
    fake.workflows[run["run_id"]] = {"metadata": {"name": workflow}, "status": {"nodes": nodes}}
    run |= {"state": state, "run_details": {"task_details": details}}
    checked(run, "V2beta1Run")


def pod(task: str, attempt: int = 0, workflow: str = "run-1") -> str:
    """Name of the pod of a task's attempt."""
    return f"{workflow}-system-container-impl-{_number(task, attempt)}"


def _number(task: str, attempt: int) -> int:
    return zlib.crc32(f"{task}({attempt})".encode())


def _shown(task: Task) -> list[Object]:
    start = datetime.now(UTC) - timedelta(seconds=task.seconds)
    end = "0001-01-01T00:00:00Z" if task.state in (None, "RUNNING", "PENDING") else f"{datetime.now(UTC):%FT%TZ}"
    times = {"create_time": f"{start:%FT%TZ}", "start_time": f"{start:%FT%TZ}", "end_time": end}
    if task.state is None:
        return [{"task_id": task.name, "display_name": task.name, "end_time": end}]
    attempts = [
        {"task_id": f"{task.name}{n}", "display_name": f"{task.name}({n})", "state": last or "FAILED", **times}
        for n in range(task.attempts)
        for last in [task.state if n == task.attempts - 1 else ""]
    ]
    driver = {"task_id": f"{task.name}d", "display_name": f"{task.name}-driver", "state": "SUCCEEDED", **times}
    return [driver, *attempts, {"task_id": task.name, "display_name": task.name, "state": task.state, **times}]


def _nodes(task: Task, workflow: str, number: int) -> dict[str, Object]:
    """driver (a pod) -> the task's group -> the retry -> a pod for each attempt."""
    if task.state is None or task.phase is None:
        return {}
    driver, group, retry = (f"{workflow}-{100 * number + n}" for n in (1, 2, 3))
    pods = [f"{workflow}-{_number(task.name, attempt)}" for attempt in range(task.attempts)]
    made: dict[str, Object] = {
        driver: {"displayName": f"{task.name}-driver", "type": "Pod", "phase": "Succeeded", "children": [group],
                 "templateName": "system-container-driver"},
        group: {"displayName": task.name, "type": "DAG", "phase": "Running", "children": [retry],
                "templateName": "system-container-executor"},
        retry: {"displayName": "executor", "type": "Retry", "phase": "Running", "children": pods,
                "templateName": "system-container-impl"},
    }  # fmt: skip
    for attempt, name in enumerate(pods):
        last = attempt == task.attempts - 1
        made[name] = {
            "displayName": f"executor({attempt})",
            "type": "Pod",
            "templateName": "system-container-impl",
            "phase": task.phase if last else "Error",
            "message": task.message if last else "pod deleted",
            "startedAt": f"2026-01-01T00:0{attempt}:00Z",
        }
    return {name: {"id": name, **node} for name, node in made.items()}
