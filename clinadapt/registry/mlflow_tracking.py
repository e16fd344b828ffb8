"""Runs in an MLflow tracking server, through its REST API.

KFP_MLFLOW_CONFIG     JSON with endpoint, experimentId, parentRunId, authType and workspace. Kubeflow Pipelines sets it
                      in every step where its plugin for MLflow is on, `clinadapt run` where MLFLOW_TRACKING_URI is set
MLFLOW_TRACKING_URI   address of the server without credentials, for `clinadapt run`
MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, if it requires them

The gate writes verdict, figures and report to the run. The scalars of the steps are in nested runs: on a cluster by the
launcher of Kubeflow Pipelines, of a local run by `end_run`. Whatever goes wrong, an address with credentials among it,
is one log line and stops nothing. The official client is not used: it needs another pyarrow than we do.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from clinadapt.artifacts.hashing import parse_json
from clinadapt.artifacts.run_summary import Records
from clinadapt.artifacts.step_record import log
from clinadapt.config.uri_credentials import CredentialsInUri, refuse_credentials
from clinadapt.errors import UserError
from clinadapt.registry.kubeflow_model_registry import finite_numbers, flat_metrics

CONFIG, URI = "KFP_MLFLOW_CONFIG", "MLFLOW_TRACKING_URI"
_TOKEN, _USER, _PASSWORD = "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_ARTIFACTS = "mlflow-artifacts:"  # scheme of a run whose artifacts go through the server
_ADDRESS = re.compile(r"(https?://(?:[\w.-]+|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?)(?:/[\w./~-]*)?")
_TIMEOUT = 10  # seconds without an answer
_LIMIT = 60  # seconds for all that is written at once, however slowly the server answers
STATUS = {"SUCCEEDED": "FINISHED", "CANCELLED": "KILLED"}  # of MLflow; FAILED for all other states


def experiment_name(adapter: str) -> str:
    """Name of the experiment with the runs of an adapter."""
    return f"clinadapt/{adapter}"


def log_verdict(verdict: dict[str, Any], report: Path, report_uri: str) -> None:
    """Write the gate's verdict to the run in CONFIG; nothing where it is not set.

    Args:
        verdict: outputs of the gate: decision, sentence, version and metrics.
        report: HTML without text of notes; uploaded where artifacts go through the server.
        report_uri: of the report in our store.
    """
    if os.environ.get(CONFIG):
        _logged("gate", lambda: _write_verdict(verdict, report, report_uri))


def _write_verdict(verdict: dict[str, Any], report: Path, report_uri: str) -> None:
    with _Server.of_step() as server:
        tags = {f"clinadapt.{name}": str(verdict[name]) for name in ("decision", "sentence", "version")}
        tags |= {"clinadapt.report": report_uri, "mlflow.note.content": f"{verdict['sentence']}\n\n{report_uri}"}
        server.log(server.run_id, flat_metrics(verdict["metrics"]), tags)
        server.upload(report, "report.html")


def start_run(name: str, adapter: str) -> None:
    """Start the run of a local pipeline and put it into CONFIG, for its steps; nothing where URI is not set."""
    if os.environ.get(URI):
        _logged("mlflow", lambda: _start(name, adapter))


def _start(name: str, adapter: str) -> None:
    with _Server({"endpoint": os.environ[URI]}) as server:
        identifier = server.experiment_id(experiment_name(adapter))
        run_id = server.create_run(identifier, name, _now(), {})
    os.environ[CONFIG] = json.dumps({"endpoint": os.environ[URI], "experimentId": identifier, "parentRunId": run_id})


def end_run(state: str, records: Records) -> None:
    """End the run that `start_run` started, with a nested run for each step; nothing where there is none.

    Args:
        state: SUCCEEDED, CANCELLED or FAILED, of the pipeline.
        records: of its steps.
    """
    if os.environ.get(CONFIG):
        try:
            _logged("mlflow", lambda: _end(state, records))
        finally:
            del os.environ[CONFIG]


def _end(state: str, records: Records) -> None:
    with _Server.of_step() as server:
        server.end_run(
            server.run_id, STATUS.get(state, "FAILED"), _now()
        )  # first: it ends whatever becomes of the rest
        for step, record in records.items():
            _log_step(server, step, record)


def _log_step(server: _Server, step: str, record: dict[str, Any]) -> None:
    """Write a step's times and numbers to a nested run, which ends even where the server refuses the numbers."""
    start = int(datetime.fromisoformat(record["started"]).timestamp() * 1000)
    end = start + int(1000 * record.get("duration_seconds", 0))
    nested = server.create_run(server.experiment, step, start, {"mlflow.parentRunId": server.run_id})
    try:
        numbers = {name: value for name, value in record["outputs"].items() if isinstance(value, int | float)}
        server.log(nested, finite_numbers(numbers), {})
    finally:
        server.end_run(nested, "FINISHED" if record["state"] == "done" else "FAILED", end)


def _logged(step: str, call: Callable[[], None]) -> None:
    """Call for at most _LIMIT seconds, and log what goes wrong."""
    problems: list[str] = []

    def attempt() -> None:
        try:
            call()
        except UserError as error:
            problems.append(str(error))
        except Exception as error:  # a server may answer anything, and the run has its result by now
            problems.append(f"{type(error).__name__}, check its address and that it is a tracking server")

    # httpx limits each wait, not their sum, and a host name can be looked up for as long as the resolver likes
    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(_LIMIT)
    if thread.is_alive():
        problems.append(f"it has not answered completely within {_LIMIT} s, check that it is up")
    for problem in problems[:1]:
        log(step, f"not logged to MLflow: {problem}")


def _now() -> int:
    return int(datetime.now().timestamp() * 1000)


class _Server:
    """A tracking server, as CONFIG names it. Every method raises UserError. Messages show host and port alone."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._deadline = time.monotonic() + _LIMIT
        self._url = str(config.get("endpoint", "")).rstrip("/")
        self._host = _checked_host(self._url)
        self.experiment, self.run_id = str(config.get("experimentId", "")), str(config.get("parentRunId", ""))
        headers, auth = {}, None
        if token := _token(config):
            headers["Authorization"] = f"Bearer {token}"
        elif os.environ.get(_USER):
            auth = (os.environ[_USER], os.environ.get(_PASSWORD, ""))
        if workspace := config.get("workspace"):
            headers["X-MLFLOW-WORKSPACE"] = str(workspace)
        self._client = httpx.Client(headers=headers, auth=auth, timeout=_TIMEOUT)  # no redirects: they leak the token

    @classmethod
    def of_step(cls) -> _Server:
        try:
            config = {**parse_json(os.environ[CONFIG])}
        except (ValueError, TypeError) as error:
            raise UserError(f"{CONFIG} is not what Kubeflow Pipelines writes") from error
        return cls(config)

    def __enter__(self) -> _Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def experiment_id(self, name: str) -> str:
        """Id of an experiment, created if missing."""
        found = self._call("GET", "experiments/get-by-name", missing=True, params={"experiment_name": name})
        if found is None:
            return str(self._call("POST", "experiments/create", json={"name": name})["experiment_id"])  # type: ignore[index]
        return str(found["experiment"]["experiment_id"])

    def create_run(self, experiment: str, name: str, start: int, tags: dict[str, str]) -> str:
        """Id of a new run; `start` in milliseconds of Unix time."""
        body = {"experiment_id": experiment, "run_name": name, "start_time": start, "tags": _pairs(tags)}
        return str(self._call("POST", "runs/create", json=body)["run"]["info"]["run_id"])  # type: ignore[index]

    def log(self, run_id: str, metrics: dict[str, float], tags: dict[str, str]) -> None:
        now = _now()
        entries = [{"key": k, "value": value, "timestamp": now, "step": 0} for k, value in metrics.items()]
        self._call("POST", "runs/log-batch", json={"run_id": run_id, "metrics": entries, "tags": _pairs(tags)})

    def end_run(self, run_id: str, status: str, end: int) -> None:
        self._call("POST", "runs/update", json={"run_id": run_id, "status": status, "end_time": end})

    def upload(self, path: Path, name: str) -> None:
        """Upload a file to the run of CONFIG, where artifacts go through the server."""
        run = self._call("GET", "runs/get", params={"run_id": self.run_id})
        uri = str(run["run"]["info"].get("artifact_uri", ""))  # type: ignore[index]
        if uri.startswith(_ARTIFACTS):
            folder = httpx.URL(uri).path.strip("/")
            self._send("PUT", f"mlflow-artifacts/artifacts/{folder}/{name}", content=path.read_bytes())

    def _call(self, method: str, path: str, missing: bool = False, **options: Any) -> dict[str, Any] | None:
        """The object in the response; None for status 404 where `missing` allows it."""
        response = self._send(method, f"mlflow/{path}", missing, **options)
        if response.status_code == 404:
            return None
        try:
            return dict(parse_json(response.content))
        except (ValueError, TypeError) as error:
            raise UserError(f"{self._host} does not answer as MLflow: check its address") from error

    def _send(self, method: str, path: str, missing: bool = False, **options: Any) -> httpx.Response:
        if time.monotonic() > self._deadline:  # nobody waits for this any more
            raise UserError(f"{self._host} has not answered completely within {_LIMIT} s")
        try:
            response = self._client.request(method, f"{self._url}/api/2.0/{path}", **options)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise UserError(f"{self._host} cannot be reached ({type(error).__name__})") from error
        if not (response.is_success or (missing and response.status_code == 404)):
            raise UserError(f"{self._host} answers {method} {path.partition('?')[0]} with {response.status_code}")
        return response


def _checked_host(url: str) -> str:
    """The part of an address that messages show: scheme, host and port. Raises UserError, which shows nothing of it."""
    try:
        match = _ADDRESS.fullmatch(refuse_credentials(url))
        reason = "" if match else "its address is not http://host:port or https://host:port/path"
    except CredentialsInUri as error:
        match, reason = None, str(error).partition(": ")[0]
    if match is None:
        raise UserError(f"{reason}: correct it; credentials belong in {_USER} and {_PASSWORD}, or in {_TOKEN}")
    return match[1]


def _token(config: dict[str, Any]) -> str:
    """Bearer token, of the environment or of the pod's service account; empty where none is wanted."""
    if config.get("authType") == "kubernetes" and _SERVICE_ACCOUNT.is_file():
        return _SERVICE_ACCOUNT.read_text(encoding="utf-8").strip()
    token = os.environ.get(_TOKEN, "").strip()
    if not (token.isascii() and token.isprintable()):
        raise UserError(f"{_TOKEN} contains characters that are not allowed in a token: set it again")
    return token


def _pairs(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]
