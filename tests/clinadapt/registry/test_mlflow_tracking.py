"""What a run leaves in MLflow: a real `mlflow server`, from an environment of its own (it needs another pyarrow), named
by CLINADAPT_TEST_MLFLOW or on the PATH; and what happens without one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from ports import free_ports

from clinadapt.config.steps import Step
from clinadapt.registry import mlflow_tracking
from clinadapt.registry.mlflow_tracking import CONFIG, URI, end_run, experiment_name, log_verdict, start_run
from pipelines.cli.main import main

VERDICT = {
    "decision": "fail",
    "sentence": "Failed the gate.",
    "version": "1a2b",
    "metrics": {"accuracy": {"value": 0.7, "low": 0.6, "high": 0.8}},
}
RECORDS: dict[Step, dict[str, Any]] = {
    "download": {"started": "2026-03-01T09:00:00Z", "state": "done", "duration_seconds": 2.5,
                 "outputs": {"rows_read": 40, "digest": "sha256:x"}},
    "train": {"started": "2026-03-01T09:00:03Z", "state": "running", "outputs": {}},
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if (command := os.environ.get("CLINADAPT_TEST_MLFLOW") or shutil.which("mlflow")) is None:
        pytest.skip("no mlflow: pip install mlflow into an environment of its own, and name it CLINADAPT_TEST_MLFLOW")
    folder, port = tmp_path_factory.mktemp("mlflow"), free_ports()
    options = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")]
    options += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # half a dozen processes that nothing here uses
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen([command, "server", *options], stdout=log, stderr=log, env=environment, cwd=folder)
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(600):
            try:
                if httpx.get(f"{address}/health", timeout=5).is_success:
                    break
            except httpx.HTTPError:
                assert process.poll() is None, (folder / "log.txt").read_text()
                time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (CONFIG, URI):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def runs(server: str, adapter: str) -> list[dict[str, Any]]:
    """The runs of an adapter's experiment."""
    api = f"{server}/api/2.0/mlflow"
    found = httpx.get(f"{api}/experiments/get-by-name", params={"experiment_name": experiment_name(adapter)}).json()
    body = {"experiment_ids": [found["experiment"]["experiment_id"]]}
    return list(httpx.post(f"{api}/runs/search", json=body).json()["runs"])


def by_key(entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {entry["key"]: entry["value"] for entry in entries}


def test_a_run_its_verdict_and_its_steps(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text("<h1>Report</h1>")
    monkeypatch.setenv(URI, f"{server}/")
    for name in ("run-1", "run-2"):  # the experiment is made once
        start_run(name, "specialty")
        config = json.loads(os.environ[CONFIG])
        log_verdict(VERDICT, report, f"s3://clinadapt/runs/{name}/report.html")
        end_run("FAILED", RECORDS)
        assert CONFIG not in os.environ
    listed = {run["info"]["run_id"]: run for run in runs(server, "specialty")}
    parent = listed[config["parentRunId"]]
    assert len(listed) == 6 and parent["info"]["run_name"] == "run-2" and parent["info"]["status"] == "FAILED"
    assert by_key(parent["data"]["metrics"]) == {"accuracy": 0.7, "accuracy_low": 0.6, "accuracy_high": 0.8}
    tags = by_key(parent["data"]["tags"])
    wanted = {"decision": "fail", "sentence": "Failed the gate.", "version": "1a2b",
              "report": "s3://clinadapt/runs/run-2/report.html"}  # fmt: skip
    assert {f"clinadapt.{key}": value for key, value in wanted.items()}.items() <= tags.items()
    answer = httpx.get(f"{server}/get-artifact", params={"run_id": config["parentRunId"], "path": "report.html"})
    assert answer.text == report.read_text()
    nested = {run["info"]["run_name"]: run for run in listed.values()
              if by_key(run["data"]["tags"]).get("mlflow.parentRunId") == config["parentRunId"]}  # fmt: skip
    assert {name: run["info"]["status"] for name, run in nested.items()} == {"download": "FINISHED", "train": "FAILED"}
    assert by_key(nested["download"]["data"]["metrics"]) == {"rows_read": 40}
    assert int(nested["download"]["info"]["end_time"]) - int(nested["download"]["info"]["start_time"]) == 2500


def test_a_local_run_that_fails(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(URI, server)
    monkeypatch.chdir(tmp_path)
    missing = (tmp_path / "missing.csv").as_uri()
    monkeypatch.setattr("sys.argv", ["clinadapt", "run", "classify", missing, "--profile", "cpu-demo"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    states = {run["info"]["run_name"]: run["info"]["status"] for run in runs(server, "demo-specialty")}
    (parent,) = (name for name in states if name.startswith("classify-cpu-demo-"))
    assert states == {parent: "FAILED", "preflight": "FAILED", "summarise": "FINISHED"}


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ('{"endpoint": "http://127.0.0.1:9", "parentRunId": "1"}', "cannot be reached (ConnectError)"),
        ('{"endpoint": "sqlite:///x.db"}', "its address is not http://"),
        ("[", "is not what Kubeflow Pipelines writes"),
        ("[1]", "is not what Kubeflow Pipelines writes"),
        ("{}", "its address is not http://"),
        ("[" * 100_000, "is not what Kubeflow Pipelines writes"),
        (json.dumps({"endpoint": f"http://{'a' * 70}.example"}), "cannot be reached (UnicodeError)"),
        ('{"endpoint": "http://127.0.0.1:99999"}', "cannot be reached (ConnectError)"),
        ('{"endpoint": "http://127.0.0.1:9", "workspace": "\\ud800"}', "UnicodeEncodeError, check its address"),
    ],
)
def test_without_a_server_the_gate_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, config: str, reason: str
) -> None:
    monkeypatch.setenv(CONFIG, config)
    log_verdict(VERDICT, tmp_path / "report.html", "file:///report.html")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("clinadapt | gate | not logged to MLflow: ") and reason in line


def test_nothing_is_asked_for_where_nothing_is_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start_run("run", "specialty")
    log_verdict(VERDICT, tmp_path / "missing", "")
    end_run("SUCCEEDED", RECORDS)
    assert CONFIG not in os.environ and capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "address",
    [
        "http://alice:s3cr3t@127.0.0.1:9",
        "https://s3cr3t@127.0.0.1:9/mlflow",
        "http://127.0.0.1:9/?token=s3cr3t",
        "http://127.0.0.1:9?a=1;token=s3cr3t",
        "http://127.0.0.1:9/#access_token=s3cr3t",
        "http://alice:s3/cr3t@127.0.0.1:9",
        "http:///alice:s3cr3t@127.0.0.1:9",
        "http://alice:s3cr3t@[127.0.0.1",
        "alice:s3cr3t@127.0.0.1:9",
    ],
)
def test_an_address_with_credentials_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, address: str
) -> None:
    monkeypatch.setenv(URI, address)
    start_run("run", "specialty")
    assert CONFIG not in os.environ
    monkeypatch.setenv(CONFIG, json.dumps({"endpoint": address, "parentRunId": "1"}))
    log_verdict(VERDICT, tmp_path / "report.html", "file:///report.html")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert "not logged to MLflow" in line and "cr3t" not in line and "alice" not in line
        assert "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or in MLFLOW_TRACKING_TOKEN" in line


def test_a_token_that_no_header_holds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv(CONFIG, '{"endpoint": "http://127.0.0.1:9", "parentRunId": "1"}')
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "s3cr3té")
    log_verdict(VERDICT, tmp_path / "report.html", "file:///report.html")
    (line,) = capsys.readouterr().err.splitlines()
    assert "MLFLOW_TRACKING_TOKEN contains characters that are not allowed" in line and "s3cr3t" not in line


class Odd(ThreadingHTTPServer):
    """Answers every request with `answer`, or with status 400 where its path ends with `refused`; byte by byte where
    `drips`, until `stopped`."""

    answer, refused, drips = b'{"run": {"info": {"run_id": "nested"}}}', "nothing", False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.stopped = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: Odd

    def do_POST(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path.rpartition("mlflow/")[2], content))
        self.send_response(400 if self.path.endswith(self.server.refused) else 200)
        if self.server.drips:
            self.flush_headers()
            for _ in range(60):  # of a header without an end
                self.wfile.write(b"X")
                if self.server.stopped.wait(0.1):
                    return
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> Iterator[Odd]:
    """A server that refuses, drips or answers something else, which `mlflow server` does not on demand."""
    with Odd() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        config = {"endpoint": f"http://127.0.0.1:{server.server_port}", "experimentId": "1", "parentRunId": "parent"}
        monkeypatch.setenv(CONFIG, json.dumps(config))
        yield server
        server.stopped.set()
        server.shutdown()


def test_numbers_that_json_does_not_hold_are_left_out(odd: Odd, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = {"nan": float("nan"), "inf": float("inf"), "huge": 10**400, "rows": 3, "share": 0.5, "name": "x"}
    end_run("SUCCEEDED", {"evaluate": RECORDS["download"] | {"outputs": outputs}})
    (metrics,) = (content["metrics"] for path, content in odd.requests if path == "runs/log-batch")
    assert by_key(metrics) == {"rows": 3, "share": 0.5} and capsys.readouterr().err == ""


@pytest.mark.parametrize("refused", ["runs/create", "runs/log-batch"])
def test_runs_end_where_the_server_refuses_a_step(odd: Odd, capsys: pytest.CaptureFixture[str], refused: str) -> None:
    odd.refused = refused
    end_run("SUCCEEDED", RECORDS)
    ended = {content["run_id"]: content["status"] for path, content in odd.requests if path == "runs/update"}
    assert ended == {"parent": "FINISHED"} | ({"nested": "FINISHED"} if refused == "runs/log-batch" else {})
    (line,) = capsys.readouterr().err.splitlines()
    assert f"answers POST mlflow/{refused} with 400" in line and CONFIG not in os.environ


def test_a_run_ends_where_a_record_is_broken(odd: Odd, capsys: pytest.CaptureFixture[str]) -> None:
    end_run("SUCCEEDED", {"download": {"started": "yesterday", "state": "done", "outputs": {}}})
    assert [path for path, _ in odd.requests] == ["runs/update"]
    (line,) = capsys.readouterr().err.splitlines()
    assert "not logged to MLflow: ValueError, check" in line


def test_an_answer_nested_too_deeply(odd: Odd, capsys: pytest.CaptureFixture[str]) -> None:
    odd.answer = b"[" * 100_000
    end_run("SUCCEEDED", RECORDS)
    (line,) = capsys.readouterr().err.splitlines()
    assert "does not answer as MLflow" in line and CONFIG not in os.environ


def test_a_server_that_drips(
    odd: Odd, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(mlflow_tracking, "_LIMIT", 1)
    odd.drips = True
    log_verdict(VERDICT, tmp_path / "report.html", "file:///report.html")
    (line,) = capsys.readouterr().err.splitlines()
    assert "has not answered completely within 1 s" in line
    assert [path for path, _ in odd.requests] == ["runs/log-batch"]
