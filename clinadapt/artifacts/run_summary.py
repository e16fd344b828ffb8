"""The summary of a run, collected from the records of its steps."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from clinadapt.artifacts.step_record import RUN
from clinadapt.config.steps import STEPS, Step
from clinadapt.storage import open_store

Records = dict[Step, dict[str, Any]]  # in the order of STEPS


def run(store_uri: str, state: str) -> str:
    """Write `runs/<run>/summary.json` to the store; return the same as Markdown.

    Args:
        store_uri: the store that the steps wrote their records to.
        state: of the pipeline, as KFP reports it: SUCCEEDED, FAILED or CANCELLED.
    """
    name = os.environ[RUN]
    store = open_store(store_uri)
    prefix = f"runs/{name}"
    existing = (step for step in STEPS if store.exists(f"{prefix}/{step}.json"))
    records = {step: json.loads(store.get(f"{prefix}/{step}.json")[0]) for step in existing}
    summary = summarise(name, state, records, store.uri)
    store.put(f"{prefix}/summary.json", json.dumps(summary, indent=2).encode())
    return _markdown(summary)


def read_records(folder: Path) -> Records:
    """The records in a local folder."""
    paths = ((step, folder / f"{step}.json") for step in STEPS)
    return {step: json.loads(path.read_bytes()) for step, path in paths if path.is_file()}


def summarise(name: str, state: str, records: Records, store_uri: str) -> dict[str, Any]:
    """Summarise a run from the records of its steps.

    Returns:
        run, state, error of the first step that failed, verdict and sentence of the gate (or the sentence of lookup
        if nothing is new), adapter_uri, report_uri, and steps (the records). A step that was answered from KFP's
        cache has no record.
    """
    lookup, gate, publish = (records.get(step, {}).get("outputs", {}) for step in ("lookup", "gate", "publish"))
    return {
        "run": name,
        "state": state,
        "error": next((f"{step}: {record['error']}" for step, record in records.items() if "error" in record), None),
        "verdict": gate.get("decision"),
        "sentence": gate.get("sentence") or lookup.get("sentence"),
        "adapter_uri": publish.get("uri") or lookup.get("uri"),
        "report_uri": f"{store_uri}/runs/{name}/report.html" if gate else lookup.get("report_uri"),
        "steps": records,
    }


def _markdown(summary: dict[str, Any]) -> str:
    lines = [f"# {summary['run']}: {summary['state']}", ""]
    lines += [summary[key] for key in ("sentence", "error") if summary[key]]
    lines += ["", "| step | state | seconds |", "|---|---|---|"]
    lines += [f"| {step} | {r['state']} | {r['duration_seconds']:.1f} |" for step, r in summary["steps"].items()]
    lines += [
        "",
        f"Adapter: {summary['adapter_uri'] or 'not published'}",
        f"Report: {summary['report_uri'] or 'none'}",
    ]
    return "\n".join(lines) + "\n"
