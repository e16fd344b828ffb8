"""The summary of a run, collected from the records of its steps."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from clinadapt.artifacts.hashing import parse_json
from clinadapt.artifacts.step_record import RUN
from clinadapt.config.steps import STEPS, Step
from clinadapt.storage import open_store

Records = dict[Step, dict[str, Any]]  # in the order of STEPS
State = Literal["published", "awaiting approval", "refused", "nothing new", "failed", "stopped"]
_LOST = (
    "its pod was lost without a word (evicted, out of memory, or its node went away): `clinadapt runs show` has the "
    "reason that the cluster gives"
)
_INTERRUPTED = "its pod was stopped (the run was ended by hand, or the node was drained); the next run resumes it"


def run(store_uri: str, reported: str, reasons: Mapping[Step, str] | None = None) -> str:
    """Write `runs/<run>/summary.json` to the store; return the same as Markdown.

    Args:
        store_uri: the store that the steps wrote their records to.
        reported, reasons: as of `summarise`.
    """
    name = os.environ[RUN]
    store = open_store(store_uri)
    prefix = f"runs/{name}"
    existing = (step for step in STEPS if store.exists(f"{prefix}/{step}.json"))
    records = {step: parse_json(store.get(f"{prefix}/{step}.json")[0]) for step in existing}
    summary = summarise(name, reported, records, store.uri, reasons)
    store.put(f"{prefix}/summary.json", json.dumps(summary, indent=2).encode())
    return _markdown(summary)


def read_records(folder: Path) -> Records:
    """The records in a local folder."""
    paths = ((step, folder / f"{step}.json") for step in STEPS)
    return {step: parse_json(path.read_bytes()) for step, path in paths if path.is_file()}


def summarise(
    name: str, reported: str, records: Records, store_uri: str, reasons: Mapping[Step, str] | None = None
) -> dict[str, Any]:
    """Summarise a run from the records of its steps.

    Kubeflow Pipelines reports RUNNING to the exit handler of a run whose training pod was evicted, and of one that
    found nothing new: only a cancelled run is taken from it.

    Args:
        name: of the run.
        reported: state of the pipeline as KFP reports it to the exit handler; CANCELING where its history has that.
        records: of the steps.
        store_uri: that they are from.
        reasons: why the last pod of a step failed, as the cluster says; it is asked where a record cannot know.

    Returns:
        run, state (published, awaiting approval, refused, nothing new, failed or stopped), failed_step and error of a
        run that failed or was stopped, verdict and sentence of the gate (or the sentence of lookup if nothing is new),
        approve (the command, where people have to approve the version), adapter_uri, report_uri, examples_uri (the
        report with example texts), and steps (the records). A step that was answered from KFP's cache has no record.
    """
    records = {step: record for step, record in records.items() if step != "summarise"}
    lookup, gate, publish = (records.get(step, {}).get("outputs", {}) for step in ("lookup", "gate", "publish"))
    state, step, error = _outcome(reported, records, reasons or {})
    return {
        "run": name,
        "state": state,
        "failed_step": step,
        "error": error,
        "verdict": gate.get("decision"),
        "sentence": gate.get("sentence") or lookup.get("sentence"),
        "approve": _command(publish, store_uri) if state == "awaiting approval" else None,
        "adapter_uri": publish.get("uri") or lookup.get("uri"),
        "report_uri": f"{store_uri}/runs/{name}/report.html" if gate else lookup.get("report_uri"),
        "examples_uri": gate.get("examples_uri"),
        "steps": records,
    }


def _outcome(reported: str, records: Records, reasons: Mapping[Step, str]) -> tuple[State, Step | None, str | None]:
    """(state, the step that did not end well, why)."""
    step = next((step for step, record in records.items() if record["state"] != "done"), None)
    state: State = "stopped" if reported in ("CANCELLED", "CANCELED", "CANCELING") else "failed"
    if step is not None:
        lost, ended = reasons.get(step, _LOST), _INTERRUPTED
        reason = {"running": lost, "interrupted": ended}.get(records[step]["state"], records[step].get("error"))
        return state, step, f"{step}: {reason}"
    decision = {step: records.get(step, {}).get("outputs", {}).get("decision") for step in ("lookup", "gate")}
    if "publish" in records:
        waits = records["publish"].get("outputs", {}).get("state") == "awaiting approval"
        return "awaiting approval" if waits else "published", None, None
    if decision["gate"] not in (None, "pass"):
        return "refused", None, None
    if decision["lookup"] == "known":
        return "nothing new", None, None
    # One that never started, or whose log could not be archived after it was done
    if failed := next((step for step in STEPS if step in reasons and step != "summarise"), None):
        return state, failed, f"{failed}: {reasons[failed]}"
    last = next(reversed(records), None)
    return state, None, f"no step started after {last}" if last else "no step started"


def _command(publish: dict[str, Any], store_uri: str) -> str:
    """The command that approves a published version."""
    version = publish["uri"].rpartition("/adapters/")[2]
    return f"clinadapt registry approve {version} --reason ... --store {store_uri}"


def _markdown(summary: dict[str, Any]) -> str:
    lines = [f"# {summary['run']}: {summary['state']}", ""]
    lines += [summary[key] for key in ("sentence", "error") if summary[key]]
    lines += ["", "| step | state | seconds |", "|---|---|---|"]
    for step, record in summary["steps"].items():
        seconds = f"{record['duration_seconds']:.1f}" if "duration_seconds" in record else ""
        lines.append(f"| {step} | {record['state']} | {seconds} |")
    lines += [
        "",
        *([f"To approve it: `{summary['approve']}`"] if summary["approve"] else []),
        f"Adapter: {summary['adapter_uri'] or 'not published'}",
        f"Report: {summary['report_uri'] or 'none'}",
    ]
    return "\n".join(lines) + "\n"
