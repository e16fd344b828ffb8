"""`clinadapt monitor`: whether what a published adapter is asked and answers has moved away from its evaluation."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clinadapt.errors import EXIT_DONE, EXIT_MOVED, EXIT_REFUSED, UserError, one_line
from pipelines.cli.options import DEFAULT_STORE, HOME, Json, StoreUri, as_uri, emit

if TYPE_CHECKING:
    from clinadapt.config.profile import AnyProfile
    from clinadapt.registry.monitor import Check


def monitor(
    adapter: Annotated[str, typer.Argument(help="NAME for its champion, or NAME/VERSION.")],
    to: Annotated[Path | None, typer.Option("--to", dir_okay=False, help="File for a page with charts, .html.")] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            "-p",
            help="Profile whose section `monitoring` says how many days are read, and whether a run is started when "
            "something has moved.",
            show_default="90 days, no run",
        ),
    ] = None,
    store: StoreUri = DEFAULT_STORE,
    home: Annotated[Path, typer.Option(help="Folder for outputs, caches and logs of a run.")] = HOME,
    as_json: Json = False,
) -> None:
    """Compare what an adapter is asked and answers with its evaluation.

    `predict`, the review page and `registry serve` count answers without text: lengths, tasks, languages, refusals,
    unsupported claims, labels, confidence, latency, flags. In a year of daily checks there is at most one false alarm,
    over all figures together. A run is proposed; where the profile has `monitoring: {start_run: true}`, one is started,
    and no other until nothing has moved for 14 days. Exit status: 0 nothing moved or not enough use, 4 moved, 2 invalid
    input; of a run that was started and came to no verdict, that of the run, and the next check starts it again.

        clinadapt monitor demo-instruct --to monitor.html
    """
    from clinadapt.config.base import Monitoring
    from clinadapt.registry.monitor import QUIET, check, claim_run, claimed_run
    from clinadapt.storage import open_store
    from clinadapt.storage.local_files import atomic_write
    from pipelines.named_settings import load_profile

    settings = load_profile(profile) if profile else None
    watching = settings.monitoring if settings else Monitoring()
    opened = open_store(as_uri(store))
    result = check(opened, adapter, _report, watching.days)
    if settings and watching.start_run and settings.recipe != result.recipe:
        raise UserError(f"{result.name} is of the recipe {result.recipe}, and the profile {settings.name} is not")
    if to is not None:
        from clinadapt.documents.monitor_page import render  # draws, which takes a second to load

        with atomic_write(to) as partial:
            partial.write_text(render(result), encoding="utf-8")
    emit(result.to_json()) if as_json else print(one_line(result.sentence))
    _report_remarks(result)
    status = EXIT_MOVED if result.moved else EXIT_DONE
    if settings and watching.start_run and claim_run(opened, result):
        with claimed_run(opened, f"{result.name}/{result.version}") as confirm:
            outcome = _start(settings, result.name, as_uri(store), home)
            if outcome in (EXIT_DONE, EXIT_REFUSED):  # it came to a verdict
                confirm()
            else:
                status = outcome
    elif settings and watching.start_run and result.moved:
        _report(f"no run is started: one was, and the next one is once nothing has moved for {QUIET.days} days")
    raise typer.Exit(status)


def _report_remarks(result: Check) -> None:
    """What was left out, and the proposed run, to standard error."""
    use = result.use
    if skipped := use.unreadable + use.off_clock:
        _report(
            f"{skipped} files of counts are left out: {use.unreadable} broken, {use.off_clock} of a clock that is off"
        )
    for version, last in sorted(use.others.items()):
        _report(f"also in use: version {version}, last on {last}; it is not part of this comparison")
    if result.moved:
        _report(f"proposed: {result.command}")


def _start(settings: AnyProfile, name: str, store: str, home: Path) -> int:
    """Run the profile's pipeline on this machine, as its section `monitoring` says; return its exit status."""
    from clinadapt.registry.approval.decisions import starter
    from pipelines import local_run
    from pipelines.cli.run import print_outcome

    _report(f"starting a run of the profile {settings.name}, as its section monitoring says")
    status, summary = local_run.run(
        settings, {"adapter_name": name, "started_by": starter(), "store": store}, home, verbose=False
    )
    print_outcome(status, summary, settings, name, store)
    return status


def _report(line: str) -> None:
    print(line, file=sys.stderr)
