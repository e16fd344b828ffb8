"""The numbers for Prometheus, read with Prometheus' own parser, and the dashboard that shows them."""

from __future__ import annotations

import calendar
import json
import re
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support import ROOT
from typer.testing import CliRunner

from clinadapt.artifacts.hashing import to_json
from clinadapt.artifacts.manifest import write_manifest
from clinadapt.artifacts.run_summary import summarise
from clinadapt.registry.champion import history, promote
from clinadapt.registry.metrics import StoreMetrics, exposition, serve
from clinadapt.storage import open_store
from clinadapt.storage.object_store import Store
from pipelines.cli.main import app

DASHBOARD = ROOT / "manifests/components/metrics/dashboard.json"
NOTE = "Emilia Sandoval has a cough"
ACCURACY = {"accuracy": {"value": 0.7, "low": 0.6, "high": 0.8, "clusters": 40}}
Samples = dict[tuple[str, ...], float]


def record(started: str = "2026-03-01T09:00:00Z", state: str = "done", seconds: float = 10, **outputs: Any) -> Any:
    times = {"duration_seconds": seconds, "peak_memory_bytes": 1000} if state != "running" else {}
    return {"started": started, "state": state, "exit_status": 0, "outputs": outputs, **times}


def summary(store: Store, name: str, reported: str = "SUCCEEDED", **records: Any) -> None:
    content = summarise(name, reported, records, store.uri)
    store.put(f"runs/{name}/summary.json", json.dumps(content).encode())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Five runs of two adapters, and the champion of one."""
    store = open_store((tmp_path / "store").as_uri())
    preflight = record(adapter_name="specialty")
    gate = {"metrics": ACCURACY, "sentence": NOTE}
    publish = record("2026-03-01T09:05:00Z", seconds=30.5)
    summary(store, "a", preflight=preflight, gate=record(decision="pass", **gate), publish=publish)
    later = {"value": 0.5, "low": 0.4, "high": 0.6}
    refused = record("2026-03-02T09:00:00Z", decision="fail", sentence=NOTE, metrics={"accuracy": later})
    summary(store, "b", preflight=record("2026-03-02T08:00:00Z", adapter_name="specialty"), gate=refused)
    lost = {"preflight": record("2026-03-03T08:00:00Z", adapter_name="specialty"), "train": record(state="running")}
    summary(store, "c", "RUNNING", **lost)
    summary(store, "d", "FAILED")
    store.put("runs/e/preflight.json", json.dumps(record(state="running", adapter_name="answers")).encode())
    store.put("runs/a/report.html", NOTE.encode())
    publish_version(store, tmp_path / "version")
    check = {"format": 1, "when": "2026-03-05T06:00:00Z", "answers": 512, "psi": {"label": 0.31, "language": 0.002}}
    store.put("monitoring/specialty/1a/check.json", json.dumps(check | {"moved": ["label"]}).encode())
    return store


def publish_version(store: Store, folder: Path) -> None:
    folder.mkdir()
    digests = ("base_digest", "splits_digest", "settings_digest")
    fields = {"name": "specialty", "version": "1a", "settings": {}, "metrics": ACCURACY, "base_model": "builtin://m"}
    fields |= {"code_version": "1", "created": "2026-03-01T09:05:30Z", "published_by": NOTE}
    manifest = write_manifest(folder, fields | dict.fromkeys(digests, "sha256:x"))
    store.put("adapters/specialty/1a/manifest.json", to_json(manifest).encode())
    promote(store, "specialty", "1a", "", {})


def samples(text: str) -> Samples:
    """(name, label values) -> value, as Prometheus reads it."""
    families = list(text_string_to_metric_families(text))
    assert all(family.type == "gauge" and family.documentation for family in families)
    read = [((s.name, *(s.labels[key] for key in sorted(s.labels))), s.value) for f in families for s in f.samples]
    assert len(dict(read)) == len(read), "a sample twice"
    return dict(read)


def test_the_values(store: Store) -> None:
    read = samples(exposition(store))
    runs = {key[1:]: value for key, value in read.items() if key[0] == "clinadapt_runs"}
    assert runs == {
        ("specialty", "published"): 1,
        ("specialty", "refused"): 1,
        ("specialty", "failed"): 1,
        ("unknown", "failed"): 1,
        ("answers", "unfinished"): 1,
    }
    nine = 1772355600  # 2026-03-01T09:00:00Z
    assert read["clinadapt_last_run_timestamp_seconds", "specialty", "published"] == nine + 300 + 30.5
    assert read["clinadapt_last_run_timestamp_seconds", "specialty", "refused"] == nine + 86400 + 10
    assert read["clinadapt_last_run_duration_seconds", "specialty"] == pytest.approx(2 * 86400 - 3600 + 10)
    assert read["clinadapt_last_run_step_duration_seconds", "specialty", "preflight"] == 10
    assert read["clinadapt_last_run_step_peak_memory_bytes", "specialty", "preflight"] == 1000
    assert ("clinadapt_last_run_step_duration_seconds", "specialty", "train") not in read  # it was lost
    assert read["clinadapt_last_gate_passed", "specialty"] == 0
    assert read["clinadapt_last_gate_metric", "specialty", "low", "accuracy"] == 0.4
    assert read["clinadapt_champion_metric", "specialty", "high", "accuracy"] == 0.8
    assert read["clinadapt_published_versions", "specialty"] == read["clinadapt_champion_readable", "specialty"] == 1
    when = history(store, "specialty")[-1]["when"]
    assert read["clinadapt_champion_timestamp_seconds", "specialty"] == calendar.timegm(
        time.strptime(when, "%Y-%m-%dT%H:%M:%SZ")
    )
    assert (read[("clinadapt_store_up",)], read[("clinadapt_unreadable_runs",)]) == (1, 0)


def test_the_last_check_of_the_champion(store: Store) -> None:
    check = json.loads(store.get("monitoring/specialty/1a/check.json")[0])
    store.put("runs/watch/monitor.json", json.dumps(record(sentence=NOTE)).encode())
    read = samples(exposition(store))
    assert read["clinadapt_monitoring_psi", "specialty", "label"] == 0.31
    assert read["clinadapt_monitoring_moved", "specialty", "label"] == 1
    assert read["clinadapt_monitoring_moved", "specialty", "language"] == 0
    assert read["clinadapt_monitoring_answers", "specialty"] == 512
    assert read["clinadapt_monitoring_check_timestamp_seconds", "specialty"] == 1772690400
    assert not any("monitor" in key[0] and NOTE in key for key in read)
    unfinished = sum(value for key, value in read.items() if key[0] == "clinadapt_runs" and "unfinished" in key)
    assert unfinished == 1, "a check is no run that trains"
    for broken in (check | {"psi": {NOTE: 1}}, check | {"psi": {"label": "NaN"}}, check | {"when": "x"}, [], None):
        store.put("monitoring/specialty/1a/check.json", json.dumps(broken).encode())
        text = exposition(store)
        assert (
            NOTE not in text and "clinadapt_monitoring_psi{" not in text and samples(text)["clinadapt_store_up",] == 1
        )


def test_no_text_of_a_record_is_a_value_or_a_label(store: Store) -> None:
    assert NOTE not in exposition(store)


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"state": "done", "steps": {}}',
        b'{"state": "failed", "steps": []}',
        b'{"state": "failed", "steps": {"gate": 1}}',
        b'{"state": "failed", "steps": {"gate": {"started": "yesterday"}}}',
        b'{"state": "failed", "steps": {"gate": {"started": "2026-03-01T09:00:00Z", "outputs": []}}}',
        b'{"state": "failed", "steps": {"gate": {"started": "2026-03-01T09:00:00Z", "duration_seconds": "x"}}}',
        b'{"state": "failed", "steps": {"gate": {"started": "2026-03-01T09:00:00Z", "outputs": {"metrics": 3}}}}',
        b"\xff\xfe",
        b"[" * 100_000,
        *(json.dumps(summarise("x", "FAILED", {"preflight": record(adapter_name=name)}, "")).encode()
          for name in ("\ud800", 'x"\n Mr John Smith', "Mr John Smith", "", 7, ["x"], "a" * 64)),
        *(json.dumps(summarise("x", "FAILED", {"gate": record(metrics={name: {"value": value}})}, "")).encode()
          for name, value in (("Mr John Smith", 1), ("\ud800", 1), ("a" * 65, 1), ("accuracy", 10**400))),
        *(json.dumps(summarise("x", "FAILED", {"gate": record(seconds=seconds)}, "")).encode()
          for seconds in (10**400, float("inf"), float("nan"))),
    ],
)  # fmt: skip
def test_a_broken_summary_is_counted_and_the_others_are_read(store: Store, broken: bytes) -> None:
    store.put("runs/x/summary.json", broken)
    read = samples(exposition(store))
    assert read[("clinadapt_unreadable_runs",)] == 1
    assert read["clinadapt_runs", "specialty", "published"] == 1
    assert not any("Smith" in label for key in read for label in key)


@pytest.mark.parametrize("name", ["\ud800", "Mr John Smith", ""])
def test_a_run_that_is_not_finished_with_a_name_that_is_none(store: Store, name: str) -> None:
    store.put("runs/x/preflight.json", json.dumps(record(state="running", adapter_name=name)).encode())
    assert samples(exposition(store))[("clinadapt_unreadable_runs",)] == 1


def test_a_folder_that_is_no_adapter(store: Store) -> None:
    before = samples(exposition(store))
    for name in ("Mr John Smith", "\udcff", 'x"'):  # the second is a name on disk that is not UTF-8
        store.put(f"adapters/{name}/1a/manifest.json", b"{}")
    assert samples(exposition(store)) == before


@pytest.mark.parametrize("field", ["version", "counter", "history"])
@pytest.mark.parametrize("value", ["\ud800", "\0", 10**400, float("inf")])
def test_a_pointer_with_a_value_that_is_none(store: Store, field: str, value: Any) -> None:
    pointer = {"version": "1a", "history": [], "counter": 1, field: value}
    store.put("adapters/specialty/champion.json", json.dumps(pointer).encode())
    read = samples(exposition(store))
    readable = field == "counter" and isinstance(value, int)
    assert read["clinadapt_champion_readable", "specialty"] == readable


@pytest.mark.parametrize("metrics", [{"Mr John Smith": {"value": 1}}, {"accuracy": {"value": 10**400}}])
def test_a_champion_with_figures_that_are_none(store: Store, tmp_path: Path, metrics: Any) -> None:
    (tmp_path / "other").mkdir()
    fields = json.loads(store.get("adapters/specialty/1a/manifest.json")[0]) | {"metrics": metrics}
    store.put("adapters/specialty/1a/manifest.json", to_json(write_manifest(tmp_path / "other", fields)).encode())
    text = exposition(store)
    assert samples(text)["clinadapt_champion_readable", "specialty"] == 0 and "Smith" not in text


def test_a_champion_that_does_not_verify(store: Store) -> None:
    store.put("adapters/specialty/champion.json", b"{}")
    read = samples(exposition(store))
    assert read["clinadapt_champion_readable", "specialty"] == 0
    assert not any(name.startswith("clinadapt_champion_t") for name, *_ in read)


def test_a_store_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert samples(exposition(open_store("s3://bucket"))) == {("clinadapt_store_up",): 0}


def test_a_summary_is_read_once_and_anew_where_it_changed(store: Store) -> None:
    metrics = StoreMetrics(store)
    read: list[str] = []
    original = store.get
    store.get = lambda key: (read.append(key), original(key))[1]  # type: ignore[method-assign]

    def count() -> float:
        families = {family.name: family for family in metrics.collect()}
        return sum(s.value for s in families["clinadapt_runs"].samples if s.labels["state"] == "failed")

    assert count() == 2 and "runs/d/summary.json" in read
    read.clear()
    assert count() == 2 and not [key for key in read if key.startswith("runs/")]
    summary(store, "d", "SUCCEEDED", lookup=record(decision="known", sentence="nothing new"))
    assert count() == 1 and [key for key in read if key.startswith("runs/")] == ["runs/d/summary.json"]
    store.delete("runs/c/summary.json")
    assert count() == 0


def test_one_scrape_at_a_time(store: Store) -> None:
    metrics, original = StoreMetrics(store), store.entries
    both, met = threading.Barrier(2, timeout=0.5), []

    def entries(prefix: str = "") -> Any:
        try:
            both.wait()
            met.append(prefix)
        except threading.BrokenBarrierError:
            pass
        return original(prefix)

    store.entries = entries  # type: ignore[method-assign]
    threads = [threading.Thread(target=lambda: list(metrics.collect())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not met


def test_it_is_served(store: Store) -> None:
    host, port = serve(store, "127.0.0.1", 0)
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=20) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert samples(answer.read().decode()) == samples(exposition(store))


def test_the_command(store: Store, tmp_path: Path) -> None:
    run = CliRunner().invoke
    printed = run(app, ["metrics", "--store", store.uri])
    assert printed.exit_code == 0 and samples(printed.stdout) == samples(exposition(store))
    file = tmp_path / "clinadapt.prom"
    assert run(app, ["metrics", "--store", store.uri, "-o", str(file)]).exit_code == 0
    assert samples(file.read_text()) == samples(printed.stdout)
    failed = run(app, ["metrics", "--store", store.uri, "-o", str(tmp_path / "missing" / "x.prom")])
    assert "cannot write" in str(failed.exception)
    both = run(app, ["metrics", "--store", store.uri, "-o", str(file), "--port", "0"])
    assert "give either" in str(both.exception)
    taken = serve(store, "127.0.0.1", 0)
    busy = run(app, ["metrics", "--store", store.uri, "--port", str(taken[1])])
    assert "cannot listen" in str(busy.exception)


def test_every_metric_and_label_of_the_dashboard_exists(store: Store) -> None:
    """And the dashboard shows every metric."""
    dashboard = json.loads(DASHBOARD.read_text())
    families = {f.name: f for f in text_string_to_metric_families(exposition(store))}
    labels = {name: {key for s in family.samples for key in s.labels} for name, family in families.items()}
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries = [v["query"]["query"] for v in dashboard["templating"]["list"] if v["type"] == "query"]
    shown = set()
    for expression in expressions + queries:
        for name, selector in re.findall(r"(clinadapt_\w+)(\{[^}]*\})?", expression):
            shown.add(name)
            assert set(re.findall(r"(\w+)=", selector)) <= labels[name], expression
    legends = [(t["expr"], t["legendFormat"]) for panel in dashboard["panels"] for t in panel["targets"]]
    for expression, legend in legends:
        (name,) = re.findall(r"clinadapt_\w+", expression)
        assert set(re.findall(r"{{(\w+)}}", legend)) <= labels[name], legend
    assert shown == families.keys()
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
