"""Run a pipeline on this machine with kfp.local, as compiled for a cluster, and show its progress."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import secrets
import signal
import sys
import warnings
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from kfp import local
from rich.console import Console
from rich.status import Status

from clinadapt.artifacts.run_summary import Records, read_records, summarise
from clinadapt.artifacts.run_summary import run as write_summary
from clinadapt.artifacts.step_record import LOG_MARKER, RECORDS, RUN
from clinadapt.config.base import refuse_placeholders
from clinadapt.config.profile import AnyProfile
from clinadapt.errors import EXIT_BUG, EXIT_DONE, EXIT_INTERRUPTED, EXIT_REFUSED, UserError
from clinadapt.registry.mlflow_tracking import end_run, start_run
from clinadapt.storage import open_store
from clinadapt.storage.local_files import os_errors, restrict_new_files
from pipelines.compile import build

_GRACE_SECONDS = 30  # for training to save its state, as on a cluster


def run(profile: AnyProfile, arguments: dict[str, Any], home: Path, verbose: bool) -> tuple[int, dict[str, Any]]:
    """Run the pipeline of a profile with `arguments` in place of its defaults.

    Every step runs in its own process. The outputs of finished steps are cached in `home`, so that the same command
    resumes an interrupted run; a change of data, settings or code starts afresh.

    Args:
        profile: the profile.
        arguments: pipeline parameters, `store` among them.
        home: folder for pipeline outputs, caches, logs and records.
        verbose: show everything that kfp and the steps print, not just the steps' log lines.

    Returns:
        (exit status, summary of the run, and the path of its log in `log`).

    Raises:
        UserError: an argument is not a parameter of the pipeline, the store's URI is not supported, or `home` cannot
            be written.
    """
    restrict_new_files()
    pipeline = build(profile)
    for argument in arguments.keys() - pipeline.pipeline_func.__annotations__.keys():
        raise UserError(f"--{argument.replace('_', '-')} is not an option of {profile.recipe}: remove it")
    for argument, value in arguments.items():
        try:
            refuse_placeholders(value)
        except ValueError as error:
            raise UserError(f"{argument} {error}") from error
    store = open_store(arguments["store"])
    name = f"{profile.recipe}-{profile.name}-{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    log, records = home / "logs" / f"{name}.txt", (home / "records" / name).resolve()
    with os_errors(f"cannot write to {home}"):
        log.parent.mkdir(parents=True, exist_ok=True)
        records.mkdir(parents=True)
    os.environ |= {RUN: name, RECORDS: str(records)}
    state = "FAILED"
    with _captured_output(log, verbose), _children_terminated():
        local.init(
            local.SubprocessRunner(use_venv=False),
            pipeline_root=str(home / "outputs"),
            enable_caching=True,
            cache_root=str(home / "cache"),
        )
        try:
            start_run(name, arguments.get("adapter_name", profile.adapter_name))
            pipeline(**arguments)
            state = "SUCCEEDED"
        except KeyboardInterrupt:
            state = "CANCELLED"
            with contextlib.suppress(UserError):  # the pipeline's exit handler did not run; the store may be down
                write_summary(arguments["store"], state)
        except RuntimeError:  # raised by kfp for a failed task; the cause is in the task's record
            pass
        end_run(state, read_records(records))
    steps = read_records(records)
    summary = summarise(name, state, steps, store.uri) | {"log": str(log)}
    return _exit_status(state, steps, summary["verdict"]), summary


def _exit_status(state: str, records: Records, verdict: str | None) -> int:
    if state == "SUCCEEDED":
        return EXIT_REFUSED if verdict not in (None, "pass") else EXIT_DONE
    if state == "CANCELLED":
        return EXIT_INTERRUPTED
    return next((record["exit_status"] for record in records.values() if record["exit_status"]), EXIT_BUG)


class _Display(io.TextIOBase):
    """A text stream that writes everything to the log file, and the steps' log lines to the terminal."""

    def __init__(self, log: io.TextIOBase, verbose: bool) -> None:
        self._log, self._verbose = log, verbose
        self._console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._live: Status | None = self._console.status("starting") if self._console.is_terminal else None
        self._incomplete_line = ""

    def __enter__(self) -> _Display:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._log.write(text)
        self._log.flush()
        *lines, self._incomplete_line = (self._incomplete_line + text).split("\n")
        for line in lines:
            self._show(line)
        return len(text)

    def _show(self, line: str) -> None:
        if LOG_MARKER not in line:
            if self._verbose:
                self._console.print(line, markup=False, style="dim")
            return
        step, _, message = (part.strip() for part in line[line.index(LOG_MARKER) + len(LOG_MARKER) :].partition("|"))
        if self._live and (message == "started" or message.startswith("step ")):
            self._live.update(f"[bold]{step}[/] {message}")
        else:
            done = message.startswith("done")
            self._console.print(f"{step:10} ", style="bold green" if done else "bold", end="")
            self._console.print(message, markup=False, style="green" if done else None)


@contextlib.contextmanager
def _captured_output(log: Path, verbose: bool) -> Iterator[None]:
    """Send everything printed meanwhile through a _Display; standard output is reserved for the result."""
    warnings.filterwarnings("ignore", "You may be attemping to run a task that uses custom")
    with log.open("w", encoding="utf-8") as file, _Display(file, verbose) as display:
        with contextlib.redirect_stdout(display), contextlib.redirect_stderr(display):
            yield
        logging.getLogger().handlers.clear()


@contextlib.contextmanager
def _children_terminated() -> Iterator[None]:
    """On SIGINT or SIGTERM stop the running step, whichever process got the signal, and raise KeyboardInterrupt."""

    def stop(signum: int, frame: object) -> None:
        children = psutil.Process().children(recursive=True)
        for child in children:
            child.terminate()
        _, alive = psutil.wait_procs(children, timeout=_GRACE_SECONDS)
        for child in alive:
            child.kill()
        raise KeyboardInterrupt

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
