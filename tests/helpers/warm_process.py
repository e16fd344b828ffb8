"""The command in a process of its own, forked from one that has imported what the command and its steps import: a test
then pays for what it tests and not, several times, for the import of torch.

A step of a run is forked likewise in place of kfp's subprocess: kfp's own executor gets the same text of the component
and the same arguments. So is the process in which publish reloads an adapter.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

_IMPORTED = ("torch", "transformers", "kfp.dsl.executor_main", "pipelines.cli.main", "components.train.classify",
             "components.train.instruct", "components.evaluate.classify", "components.evaluate.instruct",
             "components.publish.publish_version", "clinadapt.review.batch_file")  # fmt: skip


def warm_command(
    arguments: list[str], environment: dict[str, str], cwd: Path | None
) -> subprocess.CompletedProcess[str]:
    """Run `clinadapt` with these arguments; its exit status and what it wrote, as subprocess.run returns them."""
    return _captured(_forkserver(), _execute_command, arguments, environment, cwd)


def warm_reload(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """In place of publish_version._reload: the check in a fork, from a process that has loaded no adapter."""
    return _captured(_forkserver(), _execute_reload, arguments, dict(os.environ))


def _captured(context: BaseContext, target: Any, *arguments: Any) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / name for name in ("stdout", "stderr")]
        status = _run(context, target, *arguments, *outputs)
        texts = [path.read_bytes().decode() for path in outputs]
    return subprocess.CompletedProcess(list(arguments[0]), status, *texts)


def _forkserver() -> BaseContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_IMPORTED))
    return context


def _run(context: BaseContext, target: Any, *arguments: Any) -> int:
    process = context.Process(target=target, args=arguments)  # type: ignore[attr-defined]
    process.start()
    process.join()
    return int(process.exitcode)


def _execute_command(
    arguments: list[str], environment: dict[str, str], cwd: Path | None, output: Path, errors: Path
) -> None:
    from kfp.local import subprocess_task_handler
    from transformers.utils import logging

    from components.publish import publish_version
    from pipelines.cli.main import main

    publish_version._reload = lambda arguments: _captured(
        multiprocessing.get_context("fork"), _execute_reload, arguments, dict(os.environ)
    )
    logging.set_verbosity_error()  # which the command does by the environment, before transformers is imported
    logging.disable_progress_bar()
    subprocess_task_handler.run_local_subprocess = _run_step
    _write_to(output, errors)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None
    os.chdir(cwd or Path.cwd())
    sys.argv = ["clinadapt", *arguments]
    main()


def _run_step(full_command: list[str], env_vars: dict[str, str] | None = None) -> int:
    """In place of kfp's function of this signature: the step in a fork of this process, its output printed here."""
    code, *arguments = full_command[3:]
    with tempfile.TemporaryDirectory() as folder:
        module, output = Path(folder) / "ephemeral_component.py", Path(folder) / "output"
        module.write_text(code, encoding="utf-8")
        arguments = ["--component_module_path", str(module), *arguments]
        status = _run(multiprocessing.get_context("fork"), _execute_step, arguments, env_vars or {}, output)
        print(output.read_text(encoding="utf-8"))
    return status


def _execute_step(arguments: list[str], environment: dict[str, str], output: Path) -> None:
    from kfp.dsl.executor_main import executor_main

    _write_to(output, output)
    os.environ.update(environment)
    sys.argv = ["executor_main", *arguments]
    executor_main()


def _execute_reload(arguments: list[str], environment: dict[str, str], output: Path, errors: Path) -> None:
    from clinadapt.registry.reload_check import main

    _write_to(output, errors)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["reload_check", *arguments]
    main()


def _write_to(output: Path, errors: Path) -> None:
    """Lead the file descriptors and the streams of standard output and standard error to files."""
    for number, path in ((1, output), (2, errors)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, number)
        os.close(file)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
