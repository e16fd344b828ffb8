"""A small server that speaks the v2beta1 API of Kubeflow Pipelines, as kfp_server_api defines it: every answer is read
back into that package's model before it is sent, every request that carries an object too."""

from __future__ import annotations

import json
from collections.abc import Callable
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
    """

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, list[Object]] = {kind: [] for kind in IDS}
        self.multi_user = False
        self.page = 2
        self.clock = datetime(2026, 1, 1, tzinfo=UTC)

    def respond(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, Object]:
        self.before(method, path)
        with self.lock:
            self.requests.append((method, path))
            return 200, self.answer(method, path, query, body)

    def refusal(self, error: Error) -> Object:
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
        parts = path.removeprefix("/apis/v2beta1/").split("/")
        parts[-1], _, verb = parts[-1].partition(":")
        match method, parts, verb:
            case "GET", ["healthz"], "":
                return {"multi_user": self.multi_user}
            case "GET", ["pipelines", pipeline_id, "versions"], "":
                return self.listed("versions", query, lambda item: item["pipeline_id"] == pipeline_id)
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
        return self.add(kind, **body, **({"state": "PENDING"} if kind == "runs" else {}))

    def uploaded(self, query: dict[str, str], body: bytes) -> Object:
        assert b'name="uploadfile"' in body and b"pipelineInfo" in body and b"platforms:" in body
        versions = [item for item in self.objects["versions"] if item["pipeline_id"] == query["pipelineid"]]
        if any(version["name"] == query["name"] for version in versions):
            raise Error(409, f"version {query['name']} already exists")
        return self.add("versions", pipeline_id=query["pipelineid"], name=query["name"], display_name=query["name"])


def checked(value: Object, model: str) -> Object:
    """The same, once kfp_server_api has read it into its model: a name or a kind that it does not know is our error."""
    client = kfp_server_api.ApiClient()
    read = client.deserialize(SimpleNamespace(data=json.dumps(value)), model)
    known = client.sanitize_for_serialization(read)
    lost = {key for key in value if value[key] not in (None, [], {}, "") and key not in known}
    assert not lost, f"{model} does not know {lost}"
    return value
