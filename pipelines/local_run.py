"""Run a pipeline on this machine with kfp.local, as it compiles for a cluster, and show it as it goes."""

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

from clinadapt.artifacts.run_summary import collect
from clinadapt.artifacts.run_summary import run as write_summary
from clinadapt.artifacts.step_record import MARK, RUN
from clinadapt.config.profile import AnyProfile
from clinadapt.errors import EXIT_BAD_INPUT, EXIT_BUG, EXIT_DONE, EXIT_GATE_SAID_NO, EXIT_INTERRUPTED, UserError
from clinadapt.storage import open_store
from clinadapt.storage.local_files import os_errors
from pipelines.compile import build

_GRACE = 30  # seconds to save the state of training, as on a cluster


def run(profile: AnyProfile, arguments: dict[str, Any], home: Path, verbose: bool) -> tuple[int, dict[str, Any]]:
    """Run the pipeline of a profile with `arguments` in place of its defaults.

    Every step runs in a process of its own. What a finished step wrote is kept in `home`, so that the same command
    goes on where an interrupted run stopped; a change of data, settings or code starts afresh.

    Args:
        profile: the profile.
        arguments: pipeline parameters, `store` among them.
        home: folder for pipeline outputs, caches and logs.
        verbose: show everything that kfp and the steps print, not just their lines for people.

    Returns:
        (exit status, summary of the run with `log`).
    """
    pipeline = build(profile)
    for argument in arguments.keys() - pipeline.pipeline_func.__annotations__.keys():
        raise UserError(f"--{argument.replace('_', '-')} is no setting of {profile.recipe}: leave it out")
    name = f"{profile.recipe}-{profile.name}-{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    os.environ[RUN] = name
    log = home / "logs" / f"{name}.txt"
    with os_errors(f"cannot write to {home}"):
        log.parent.mkdir(parents=True, exist_ok=True)
    state, status = "FAILED", EXIT_BUG
    with _watched(log, verbose) as lines, _terminated():
        local.init(
            local.SubprocessRunner(use_venv=False),
            pipeline_root=str(home / "outputs"),
            enable_caching=True,
            cache_root=str(home / "cache"),
        )
        try:
            pipeline(**arguments)
            state, status = "SUCCEEDED", EXIT_DONE
        except KeyboardInterrupt:
            state, status = "CANCELLED", EXIT_INTERRUPTED
        except RuntimeError:  # kfp's word for a failed task; the step itself has said why
            status = lines.status or EXIT_BUG
        if state == "CANCELLED":  # the exit handler has had no chance
            write_summary(arguments["store"], state)
    summary = collect(open_store(arguments["store"]), name, state) | {"log": str(log)}
    summary["error"] = summary["error"] or lines.error
    if status == EXIT_DONE and summary["verdict"] == "fail":
        status = EXIT_GATE_SAID_NO
    return status, summary


class _Lines(io.TextIOBase):
    """Takes everything that is printed: all of it into the log, the steps' own lines to the terminal."""

    def __init__(self, log: io.TextIOBase, verbose: bool) -> None:
        self._log, self._verbose = log, verbose
        self._console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._live: Status | None = self._console.status("starting") if self._console.is_terminal else None
        self._part = ""
        self.status = 0
        self.error: str | None = None

    def __enter__(self) -> _Lines:
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
        *lines, self._part = (self._part + text).split("\n")
        for line in lines:
            self._show(line)
        return len(text)

    def _show(self, line: str) -> None:
        if MARK not in line:
            if self._verbose:
                self._console.print(line, markup=False, style="dim")
            return
        step, _, message = (part.strip() for part in line[line.index(MARK) + len(MARK) :].partition("|"))
        if message.startswith("error: "):
            self.status, self.error = EXIT_BAD_INPUT, f"{step}: {message.removeprefix('error: ')}"
        elif message == "interrupted":
            self.status = self.status or EXIT_INTERRUPTED
        if self._live and (message == "started" or message.startswith("step ")):
            self._live.update(f"[bold]{step}[/] {message}")
        else:
            done = message.startswith("done")
            self._console.print(f"{step:10} ", style="bold green" if done else "bold", end="")
            self._console.print(message, markup=False, style="green" if done else None)


@contextlib.contextmanager
def _watched(log: Path, verbose: bool) -> Iterator[_Lines]:
    """Send all that is printed meanwhile through _Lines; standard output stays free for the result."""
    warnings.filterwarnings("ignore", "You may be attemping to run a task that uses custom")
    with log.open("w", encoding="utf-8") as file, _Lines(file, verbose) as lines:
        with contextlib.redirect_stdout(lines), contextlib.redirect_stderr(lines):
            yield lines
        logging.getLogger().handlers.clear()


@contextlib.contextmanager
def _terminated() -> Iterator[None]:
    """On SIGINT and SIGTERM stop the step that runs, wherever the signal was sent, and raise KeyboardInterrupt."""

    def stop(signum: int, frame: object) -> None:
        children = psutil.Process().children(recursive=True)
        for child in children:
            child.terminate()
        _, alive = psutil.wait_procs(children, timeout=_GRACE)
        for child in alive:
            child.kill()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
