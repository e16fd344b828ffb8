"""The commands for runs on a cluster: list, show, logs and stop."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clinadapt.errors import EXIT_DONE, UserError
from pipelines.cli.options import Endpoint, Json, Namespace, emit

if TYPE_CHECKING:
    from pipelines.kfp_api import Remote

app = typer.Typer(help="Show, read and stop runs on a cluster.", no_args_is_help=True)
RunName = Annotated[str, typer.Argument(metavar="RUN", help="Id or name of a run, as `runs list` shows them.")]


@app.command("list")
def list_runs(
    limit: Annotated[int, typer.Option("--limit", help="How many, the newest first.", min=1, max=1000)] = 20,
    endpoint: Endpoint = None,
    namespace: Namespace = None,
    as_json: Json = False,
) -> None:
    """List runs, the newest first: when each started, what came of it, what it is about, its id."""
    from rich.console import Console
    from rich.table import Table

    from pipelines.kfp_api import connect
    from pipelines.run_list import recent

    rows = recent(connect(endpoint, namespace), limit)
    if as_json:
        emit([row._asdict() for row in rows])
        return
    table = Table("started (UTC)", "state", "run", "id", box=None)
    for row in rows:
        table.add_row(row.started, row.state, row.name, row.run_id)
    Console(soft_wrap=True).print(table)


@app.command("show")
def show_run(run: RunName, endpoint: Endpoint = None, namespace: Namespace = None) -> None:
    """Show the steps of a run, why one waits or failed, and the outcome.

    Exit status: 0 running, published, awaiting approval, nothing new or checked (by the monitor); 1 failed or stopped;
    3 refused by the gate.
    """
    from rich.console import Console

    from pipelines.follow import print_outcome
    from pipelines.kfp_api import connect
    from pipelines.run_progress import ENDED, explain, step_states, workflow

    remote = connect(endpoint, namespace)
    chosen = _find(remote, run)
    steps = step_states(chosen)
    explain(steps, workflow(remote, chosen.run_id))
    console = Console(highlight=False, soft_wrap=True)
    for name, step in steps.items():
        console.print(step.line(name), markup=False)
    if chosen.state in ENDED:
        raise typer.Exit(print_outcome(remote, chosen, steps, console))
    console.print(f"{chosen.display_name}: running", markup=False)


@app.command("logs")
def logs(
    run: RunName,
    step: Annotated[str, typer.Argument(help="The step, such as train.")],
    lines: Annotated[int | None, typer.Option("--lines", help="Last lines only.", min=1)] = None,
    endpoint: Endpoint = None,
    namespace: Namespace = None,
) -> None:
    """Print the log of a step's last pod."""
    from pipelines.kfp_api import connect
    from pipelines.run_progress import explain, log_tail, step_states, workflow

    remote = connect(endpoint, namespace)
    chosen = _find(remote, run)
    steps = step_states(chosen)
    name = next((name for name in steps if name == step or name.startswith(f"{step}-")), None)
    if name is None:
        raise UserError(f"this run has no step '{step}' yet: use one of {', '.join(steps) or 'none so far'}")
    explain(steps, workflow(remote, chosen.run_id))
    text = log_tail(remote, chosen.run_id, steps[name].pod, lines) if steps[name].pod else []
    if not text:
        raise UserError(f"{name} has no log: it has not started, came from the cache, or its log was removed")
    print("\n".join(text))


@app.command("stop")
def stop(run: RunName, endpoint: Endpoint = None, namespace: Namespace = None) -> None:
    """End a run in progress. What it trained is resumed by the next run with the same settings."""
    from pipelines.kfp_api import connect
    from pipelines.run_progress import ENDED

    remote = connect(endpoint, namespace)
    chosen = _find(remote, run)
    if chosen.state in ENDED:
        raise UserError(f"{chosen.display_name} has ended already: {chosen.state.lower()}")
    remote.call(remote.runs.run_service_terminate_run, chosen.run_id)
    print(f"stopping {chosen.display_name}", file=sys.stderr)
    raise typer.Exit(EXIT_DONE)


def _find(remote: Remote, name: str) -> Any:
    """A run by id or by name, the newest of that name. Raises UserError when there is none."""
    from pipelines.kfp_api import ApiError
    from pipelines.run_list import runs

    try:
        return remote.call(remote.runs.run_service_get_run, name)
    except ApiError as error:
        if error.status not in (400, 404):
            raise
    chosen = next((run for run in runs(remote) if run.display_name == name), None)
    if chosen is None:
        raise UserError(f"run '{name}' not found: see clinadapt runs list")
    return remote.call(remote.runs.run_service_get_run, chosen.run_id)
