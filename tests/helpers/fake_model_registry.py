"""A small server that speaks the REST API of Kubeflow's Model Registry, as mr_openapi, the generated half of its own
client, defines it: every request and every answer is read into that package's model first."""

from __future__ import annotations

import json
from collections.abc import Callable

import mr_openapi
from fake_server import Error, FakeServer, Object

MODELS = {"registered_models": "RegisteredModel", "model_versions": "ModelVersion", "model_artifacts": "ModelArtifact"}


class FakeModelRegistry(FakeServer):
    """The state behind the server, and what a test can set.

    Attributes:
        objects: by kind, in the order they were made; the id of each is its place among all.
        parents: of artifacts, the ids of their versions.
        api: the version of the API that is spoken.
        after: as `before`, when an answer is ready and not yet sent. The paths of both come without their root.
    """

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, list[Object]] = {kind: [] for kind in MODELS}
        self.parents: dict[str, str] = {}
        self.api = "v1"
        self.after: Callable[[str, str], None] = lambda method, path: None

    def respond(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, Object]:
        root = f"/api/model_registry/{self.api}/"
        if not path.startswith(root):
            raise Error(404, "404 page not found")
        path = path.removeprefix(root)
        self.before(method, path)
        with self.lock:
            self.requests.append((method, path))
            answer = self.answer(method, path, query, json.loads(body or b"{}"))
        self.after(method, path)
        return (201 if method == "POST" else 200), answer

    def refusal(self, error: Error) -> Object:
        return {"code": str(error.status), "message": error.message}

    def answer(self, method: str, path: str, query: dict[str, str], body: Object) -> Object:
        """Route one request."""
        match method, path.split("/"):
            case "GET", [("registered_model" | "model_version" | "model_artifact") as kind]:
                return self.found(f"{kind}s", query["name"], query.get("parentResourceId"))
            case "GET", [kind] if kind in MODELS:
                items = self.objects[kind]
                size = int(query.get("pageSize", 100))
                answer = {"items": items[:size], "pageSize": size, "size": len(items[:size]), "nextPageToken": ""}
                return read(answer, f"{MODELS[kind]}List")
            case "GET", [kind, identifier] if kind in MODELS:
                return self.get(kind, identifier)
            case "GET", ["model_versions", identifier, "artifacts"]:
                items = [item for item in self.objects["model_artifacts"] if self.parent(item) == identifier]
                return {"items": items, "pageSize": 100, "size": len(items), "nextPageToken": ""}
            case "POST", ["registered_models"]:
                return self.made("registered_models", read(body, "RegisteredModelCreate"))
            case "POST", ["model_versions"]:
                self.get("registered_models", body["registeredModelId"])
                return self.made("model_versions", read(body, "ModelVersionCreate"))
            case "POST", ["model_versions", identifier, "artifacts"]:
                self.get("model_versions", identifier)
                return self.made("model_artifacts", read(body, "ModelArtifactCreate"), identifier)
            case "PATCH", [kind, identifier] if kind in MODELS:
                item = self.get(kind, identifier)
                item |= read(body, f"{MODELS[kind]}Update")  # a map of custom properties is replaced whole, as there
                return item
        raise Error(404, "404 page not found")

    def parent(self, item: Object) -> str | None:
        return self.parents.get(item["id"]) or item.get("registeredModelId")

    def found(self, kind: str, name: str, parent: str | None) -> Object:
        for item in self.objects[kind]:
            if item["name"] == name and self.parent(item) == parent:
                return item
        raise Error(404, f"no {kind} found for name={name}: not found")

    def get(self, kind: str, identifier: str) -> Object:
        for item in self.objects[kind]:
            if item["id"] == identifier:
                return item
        raise Error(404, f"no {kind} found for id {identifier}: not found")

    def made(self, kind: str, body: Object, parent: str | None = None) -> Object:
        owner = parent or body.get("registeredModelId")
        if any(item["name"] == body["name"] and self.parent(item) == owner for item in self.objects[kind]):
            raise Error(409, "error creating entity: name already exists: already exists")
        identifier = str(1 + sum(map(len, self.objects.values())))
        stamps = {"createTimeSinceEpoch": "1767225600000", "lastUpdateTimeSinceEpoch": "1767225600000"}
        item = read({"state": "LIVE", **body, "id": identifier, **stamps}, MODELS[kind])
        if parent:
            self.parents[identifier] = parent
        self.objects[kind].append(item)
        return item


def read(value: Object, model: str) -> Object:
    """The same, once mr_openapi has read it into its model: a name or a kind that it does not know is our error."""
    lost = value.keys() - getattr(mr_openapi, model).from_dict(value).model_dump(by_alias=True).keys()
    assert not lost, f"{model} does not know {lost}"
    return value
