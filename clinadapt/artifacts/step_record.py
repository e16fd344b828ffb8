"""What surrounds every step: its record in the store, its one-line messages, its exit status."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from clinadapt.config.base import first_error
from clinadapt.errors import EXIT_BAD_INPUT, EXIT_INTERRUPTED, UserError
from clinadapt.storage import open_store

RUN = "CLINADAPT_RUN"  # the run's name: set by `clinadapt run`, on a cluster from the pod's workflow label
MARK = "clinadapt |"  # begins every line that is meant for a reader of the log


def log(step: str, message: str) -> None:
    """Print one line for a person, in a pod's log or a laptop's terminal. Never the text of a note."""
    print(f"{MARK} {step} | {message}", file=sys.stderr, flush=True)


def log_metrics(metrics: Any, facts: dict[str, Any]) -> None:
    """Show the numbers among facts in the run list, through KFP's artifact of metrics."""
    for name, value in facts.items():
        if not isinstance(value, str):
            metrics.log_metric(name, value)
    Path(metrics.path).touch()  # kfp.local takes an artifact without a file for lost, and would do the step again


@contextmanager
def step(name: str, store_uri: str) -> Iterator[dict[str, Any]]:
    """Run a step's body and leave a record at `runs/<run>/<step>.json`, whatever happens.

    The body adds facts (numbers, digests, URIs) to the yielded dictionary. A UserError becomes one line and
    exit status 2, SIGINT or SIGTERM exit status 75. Any other exception is a bug and keeps its traceback.
    """
    facts: dict[str, Any] = {}
    record: dict[str, Any] = {"step": name, "started": _now(), "state": "failed", "facts": facts}
    start = time.monotonic()
    signal.signal(signal.SIGTERM, _interrupt)
    log(name, "started")
    try:
        yield facts
        record["state"] = "done"
        log(name, f"done in {time.monotonic() - start:.1f} s")
    except (UserError, ValidationError) as error:
        record["error"] = first_error(error) if isinstance(error, ValidationError) else str(error)
        log(name, f"error: {record['error']}")
        raise SystemExit(EXIT_BAD_INPUT) from None
    except KeyboardInterrupt:
        record["state"] = "interrupted"
        log(name, "interrupted")
        raise SystemExit(EXIT_INTERRUPTED) from None
    except Exception as error:
        if os.strerror(errno.ENOSPC) in str(error):  # safetensors, Arrow and the Trainer each raise their own
            record["error"] = "no space left on the device: free space and run again"
            log(name, f"error: {record['error']}")
            raise SystemExit(EXIT_BAD_INPUT) from None
        record["error"] = f"{type(error).__name__}: a bug of ours, see the traceback in the step's log"
        raise
    finally:
        record["seconds"] = round(time.monotonic() - start, 3)
        if run := os.environ.get(RUN):
            _keep(store_uri, f"runs/{run}/{name}.json", record)


def _keep(store_uri: str, key: str, record: dict[str, Any]) -> None:
    try:
        open_store(store_uri).put(key, json.dumps(record, indent=2).encode())
    except UserError as error:  # the step's own outcome matters more than its record
        if str(error) != record.get("error"):
            log(record["step"], f"could not keep the record of this step: {error}")


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
