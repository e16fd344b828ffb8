"""Register published versions in a Kubeflow Model Registry, through its REST API.

CLINADAPT_MODEL_REGISTRY_URL     its address; nothing is registered where it is not set
CLINADAPT_MODEL_REGISTRY_TOKEN   a bearer token, if it requires one

Registered model = adapter, model version = version, model artifact = the version's URI in the store. The store is the
source of truth, this is a copy of it, and registering again changes nothing. The official client (PyPI model-registry)
is not used: it refuses an existing version, so that an interrupted registration cannot be completed, requires a token
with TLS, and adds ten dependencies. The tests compare this module with its models.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx

from clinadapt.errors import UserError
from clinadapt.registry.adapters import published_recipe
from clinadapt.registry.approval.standing import Standing, read_standing
from clinadapt.registry.champion import champion
from clinadapt.registry.versions import read_version
from clinadapt.storage.object_store import Store

URL, TOKEN = "CLINADAPT_MODEL_REGISTRY_URL", "CLINADAPT_MODEL_REGISTRY_TOKEN"
_API = ("v1", "v1alpha3")  # of current and of older servers; the objects are the same
_TIMEOUT = 10  # seconds
_TRIES = 3  # of a request that fails or gets status 5xx or 429
_WAIT = 1.0  # seconds before the second try; twice as long before the third
_FIELDS = ("base_model", "base_digest", "dataset_digest", "splits_digest", "settings_digest", "code_version")


def register_if_configured(store: Store, name: str, version: str, log: Callable[[str], None]) -> dict[str, str]:
    """Register a published version if an address is configured. An error is logged and does not fail the publication.

    Returns:
        {model_registry: what happened}, for the step's record; empty where no address is configured.
    """
    if not os.environ.get(URL):
        return {}
    try:
        register(store, name, version)
        result = f"{name}/{version} is registered in the model registry"
    except UserError as error:
        result = (
            f"{name}/{version} is published but not registered in the model registry: {error}; then run "
            f"clinadapt registry register {name}/{version}"
        )
    log(result)
    return {"model_registry": result}


def register(store: Store, name: str, version: str) -> None:
    """Register a version, where it stands with the people who approve it (custom properties `approval`, `approvals`),
    and the adapter's champion; existing objects stay, missing ones are added.

    Raises:
        UserError: there is no such version, no address is configured, or it does not respond as a model registry.
    """
    manifest, uri = read_version(store, name, version), f"{store.uri}/adapters/{name}/{version}"
    fields: dict[str, str | float] = {field: manifest[field] for field in _FIELDS}
    fields |= {"recipe": published_recipe(f"{name}/{version}", store.uri), "run_key": version}
    fields |= flat_metrics(manifest["metrics"])
    standing = read_standing(store, name, version)
    with _Server() as server:
        model = server.get_or_create("registered_model", {"name": name}, "registered_models", {"name": name})
        body = {"name": version, "registeredModelId": model["id"], "author": manifest["published_by"]}
        of_model = {"name": version, "parentResourceId": model["id"]}
        registered = server.get_or_create("model_version", of_model, "model_versions", body | _custom(fields))
        if standing:
            server.update_version(registered, standing)
        body = {"artifactType": "model-artifact", "name": name, "uri": uri, "modelFormatName": "peft"}
        of_version = {"name": name, "parentResourceId": registered["id"]}
        path = f"model_versions/{registered['id']}/artifacts"
        artifact = server.get_or_create("model_artifact", of_version, path, body)
        if artifact["uri"] != uri:
            update = {"artifactType": "model-artifact", "uri": uri}
            server.request("PATCH", f"model_artifacts/{artifact['id']}", json=update)
        current = (champion(store, name) or ("none",))[0]
        existing = model.get("customProperties") or {}
        properties = existing | _custom({"champion": current})["customProperties"]  # an update replaces the map
        if properties != existing:
            server.request("PATCH", f"registered_models/{model['id']}", json={"customProperties": properties})


def flat_metrics(metrics: dict[str, dict[str, float]]) -> dict[str, float]:
    """accuracy, accuracy_low, accuracy_high, ...: values with the bounds of their 95 % intervals."""
    flat = {
        name if part == "value" else f"{name}_{part}": entry[part]
        for name, entry in metrics.items()
        for part in ("value", "low", "high")
    }
    return finite_numbers(flat)


def finite_numbers(numbers: dict[str, float]) -> dict[str, float]:
    """The numbers that JSON and a float can hold: no NaN, no infinity, no larger integer."""
    return {name: float(value) for name, value in numbers.items() if abs(value) <= sys.float_info.max}


def _custom(fields: dict[str, Any]) -> dict[str, Any]:
    """Custom properties in the API's format."""
    return {
        "customProperties": {
            name: {"double_value": value, "metadataType": "MetadataDoubleValue"}
            if isinstance(value, float)
            else {"string_value": value, "metadataType": "MetadataStringValue"}
            for name, value in fields.items()
        }
    }


class _AlreadyExists(Exception):
    """Another client created the object meanwhile."""


class _Server:
    """The model registry at the configured address. Every method raises UserError as `register`."""

    def __init__(self) -> None:
        self._url = os.environ.get(URL, "").rstrip("/")
        token = os.environ.get(TOKEN, "").strip()
        if not self._url.startswith(("http://", "https://")):
            raise UserError(
                f"{URL} is not an address: set it to the model registry's, http://host:port or https://host"
            )
        if not (token.isascii() and token.isprintable()):
            raise UserError(f"{TOKEN} contains characters that are not allowed in a token: set it again")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(headers=headers, timeout=_TIMEOUT)  # no redirects: they would leak the token
        self._root = ""

    def __enter__(self) -> _Server:
        for version in _API:
            self._root = f"{self._url}/api/model_registry/{version}"
            if self.request("GET", "registered_models", params={"pageSize": "1"}) is not None:
                return self
        raise UserError(f"{self._url} is not a model registry (404): check {URL}")

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get_or_create(self, kind: str, query: dict[str, str], path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The object that a query finds; created with `body` at `path` where there is none."""
        existing = self.request("GET", kind, params=query)
        if existing is None:
            try:
                existing = self.request("POST", path, json=body)
            except _AlreadyExists:
                existing = self.request("GET", kind, params=query)
        if existing is None:
            raise UserError(f"{self._url} neither finds nor creates a {kind.replace('_', ' ')}: run again")
        return existing

    def update_version(self, registered: dict[str, Any], standing: Standing) -> None:
        """Write where a version stands with the people who approve it; one that was refused is archived."""
        existing = registered.get("customProperties") or {}
        fields = {"approval": standing.state, "approvals": f"{len(standing.approvals)} of {standing.policy.signers}"}
        change = {
            "customProperties": existing | _custom(fields)["customProperties"],
            "state": "ARCHIVED" if standing.state == "refused" else registered.get("state", "LIVE"),
        }
        if change != {"customProperties": existing, "state": registered.get("state", "LIVE")}:
            self.request("PATCH", f"model_versions/{registered['id']}", json=change)

    def request(self, method: str, path: str, **options: Any) -> dict[str, Any] | None:
        """The object in the response; None for status 404. Raises _AlreadyExists for status 409."""
        response = self._send(method, f"{self._root}/{path}", options)
        if response.status_code == 404:
            return None
        if response.status_code == 409:
            raise _AlreadyExists
        if response.status_code in (401, 403):
            raise UserError(f"{self._url} denies access ({response.status_code}): set {TOKEN} to a valid token")
        try:
            content = response.json() if response.is_success else None
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise UserError(
                f"{self._url} answers {method} {path.partition('/')[0]} with status {response.status_code} and not as "
                f"a model registry: check {URL} and that it is up"
            )
        return content

    def _send(self, method: str, url: str, options: dict[str, Any]) -> httpx.Response:
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_WAIT * attempt)
            try:
                response = self._client.request(method, url, **options)
            except httpx.HTTPError as error:
                reason = type(error).__name__
                continue
            except httpx.InvalidURL as error:
                raise UserError(f"{URL} is not an address: {error}") from error
            if response.status_code < 500 and response.status_code != 429:
                return response
            reason = f"status {response.status_code}"
        raise UserError(f"{self._url} cannot be reached ({reason}, {_TRIES} tries): check that it is up, and {URL}")
