"""A run's summary, collected from the records that its steps left in the store."""

from __future__ import annotations

import json
import os
from typing import Any

from clinadapt.artifacts.step_record import RUN
from clinadapt.storage import open_store
from clinadapt.storage.object_store import Store

STEPS = (
    "preflight", "download", "synthesize", "format", "lookup", "pretrain", "train", "prefer", "evaluate", "gate",
    "publish",
)  # fmt: skip


def run(store_uri: str, state: str) -> str:
    """Write `runs/<run>/summary.json`; return the same as Markdown.

    Args:
        store_uri: the store that the steps wrote their records to.
        state: of the pipeline as KFP tells it: SUCCEEDED, FAILED or CANCELLED.
    """
    name = os.environ[RUN]
    summary = collect(open_store(store_uri), name, state)
    open_store(store_uri).put(f"runs/{name}/summary.json", json.dumps(summary, indent=2).encode())
    return _markdown(summary)


def collect(store: Store, name: str, state: str) -> dict[str, Any]:
    """state, error of the step that failed, sentence of the gate (or of lookup, where nothing is new), URIs of adapter
    and report, and the record of each step. A step that the cache answered for leaves no record."""
    records = {}
    for step in STEPS:
        if store.exists(f"runs/{name}/{step}.json"):
            records[step] = json.loads(store.get(f"runs/{name}/{step}.json")[0])
    known, gate, published = (records.get(step, {}).get("facts", {}) for step in ("lookup", "gate", "publish"))
    return {
        "run": name,
        "state": state,
        "error": next((f"{step}: {r['error']}" for step, r in records.items() if "error" in r), None),
        "verdict": gate.get("decision"),
        "sentence": gate.get("sentence") or known.get("sentence"),
        "adapter_uri": published.get("uri") or known.get("uri"),
        "report_uri": f"{store.uri}/runs/{name}/report.html" if gate else known.get("report_uri"),
        "steps": records,
    }


def _markdown(summary: dict[str, Any]) -> str:
    lines = [f"# {summary['run']}: {summary['state']}", ""]
    lines += [summary[key] for key in ("sentence", "error") if summary[key]]
    lines += ["", "| step | state | seconds |", "|---|---|---|"]
    lines += [f"| {step} | {r['state']} | {r['seconds']:.1f} |" for step, r in summary["steps"].items()]
    lines += [
        "",
        f"Adapter: {summary['adapter_uri'] or 'not published'}",
        f"Report: {summary['report_uri'] or 'none'}",
    ]
    return "\n".join(lines) + "\n"
