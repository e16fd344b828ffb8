"""Runs in an MLflow tracking server, through its REST API.

KFP_MLFLOW_CONFIG     JSON with endpoint, experimentId, parentRunId, authType and workspace. Kubeflow Pipelines sets it
                      in every step where its plugin for MLflow is on, `clinadapt run` where MLFLOW_TRACKING_URI is set
MLFLOW_TRACKING_URI   address of the server, for `clinadapt run`
MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, if it requires them

The gate writes verdict, figures and report to the run. The scalars of the steps are in nested runs: on a cluster by the
launcher of Kubeflow Pipelines, of a local run by `end_run`. A server that does not answer is logged and stops nothing.
The official client is not used: it needs another pyarrow than we do.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from clinadapt.artifacts.run_summary import Records
from clinadapt.artifacts.step_record import log
from clinadapt.errors import UserError
from clinadapt.registry.kubeflow_model_registry import flat_metrics

CONFIG, URI = "KFP_MLFLOW_CONFIG", "MLFLOW_TRACKING_URI"
_TOKEN, _USER, _PASSWORD = "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_ARTIFACTS = "mlflow-artifacts:"  # scheme of a run whose artifacts go through the server
_TIMEOUT = 10  # seconds
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
        _logged("mlflow", lambda: _end(state, records))
        del os.environ[CONFIG]


def _end(state: str, records: Records) -> None:
    with _Server.of_step() as server:
        for step, record in records.items():
            start = int(datetime.fromisoformat(record["started"]).timestamp() * 1000)
            nested = server.create_run(server.experiment, step, start, {"mlflow.parentRunId": server.run_id})
            numbers = {k: v for k, v in record["outputs"].items() if isinstance(v, int | float)}
            server.log(nested, {name: float(value) for name, value in numbers.items()}, {})
            end = start + int(1000 * record.get("duration_seconds", 0))
            server.end_run(nested, "FINISHED" if record["state"] == "done" else "FAILED", end)
        server.end_run(server.run_id, STATUS.get(state, "FAILED"), _now())


def _logged(step: str, call: Callable[[], None]) -> None:
    try:
        call()
    except UserError as error:
        log(step, f"not logged to MLflow: {error}")
    except (KeyError, TypeError, AttributeError):
        log(step, "not logged to MLflow: its answer is not that of a tracking server, check its address")


def _now() -> int:
    return int(datetime.now().timestamp() * 1000)


class _Server:
    """A tracking server, as CONFIG names it. Every method raises UserError."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._url = str(config.get("endpoint", "")).rstrip("/")
        if not self._url.startswith(("http://", "https://")):
            raise UserError("its address is not http:// or https://, a tracking server is needed")
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
            config = json.loads(os.environ[CONFIG])
            return cls({**config})
        except (ValueError, TypeError) as error:
            raise UserError(f"{CONFIG} is not what Kubeflow Pipelines writes") from error

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
            return dict(response.json())
        except (ValueError, TypeError) as error:
            raise UserError(f"{self._url} does not answer as MLflow: check its address") from error

    def _send(self, method: str, path: str, missing: bool = False, **options: Any) -> httpx.Response:
        try:
            response = self._client.request(method, f"{self._url}/api/2.0/{path}", **options)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UserError(f"{self._url} cannot be reached ({type(error).__name__})") from error
        if not (response.is_success or (missing and response.status_code == 404)):
            raise UserError(f"{self._url} answers {method} {path.partition('?')[0]} with {response.status_code}")
        return response


def _token(config: dict[str, Any]) -> str:
    """Bearer token, of the environment or of the pod's service account; empty where none is wanted."""
    if config.get("authType") == "kubernetes" and _SERVICE_ACCOUNT.is_file():
        return _SERVICE_ACCOUNT.read_text(encoding="utf-8").strip()
    return os.environ.get(_TOKEN, "").strip()


def _pairs(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]
