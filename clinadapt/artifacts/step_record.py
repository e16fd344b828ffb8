"""What surrounds every step: its record, its log lines and its exit status."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from clinadapt.config.base import first_error
from clinadapt.errors import EXIT_BAD_INPUT, EXIT_BUG, EXIT_DONE, EXIT_INTERRUPTED, UserError, one_line
from clinadapt.storage import open_store
from clinadapt.storage.local_files import restrict_new_files

RUN = "CLINADAPT_RUN"  # name of the run; set by `clinadapt run`, on a cluster from the pod's workflow label
RECORDS = "CLINADAPT_RECORDS"  # folder for a second copy of each record; set by `clinadapt run`, which reads them
LOG_MARKER = "clinadapt |"  # begins every log line meant for people


def log(step: str, message: str) -> None:
    """Print one log line to standard error. Never pass the text of a note."""
    print(f"{LOG_MARKER} {step} | {one_line(message)}", file=sys.stderr, flush=True)


def log_metrics(metrics: Any, values: dict[str, Any]) -> None:
    """Log the numbers among `values` to a KFP Metrics artifact, which the run list shows."""
    for name, value in values.items():
        if not isinstance(value, str):
            metrics.log_metric(name, value)
    Path(metrics.path).touch()  # kfp.local treats an artifact without a file as missing and would repeat the step


@contextmanager
def step(name: str, store_uri: str) -> Iterator[dict[str, Any]]:
    """Run the body of a step and write its record to `runs/<run>/<step>.json`, at its start and, whatever happens, at
    its end: a step whose pod is lost without a word stays `running`.

    The record holds `step`, `started` (UTC), `state` (running, done, failed or interrupted), `exit_status`,
    `duration_seconds`, `peak_memory_bytes` (of the largest process), `outputs`, and `error` (one line) if the step
    failed. A UserError ends the process with exit status 2, SIGINT or SIGTERM with 75. Any other exception is a bug and
    keeps its traceback.

    Yields:
        The record's `outputs`, to be filled with numbers, digests and URIs.
    """
    outputs: dict[str, Any] = {}
    record: dict[str, Any] = {"step": name, "started": utc_now(), "exit_status": EXIT_BUG}
    start = time.monotonic()
    signal.signal(signal.SIGTERM, _interrupt)
    restrict_new_files()
    log(name, "started")
    _write(record | {"state": "running", "outputs": {}}, store_uri)
    record["state"] = "failed"
    try:
        yield outputs
        record |= {"state": "done", "exit_status": EXIT_DONE}
        log(name, f"done in {time.monotonic() - start:.1f} s")
    except KeyboardInterrupt:
        record |= {"state": "interrupted", "exit_status": EXIT_INTERRUPTED}
        log(name, "interrupted")
        raise SystemExit(EXIT_INTERRUPTED) from None
    except Exception as error:
        message = _user_message(error)
        if message is None:
            record["error"] = f"{type(error).__name__}: this is a bug, see the traceback in the step's log"
            raise
        record |= {"error": message, "exit_status": EXIT_BAD_INPUT}
        log(name, f"error: {message}")
        raise SystemExit(EXIT_BAD_INPUT) from None
    finally:
        record |= {"duration_seconds": round(time.monotonic() - start, 3), "peak_memory_bytes": peak_memory()}
        record["outputs"] = outputs
        _write(record, store_uri)


def _user_message(error: Exception) -> str | None:
    """The one line to show if the user can fix this error, else None."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, ValidationError):
        return first_error(error)
    if os.strerror(errno.ENOSPC) in str(error):  # safetensors, Arrow and the Trainer each raise a type of their own
        return "no space left on the device: free space and run again"
    return None


def _write(record: dict[str, Any], store_uri: str) -> None:
    """Write a record to the folder in RECORDS and to the store, where either is configured."""
    data = json.dumps(record, indent=2).encode()
    if folder := os.environ.get(RECORDS):
        with suppress(OSError):
            (Path(folder) / f"{record['step']}.json").write_bytes(data)
    if run := os.environ.get(RUN):
        try:
            open_store(store_uri).put(f"runs/{run}/{record['step']}.json", data)
        except UserError as error:  # the outcome of the step matters more than its record
            if record["state"] != "running" and str(error) != record.get("error"):
                log(record["step"], f"could not write the record of this step: {error}")


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def peak_memory() -> int:
    """Bytes of memory that this process, or the largest of the children it waited for, has held at most."""
    with suppress(OSError):  # since exec; getrusage of a child starts with what its parent held
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                own = int(line.split()[1])
                return 1024 * max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def utc_now() -> str:
    """The time in UTC, to the second, as `2026-01-31T09:30:00Z`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
