"""Follow a run until it ends: a table on a terminal, a line for each change elsewhere, and why it waits or failed."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from clinadapt.errors import UserError
from pipelines.kfp_api import ApiError, Remote
from pipelines.run_progress import (
    ENDED,
    EXIT_STATUS,
    LOG_LINES,
    StepState,
    explain,
    log_tail,
    outcome,
    step_states,
    workflow,
)

PATIENCE = 3600  # seconds without a response after which a run is no longer followed
WAIT_SECONDS = 30  # of waiting, after which the reason is asked for
_COLOURS = {"done": "green", "failed": "bold red", "running": "bold", "skipped": "dim", "left out": "dim"}
_SENTENCES = {
    "published": "published",
    "awaiting approval": "published, and waits for people to approve it: see clinadapt registry list",
    "refused": "refused by the gate: see its report",
    "nothing new": "nothing new: the registry already has this version",
    "checked": "checked: its report says whether use has moved away from the evaluation",
    "stopped": "stopped by somebody; clinadapt submit starts it again",
}


def follow(remote: Remote, run_id: str, interval: float = 5.0) -> int:
    """Show the steps of a run until it ends.

    A step that waits longer than WAIT_SECONDS is shown with Argo's reason. A failed run ends with the reason and the
    last lines of the failed step's log. Network failures and server errors are reported in one line and retried.

    Args:
        interval: seconds between two requests.

    Returns:
        Exit status: 0 published, awaiting approval, nothing new or checked, 1 a step failed or somebody stopped the
        run, 3 refused by the gate.

    Raises:
        UserError: no response for PATIENCE seconds, or an error that a retry does not fix.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    printed: dict[str, tuple[str, str]] = {}
    since: dict[str, float] = {}  # step -> since when it is not known that its pod runs
    with Live(console=console, auto_refresh=False) if console.is_terminal else nullcontext() as live:
        while True:
            run = _get_run(remote, run_id, console, interval)
            steps = step_states(run)
            if run.state not in ENDED and _waits_long(steps, since):
                explain(steps, _workflow(remote, run_id))
                now = time.monotonic()  # asked again, as its next attempt may wait too
                since |= {name: now for name, step in steps.items() if step.state == "running" and step.pod}
            if live:
                live.update(table(steps), refresh=True)
            else:
                _print_changes(console, steps, printed)
            if run.state in ENDED:
                break
            time.sleep(interval)
    return print_outcome(remote, run, steps, console)


def _waits_long(steps: dict[str, StepState], since: dict[str, float]) -> bool:
    """Whether a step that is up may be waiting for a node: its pod was not seen running lately. `since` is updated."""
    now = time.monotonic()
    active = [name for name, step in steps.items() if step.state in ("running", "waiting")]
    for name in active:
        since.setdefault(name, now)
    return any(now - since[name] >= WAIT_SECONDS for name in active)


def _workflow(remote: Remote, run_id: str) -> dict[str, Any]:
    """The run's Workflow; empty where it cannot be had, since a reason is worth less than following on."""
    try:
        return workflow(remote, run_id)
    except UserError:
        return {}


def _print_changes(console: Console, steps: dict[str, StepState], printed: dict[str, tuple[str, str]]) -> None:
    for name, step in steps.items():
        if printed.get(name) != (step.state, step.reason):
            console.print(step.line(name), markup=False)
            printed[name] = (step.state, step.reason)


def _get_run(remote: Remote, run_id: str, console: Console, interval: float) -> Any:
    """The run's current state, retried until there is a response."""
    failing_since = None
    while True:
        try:
            run = remote.call(remote.runs.run_service_get_run, run_id)
        except UserError as error:
            temporary = not isinstance(error, ApiError) or error.status in (408, 429) or error.status >= 500
            if not temporary or (failing_since and time.monotonic() - failing_since > PATIENCE):
                raise
            if failing_since is None:
                console.print(f"{error}; the run continues, retrying", style="yellow", markup=False)
                failing_since = time.monotonic()
            time.sleep(interval)
            continue
        if failing_since is not None:
            console.print("connected again", markup=False)
        return run


def table(steps: dict[str, StepState]) -> Table:
    """The steps as a table for a terminal."""
    grid = Table.grid(padding=(0, 2))
    for name, step in steps.items():
        seconds = "" if step.seconds is None else f"{step.seconds:.0f} s"
        grid.add_row(name, f"[{_COLOURS.get(step.state, 'default')}]{step.state}[/]", seconds, step.reason)
    return grid


def print_outcome(remote: Remote, run: Any, steps: dict[str, StepState], console: Console) -> int:
    """Print how an ended run ended, and why it failed; return the exit status."""
    result = outcome(run, steps)
    status = EXIT_STATUS[result]
    if result != "failed":
        style = {"stopped": "bold red", "refused": "bold yellow"}.get(result, "bold green")
        console.print(f"{run.display_name}: {_SENTENCES[result]}", style=style, markup=False)
        return status
    explain(steps, _workflow(remote, run.run_id))
    failed = [name for name, step in steps.items() if step.state == "failed"]
    for name in failed[:1]:
        for line in _log(remote, run.run_id, steps[name].pod):
            console.print(f"    {line}", style="dim", markup=False)
    reasons = [f"{name} failed" + (f": {steps[name].reason}" if steps[name].reason else "") for name in failed]
    reason = "; ".join(reasons) or (run.error and run.error.message) or "no step failed: see the run in the UI"
    console.print(f"{run.display_name}: failed; {reason}", style="bold red", markup=False)
    return status


def _log(remote: Remote, run_id: str, pod: str) -> list[str]:
    try:
        return log_tail(remote, run_id, pod, LOG_LINES) if pod else []
    except UserError:
        return []
