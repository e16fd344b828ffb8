"""Tell a Kubeflow Model Registry of published versions, through its REST API.

CLINADAPT_MODEL_REGISTRY_URL     its address; where it is not set, nobody is told
CLINADAPT_MODEL_REGISTRY_TOKEN   a bearer token, where it asks for one

Registered model = adapter, model version = version, model artifact = the version's URI in the store. The store decides;
this is a copy for those who look there, and telling it again changes nothing. Its own client (PyPI model-registry) is
not used: it refuses a version that exists, so that what was cut half-way can never be completed, wants a token wherever
there is TLS, and brings ten packages along. The tests hold this module to its models.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from typing import Any

import httpx

from clinadapt.errors import UserError
from clinadapt.registry.adapters import published_recipe
from clinadapt.registry.champion import champion
from clinadapt.registry.versions import read_version
from clinadapt.storage.object_store import Store

URL, TOKEN = "CLINADAPT_MODEL_REGISTRY_URL", "CLINADAPT_MODEL_REGISTRY_TOKEN"
_API = ("v1", "v1alpha3")  # what servers of 2026 speak, and those before them; the same objects
_TIMEOUT = 10  # seconds
_TRIES = 3  # of a request that finds nobody or a server in trouble
_WAIT = 1.0  # seconds before the second try, twice that before the third
_FACTS = ("base_model", "base_digest", "dataset_digest", "splits_digest", "settings_digest", "code_version")


def tell(store: Store, name: str, version: str, log: Callable[[str], None]) -> dict[str, str]:
    """Register a published version where an address is given, and say what came of it: nothing that befalls the model
    registry undoes or fails a publication. Return the same as a fact for a step's record."""
    if not os.environ.get(URL):
        return {}
    try:
        register(store, name, version)
        told = f"{name}/{version} is registered in the model registry"
    except UserError as error:
        told = (
            f"{name}/{version} stands in the store and is not registered in the model registry: {error}; then "
            f"clinadapt registry register {name}/{version}"
        )
    log(told)
    return {"model_registry": told}


def register(store: Store, name: str, version: str) -> None:
    """Tell of a version and of the adapter's champion; what is known already stays, what is missing is added.

    Raises:
        UserError: there is no such version, no address, nobody answers there, or not as a model registry does.
    """
    manifest, uri = read_version(store, name, version), f"{store.uri}/adapters/{name}/{version}"
    recipe = published_recipe(f"{name}/{version}", store.uri)
    facts: dict[str, str | float] = {fact: manifest[fact] for fact in _FACTS}
    facts |= {"recipe": recipe, "run_key": version, **_metrics(manifest["metrics"])}
    with _Server() as server:
        model = server.known("registered_model", {"name": name}, "registered_models", {"name": name})
        body = {"name": version, "registeredModelId": model["id"], "author": manifest["by"]}
        of_model = {"name": version, "parentResourceId": model["id"]}
        known = server.known("model_version", of_model, "model_versions", body | _custom(facts))
        body = {"artifactType": "model-artifact", "name": name, "uri": uri, "modelFormatName": "peft"}
        of_version = {"name": name, "parentResourceId": known["id"]}
        artifact = server.known("model_artifact", of_version, f"model_versions/{known['id']}/artifacts", body)
        if artifact["uri"] != uri:
            changed = {"artifactType": "model-artifact", "uri": uri}
            server.ask("PATCH", f"model_artifacts/{artifact['id']}", json=changed)
        answers = _custom({"champion": (champion(store, name) or ("none",))[0]})["customProperties"]
        before = model.get("customProperties") or {}
        if before | answers != before:  # a map that is sent replaces the one that is there
            server.ask("PATCH", f"registered_models/{model['id']}", json={"customProperties": before | answers})


def _metrics(metrics: dict[str, dict[str, float]]) -> dict[str, float]:
    """accuracy, accuracy_low, accuracy_high, ...: values with the ends of their 95 % intervals."""
    flat = {
        name if part == "value" else f"{name}_{part}": float(entry[part])
        for name, entry in metrics.items()
        for part in ("value", "low", "high")
    }
    return {name: value for name, value in flat.items() if math.isfinite(value)}


def _custom(facts: dict[str, Any]) -> dict[str, Any]:
    """Custom properties as the API spells them."""
    return {
        "customProperties": {
            name: {"double_value": value, "metadataType": "MetadataDoubleValue"}
            if isinstance(value, float)
            else {"string_value": value, "metadataType": "MetadataStringValue"}
            for name, value in facts.items()
        }
    }


class _Taken(Exception):
    """Another one was faster."""


class _Server:
    """The model registry at the address. Every method raises UserError as `register`."""

    def __init__(self) -> None:
        self._url = os.environ.get(URL, "").rstrip("/")
        token = os.environ.get(TOKEN, "").strip()
        if not self._url.startswith(("http://", "https://")):
            raise UserError(f"{URL} is no address: set it to the model registry's, http://host:port or https://host")
        if not (token.isascii() and token.isprintable()):
            raise UserError(f"{TOKEN} holds characters that no token has: set it anew")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(headers=headers, timeout=_TIMEOUT)  # follows no redirect: it would carry the token
        self._root = ""

    def __enter__(self) -> _Server:
        for version in _API:
            self._root = f"{self._url}/api/model_registry/{version}"
            if self.ask("GET", "registered_models", params={"pageSize": "1"}) is not None:
                return self
        raise UserError(f"{self._url} is no model registry (404): check {URL}")

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def known(self, kind: str, named: dict[str, str], place: str, body: dict[str, Any]) -> dict[str, Any]:
        """The object of that kind and name; made where there is none."""
        found = self.ask("GET", kind, params=named)
        if found is None:
            try:
                found = self.ask("POST", place, json=body)
            except _Taken:
                found = self.ask("GET", kind, params=named)
        if found is None:
            raise UserError(f"{self._url} neither has nor takes a {kind.replace('_', ' ')}: run again")
        return found

    def ask(self, method: str, path: str, **what: Any) -> dict[str, Any] | None:
        """The answer's object; None where there is none of that name. Raises _Taken where there is one already."""
        response = self._answer(method, f"{self._root}/{path}", what)
        if response.status_code == 404:
            return None
        if response.status_code == 409:
            raise _Taken
        if response.status_code in (401, 403):
            raise UserError(f"{self._url} does not let us in ({response.status_code}): set {TOKEN} to a token that may")
        try:
            found = response.json() if response.is_success else None
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise UserError(
                f"{self._url} answers {method} {path.partition('/')[0]} with status {response.status_code} and not as "
                f"a model registry: check {URL} and that it is up"
            )
        return found

    def _answer(self, method: str, url: str, what: dict[str, Any]) -> httpx.Response:
        for tried in range(_TRIES):
            if tried:
                time.sleep(_WAIT * tried)
            try:
                response = self._client.request(method, url, **what)
            except httpx.HTTPError as error:
                why = type(error).__name__
                continue
            except httpx.InvalidURL as error:
                raise UserError(f"{URL} is no address: {error}") from error
            if response.status_code < 500 and response.status_code != 429:
                return response
            why = f"status {response.status_code}"
        raise UserError(f"{self._url} cannot be reached ({why}, {_TRIES} tries): see that it is up, and check {URL}")
