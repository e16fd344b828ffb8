"""What Prometheus may know of a store: outcomes and durations of runs, figures of the last gate, champions, monitoring.

A step lives too shortly to be scraped. What lasts is in the store: the summary of each run and the champion pointers,
which are read at each scrape. No value and no label is text of a note: a label is one of our own names, the name of an
adapter or the name of a figure, and a record with another one is unreadable.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

from prometheus_client import CollectorRegistry, generate_latest, start_http_server, write_to_textfile
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import TypeAdapter, ValidationError

from clinadapt.artifacts.hashing import parse_json
from clinadapt.artifacts.run_summary import State
from clinadapt.artifacts.step_record import log
from clinadapt.config.base import AdapterName
from clinadapt.config.steps import STEPS
from clinadapt.errors import UserError
from clinadapt.registry.approval.standing import proposed, waits
from clinadapt.registry.champion import read_pointer
from clinadapt.registry.monitor_metrics import check_families
from clinadapt.registry.versions import adapter_names, read_version, version_folder, version_ids
from clinadapt.storage.local_files import os_errors
from clinadapt.storage.object_store import Entry, Store

UNFINISHED = "unfinished"  # state of a run without a summary: it is running, or lost together with its last step
UNKNOWN = "unknown"  # adapter of a run that ended before preflight knew it
# raised while reading a broken document
BROKEN = (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError)
Figures = dict[tuple[str, str], float]  # (metric, bound) -> value
_BOUNDS = ("value", "low", "high")
_ADAPTER_NAME: TypeAdapter[str] = TypeAdapter(AdapterName)
_FIGURE_NAME = re.compile("[a-z][a-z0-9_]{0,63}")


def exposition(store: Store) -> str:
    """All metrics of a store in Prometheus' text format. A store that cannot be used is `clinadapt_store_up 0`."""
    return generate_latest(_registry(store)).decode()


def write(store: Store, path: Path) -> None:
    """Write the metrics to a file, atomically. Raises UserError where it cannot be written."""
    with os_errors(f"cannot write {path}"):
        write_to_textfile(str(path), _registry(store))


def serve(store: Store, host: str, port: int) -> tuple[str, int]:
    """Serve the metrics at /metrics from a thread; return the address.

    Args:
        store: read at each scrape.
        host: address to listen on.
        port: to listen on; 0 for any.

    Raises:
        UserError: the address cannot be listened on.
    """
    try:
        server, _ = start_http_server(port, host, _registry(store))
    except (OSError, OverflowError) as error:
        raise UserError(f"cannot listen on {host}, port {port} ({error}): choose another --port or --host") from error
    return str(server.server_address[0]), server.server_port


def _registry(store: Store) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(StoreMetrics(store))
    return registry


class StoreMetrics(Collector):
    """The metrics of a store, for one scrape at a time. A summary is read once: it does not change after its run."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._documents: dict[Entry, Any] = {}
        self._decided: dict[tuple[str, str], list[Entry]] = {}  # versions that wait for nobody -> their records
        self._lock = threading.Lock()  # the server answers each scrape in a thread of its own

    def collect(self) -> list[Metric]:
        up = GaugeMetricFamily("clinadapt_store_up", "Whether the store could be read.")
        try:
            with self._lock:
                families = [*self._runs(), *_champions(self._store), self._awaiting()]
        except UserError as error:
            log("metrics", str(error))
            up.add_metric([], 0)
            return [up]
        up.add_metric([], 1)
        return [up, *families]

    def _runs(self) -> list[Metric]:
        folders: dict[str, dict[str, Entry]] = {}
        for entry in self._store.entries("runs/"):
            _, _, rest = entry.key.partition("/")
            name, _, file = rest.partition("/")
            folders.setdefault(name, {})[file] = entry
        self._documents = {
            entry: document
            for entry, document in self._documents.items()
            if entry in folders.get(entry.key.split("/")[1], {}).values()
        }
        runs, broken = [], 0
        for files in folders.values():
            if "monitor.json" in files:  # a check of the monitor's pipeline trains nothing
                continue
            try:
                runs.append(self._run(files))
            except BROKEN:
                broken += 1
        unreadable = GaugeMetricFamily("clinadapt_unreadable_runs", "Runs whose records in the store are broken.")
        unreadable.add_metric([], broken)
        return [unreadable, *_run_families(runs)]

    def _run(self, files: dict[str, Entry]) -> Run:
        """The run of a folder of records, by name. Raises what the reading of a broken record raises."""
        if "summary.json" in files:
            entry = files["summary.json"]
            return Run.of_summary(self._document(entry), entry.modified.timestamp())
        preflight = self._document(files["preflight.json"]) if "preflight.json" in files else {}
        return Run(_adapter(preflight), UNFINISHED)

    def _awaiting(self) -> Metric:
        """Versions that wait for approval. One that does not any more is read again when it has another record."""
        count = _gauge("versions_awaiting_approval", "Versions that people may still make the champion.", "adapter")
        numbers = dict.fromkeys(filter(_is_adapter_name, adapter_names(self._store)), 0)
        for (name, version), records in proposed(self._store).items():
            if name not in numbers or self._decided.get((name, version)) == records:
                continue
            try:
                waiting = waits(self._store, name, version)
            except (UserError, *BROKEN):  # it can become nothing as long as it is broken
                if version_folder(self._store, name, version).exists():
                    continue
                waiting = False
            if waiting:
                numbers[name] += 1
            else:
                self._decided[name, version] = records
        for name, number in numbers.items():
            count.add_metric([name], number)
        return count

    def _document(self, entry: Entry) -> Any:
        if entry not in self._documents:
            self._documents[entry] = parse_json(self._store.get(entry.key)[0])
        return self._documents[entry]


@dataclass(frozen=True)
class Run:
    """A run as its summary tells it.

    Attributes:
        adapter: name of the adapter, or UNKNOWN.
        state: of clinadapt.artifacts.run_summary, or UNFINISHED.
        ended: Unix time.
        seconds: from the start of its first step to the end of its last.
        steps: seconds and peak memory in bytes by step, where it ended.
        passed: whether the gate let the candidate pass; None where it decided nothing.
        figures: of the candidate at the gate, by metric and bound.
    """

    adapter: str
    state: str
    ended: float = 0
    seconds: float = 0
    steps: dict[str, tuple[float, float]] = field(default_factory=dict)
    passed: bool | None = None
    figures: Figures = field(default_factory=dict)

    @classmethod
    def of_summary(cls, summary: dict[str, Any], written: float) -> Run:
        """
        Args:
            summary: content of summary.json.
            written: Unix time of its last write, which is the end of a run without steps.

        Raises:
            ValueError, KeyError, TypeError, AttributeError, OverflowError: it is not what `summarise` writes.
        """
        if summary["state"] not in get_args(State):
            raise ValueError("state")
        records = {step: record for step, record in summary["steps"].items() if step in STEPS}
        starts = {step: datetime.fromisoformat(record["started"]).timestamp() for step, record in records.items()}
        steps = {
            step: (_finite(record["duration_seconds"]), _finite(record["peak_memory_bytes"]))
            for step, record in records.items()
            if "duration_seconds" in record
        }
        ended = max((start + steps.get(step, (0, 0))[0] for step, start in starts.items()), default=written)
        gate = records.get("gate", {}).get("outputs", {})
        decision = gate.get("decision")
        return cls(
            adapter=_adapter(records.get("preflight", {})),
            state=summary["state"],
            ended=ended,
            seconds=ended - min(starts.values(), default=ended),
            steps=steps,
            passed=None if decision is None else decision == "pass",
            figures=_figures(gate.get("metrics", {})),
        )


def _adapter(preflight: dict[str, Any]) -> str:
    """Name of the adapter, as preflight recorded it. Raises ValueError where it is none."""
    name = preflight.get("outputs", {}).get("adapter_name")
    return UNKNOWN if name is None else _ADAPTER_NAME.validate_python(name)


def _finite(value: Any) -> float:
    """Raises ValueError, TypeError or OverflowError where it is no finite number."""
    if not math.isfinite(number := float(value)):
        raise ValueError("not finite")
    return number


def _run_families(runs: list[Run]) -> list[Metric]:
    """Counts of all runs, and figures of the last one of each adapter."""
    count = _gauge("runs", "Runs whose records are in the store, by state.", "adapter", "state")
    last = _gauge("last_run_timestamp_seconds", "End of the last run with this state (Unix).", "adapter", "state")
    total = _gauge("last_run_duration_seconds", "First start to last end of a step, last run.", "adapter")
    length = _gauge("last_run_step_duration_seconds", "Duration of a step, last run.", "adapter", "step")
    memory = _gauge("last_run_step_peak_memory_bytes", "Peak memory of a step, last run.", "adapter", "step")
    passed = _gauge("last_gate_passed", "Whether the last gate let the candidate pass.", "adapter")
    figures = _gauge(
        "last_gate_metric", "Candidate at the last gate, with 95 % interval.", "adapter", "metric", "bound"
    )
    for (adapter, state), group in _grouped(runs, lambda run: (run.adapter, run.state)):
        count.add_metric([adapter, state], len(group))
        if state != UNFINISHED:
            last.add_metric([adapter, state], max(run.ended for run in group))
    for (adapter,), group in _grouped([run for run in runs if run.state != UNFINISHED], lambda run: (run.adapter,)):
        newest = max(group, key=lambda run: run.ended)
        total.add_metric([adapter], newest.seconds)
        for step, (seconds, peak) in newest.steps.items():
            length.add_metric([adapter, step], seconds)
            memory.add_metric([adapter, step], peak)
        if judged := [run for run in group if run.passed is not None]:
            judgement = max(judged, key=lambda run: run.ended)
            passed.add_metric([adapter], float(judgement.passed or 0))
            _add(figures, adapter, judgement.figures)
    return [count, last, total, length, memory, passed, figures]


def _champions(store: Store) -> list[Metric]:
    """The champion of each adapter. One that is refused, such as an unsigned one, is 0 in `champion_readable`."""
    count = _gauge("published_versions", "Complete versions in the store.", "adapter")
    readable = _gauge("champion_readable", "Whether pointer and manifest of the champion verify.", "adapter")
    since = _gauge("champion_timestamp_seconds", "When the champion became it (Unix).", "adapter")
    figures = _gauge(
        "champion_metric", "Champion on its held-out notes, with 95 % interval.", "adapter", "metric", "bound"
    )
    champions = []
    for name in filter(_is_adapter_name, adapter_names(store)):
        count.add_metric([name], len(version_ids(store, name)))
        try:
            if (pointer := read_pointer(store, name)) is None:
                continue
            champion = _figures(read_version(store, name, pointer[0]["version"])["metrics"])
            times = [datetime.fromisoformat(entry["when"]).timestamp() for entry in pointer[0]["history"][-1:]]
        except (UserError, *BROKEN) as error:
            log(
                "metrics",
                f"the champion of {name} cannot be read: {error if isinstance(error, UserError) else 'broken'}",
            )
            readable.add_metric([name], 0)
            continue
        readable.add_metric([name], 1)
        champions.append((name, pointer[0]["version"]))
        for when in times:
            since.add_metric([name], when)
        _add(figures, name, champion)
    return [count, readable, since, figures, *check_families(store, champions)]


def _is_adapter_name(name: str) -> bool:
    try:
        _ADAPTER_NAME.validate_python(name)
    except ValidationError:
        return False
    return True


def _gauge(name: str, what: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"clinadapt_{name}", what, labels=labels)


def _grouped(runs: Iterable[Run], key: Any) -> list[tuple[tuple[str, ...], list[Run]]]:
    """(key, its runs), sorted by key."""
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(key(run), []).append(run)
    return sorted(groups.items())


def _figures(metrics: dict[str, Any]) -> Figures:
    """Value and interval of each metric that has them. Raises ValueError, TypeError or OverflowError for others."""
    estimates = [(name, estimate) for name, estimate in metrics.items() if isinstance(estimate, dict)]
    if not all(_FIGURE_NAME.fullmatch(name) for name, _ in estimates):
        raise ValueError("name of a figure")
    return {
        (name, bound): float(estimate[bound]) for name, estimate in estimates for bound in _BOUNDS if bound in estimate
    }


def _add(family: GaugeMetricFamily, adapter: str, figures: Figures) -> None:
    for (metric, bound), value in figures.items():
        family.add_metric([adapter, metric, bound], value)
