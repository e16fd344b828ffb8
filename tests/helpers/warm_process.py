"""Commands in processes of their own, forked from one that has imported what the commands and steps import: a test then
pays for what it tests and not, several times, for the import of torch.

What such a process starts as `python -m MODULE` is forked in its turn: the steps of a run, in which kfp's own executor
gets the same text of the component and the same arguments; torchrun and its processes; the reload check of publish.
"""

from __future__ import annotations

import atexit
import logging
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

_IMPORTED = ("torch", "transformers", "kfp.dsl.executor_main", "pipelines.cli.main", "components.train.classify",
             "components.train.instruct", "components.train.multi_node", "components.evaluate.classify",
             "components.evaluate.instruct", "components.publish.publish_version", "clinadapt.review.batch_file",
             "torch.distributed.run", "transformers.utils.logging", "clinadapt.review.server", "fastapi", "uvicorn",
             "pandas")  # fmt: skip


def warm_command(
    arguments: list[str], environment: dict[str, str], cwd: Path | None
) -> subprocess.CompletedProcess[str]:
    """Run `clinadapt` with these arguments; its exit status and what it wrote, as subprocess.run returns them."""
    with tempfile.TemporaryDirectory() as folder:
        output, errors = Path(folder) / "stdout", Path(folder) / "stderr"
        status = WarmProcess(None, arguments, environment, output, errors, cwd).wait()
        return subprocess.CompletedProcess(arguments, status, output.read_text(), errors.read_text())


def warm_reload(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """In place of publish_version._reload: the check in a fork, from a process that has loaded no adapter."""
    with tempfile.TemporaryDirectory() as folder:
        output, errors = Path(folder) / "stdout", Path(folder) / "stderr"
        status = WarmProcess("clinadapt.registry.reload_check", arguments, dict(os.environ), output, errors).wait()
        return subprocess.CompletedProcess(arguments, status, output.read_text(), errors.read_text())


class WarmProcess:
    """`python -m MODULE ARGUMENTS`, or `clinadapt ARGUMENTS` where there is no module, in a fork; it has what tests use
    of subprocess.Popen. What it writes is appended to files."""

    def __init__(
        self,
        module: str | None,
        arguments: Sequence[str],
        environment: dict[str, str],
        output: Path,
        errors: Path,
        cwd: Path | None = None,
    ) -> None:
        self._process = forkserver().Process(  # type: ignore[attr-defined]
            target=_execute, args=(module, list(arguments), environment, output, errors, cwd or Path.cwd())
        )
        self._process.start()
        self.pid, self.kill = self._process.pid, self._process.kill
        atexit.register(self.kill)  # else the tests would wait at their end for what a failed one left running

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(str(self._process), timeout or 0)
        return int(self._process.exitcode)


def forkserver() -> BaseContext:
    """The context whose processes are forked from the one that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_IMPORTED))
    return context


def _execute(
    module: str | None, arguments: list[str], environment: dict[str, str], output: Path, errors: Path, cwd: Path
) -> None:
    for number, path in ((1, output), (2, errors)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, number)
        os.close(file)
    fork_what_is_started()
    _begin(environment, cwd)
    if module:
        _run_module(module, arguments)
    else:
        from pipelines.cli.main import main

        sys.argv = ["clinadapt", *arguments]
        main()


def fork_what_is_started() -> None:
    """From now on a process that this one starts as `python -m MODULE` is a fork of it."""
    from kfp.local import subprocess_task_handler
    from torch.distributed.elastic.multiprocessing.subprocess_handler import subprocess_handler
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    set_verbosity_error()  # which the command does by the environment, before transformers is imported
    disable_progress_bar()
    subprocess.Popen = subprocess_handler.Popen = _Fork  # type: ignore[misc]
    subprocess_task_handler.run_local_subprocess = partial(_run_step, subprocess_task_handler.run_local_subprocess)


def _run_step(run: Callable[..., int], full_command: list[str], env_vars: dict[str, str] | None = None) -> int:
    """kfp's function `run`, but without the shell that writes the component to a file."""
    code, *arguments = full_command[3:]
    with tempfile.TemporaryDirectory() as folder:
        component = Path(folder) / "ephemeral_component.py"
        component.write_text(code, encoding="utf-8")
        command = [sys.executable, "-m", "kfp.dsl.executor_main", "--component_module_path", str(component)]
        return run([*command, *arguments], env_vars)


class _Fork(subprocess.Popen):  # type: ignore[type-arg]
    """subprocess.Popen, but where the command is `python -m MODULE` the process is a fork of this one."""

    def _execute_child(self, args: Any, executable: Any, *others: Any) -> None:
        command = [str(part) for part in args if part != "-u"] if isinstance(args, Sequence) else []
        if command[:2] != [sys.executable, "-m"]:
            return super()._execute_child(args, executable, *others)  # type: ignore[misc]
        cwd, environment, pipes, new_session = others[3], others[4], others[8:14], others[19]
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            _end_with(lambda: _become(command[2:], cwd, environment, pipes, new_session))
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


def _become(command: list[str], cwd: Any, environment: Any, pipes: tuple[int, ...], new_session: bool) -> None:
    if new_session:
        os.setsid()
    for number, pipe in enumerate((pipes[0], pipes[3], pipes[5])):
        if pipe != -1:
            os.dup2(pipe, number)
    for pipe in {pipe for pipe in pipes if pipe > 2}:
        os.close(pipe)
    _begin(dict(environment or os.environ), Path(cwd or Path.cwd()))
    _run_module(command[0], command[1:])


def _begin(environment: dict[str, str], cwd: Path) -> None:
    """What a process that was started has of its own."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    logging.getLogger().handlers.clear()
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None
    os.chdir(cwd)


def _run_module(module: str, arguments: list[str]) -> None:
    sys.argv = [module, *arguments]
    sys.modules.pop(module, None)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end_with(action: Callable[[], None]) -> None:
    """End this process as Python does at the end of its main module."""
    status = 1
    try:
        action()
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
