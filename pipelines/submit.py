"""Upload a pipeline to Kubeflow Pipelines, start a run of it, and follow its steps."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as package_version
from itertools import product
from pathlib import Path
from typing import Any

import kfp_server_api as kfp_api
import yaml
from rich.console import Console
from rich.live import Live
from rich.table import Table

from clinadapt.config.base import ProfileBase
from clinadapt.config.profile import AnyProfile
from clinadapt.config.steps import STEPS
from clinadapt.errors import EXIT_BUG, EXIT_DONE, EXIT_REFUSED, UserError
from clinadapt.kubernetes.cluster import Cluster
from pipelines.kfp_api import ApiError, Remote

EXPERIMENT = "clinadapt"
ENDED = {"SUCCEEDED", "FAILED", "SKIPPED", "CANCELED"}
PATIENCE = 3600  # seconds without a response after which a run is no longer followed
_TYPES = {"STRING": str, "NUMBER_INTEGER": int, "NUMBER_DOUBLE": float, "LIST": list}


@dataclass(frozen=True)
class Compiled:
    """A compiled pipeline.

    Attributes:
        text: the YAML.
        form: the parameters of the run form, by name, as in the pipeline spec.
    """

    name: str
    description: str
    text: str
    form: dict[str, dict[str, Any]]

    @property
    def version(self) -> str:
        """Name of the pipeline version: the package's version and a hash of the text."""
        return f"{package_version('clinadapt')}-{hashlib.sha256(self.text.encode()).hexdigest()[:10]}"


def compiled(profile: AnyProfile, cluster: Cluster) -> Compiled:
    """Compile a profile for a cluster."""
    from pipelines.compile import compile_profile

    with tempfile.TemporaryDirectory() as folder:
        text = compile_profile(profile, cluster, Path(folder)).read_text(encoding="utf-8")
    form = next(yaml.load_all(text, yaml.CSafeLoader))["root"]["inputDefinitions"]["parameters"]
    return Compiled(f"{profile.recipe}-{profile.name}", profile.description, text, form)


def check(parameters: dict[str, Any], form: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return `parameters` unchanged if the form accepts them.

    Raises:
        UserError: a name, a type or a choice that the form does not have.
    """
    for name, value in parameters.items():
        if name not in form:
            raise UserError(f"unknown parameter '{name}': the form has {', '.join(sorted(form))}")
        expected = _TYPES[form[name]["parameterType"]]
        if not isinstance(value, (int, float) if expected is float else expected) or isinstance(value, bool):
            raise UserError(f"parameter {name}: give a value of type {expected.__name__}")
        if (choices := form[name].get("literals")) and value not in choices:
            raise UserError(f"parameter {name}: use one of {', '.join(choices)}")
    return parameters


def parsed(settings: list[str], form: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Parse `name=value` from the command line: strings as they are, everything else as JSON.

    Raises:
        UserError: as `check`, or a value is not JSON.
    """
    parameters: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise UserError(f"--set {setting}: write it as name=value")
        if form.get(name, {}).get("parameterType") == "STRING":
            parameters[name] = value
            continue
        try:
            parameters[name] = json.loads(value)
        except ValueError:
            raise UserError(f'--set {name}: write its value as JSON, such as 3, 0.001 or ["Cardiology"]') from None
    return check(parameters, form)


def find_pipeline(remote: Remote, name: str) -> Any | None:
    """The pipeline of that name, or None."""
    listed = remote.list_all(
        remote.pipelines.pipeline_service_list_pipelines,
        "pipelines",
        namespace=remote.namespace,
        filter=_equals("display_name", name),
    )
    return next((pipeline for pipeline in listed if pipeline.display_name == name), None)


def newest_version(remote: Remote, pipeline_id: str) -> Any | None:
    """The version that runs and schedules use, or None."""
    page = remote.call(
        remote.pipelines.pipeline_service_list_pipeline_versions, pipeline_id, page_size=1, sort_by="created_at desc"
    )
    return next(iter(page.pipeline_versions or ()), None)


def upload(remote: Remote, pipeline: Compiled) -> tuple[str, str, bool]:
    """Make this the newest version of its pipeline, unless it already is.

    Returns:
        (pipeline id, version id, whether a version was uploaded)

    Raises:
        UserError: the cluster's settings still have a placeholder for an image digest.
    """
    if f"@sha256:{'0' * 64}" in pipeline.text:
        raise UserError("the cluster's settings have the placeholder 0000... for an image digest: use your mirror's")
    pipeline_id = (find_pipeline(remote, pipeline.name) or _create_pipeline(remote, pipeline)).pipeline_id
    if (existing := _existing_version(remote, pipeline_id, pipeline)) is not None:
        return pipeline_id, existing, False
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{pipeline.name}.yaml"
        file.write_text(pipeline.text, encoding="utf-8")
        # The second name is for going back to an earlier version: names of versions are unique
        for suffix in ("", f"-again-{datetime.now(UTC):%Y%m%d%H%M%S}"):
            try:
                created = remote.call(
                    remote.uploads.upload_pipeline_version,
                    str(file),
                    name=pipeline.version + suffix,
                    pipelineid=pipeline_id,
                )
                return pipeline_id, created.pipeline_version_id, True
            except ApiError as error:
                if error.status != 409:
                    raise
            if (existing := _existing_version(remote, pipeline_id, pipeline)) is not None:  # uploaded concurrently
                return pipeline_id, existing, False
    raise UserError(f"pipeline {pipeline.name}: version {pipeline.version} is being uploaded by another; try again")


def _existing_version(remote: Remote, pipeline_id: str, pipeline: Compiled) -> str | None:
    """Id of the newest version if it is this pipeline."""
    newest = newest_version(remote, pipeline_id)
    return newest.pipeline_version_id if newest and is_version(newest.display_name, pipeline) else None


def is_version(version: str, pipeline: Compiled) -> bool:
    """Whether the version named `version` is this pipeline."""
    return version.partition("-again-")[0] == pipeline.version


def _create_pipeline(remote: Remote, pipeline: Compiled) -> Any:
    body = kfp_api.V2beta1Pipeline(
        name=pipeline.name,
        display_name=pipeline.name,
        description=pipeline.description,
        namespace=remote.namespace,
    )
    return _create_or_find(
        lambda: remote.call(remote.pipelines.pipeline_service_create_pipeline, body),
        lambda: find_pipeline(remote, pipeline.name),
    )


def find_experiment(remote: Remote) -> Any | None:
    """The experiment of Clinadapt's runs, or None."""
    listed = remote.list_all(
        remote.experiments.experiment_service_list_experiments,
        "experiments",
        namespace=remote.namespace,
        filter=_equals("display_name", EXPERIMENT),
    )
    return next((experiment for experiment in listed if experiment.display_name == EXPERIMENT), None)


def experiment_id(remote: Remote) -> str:
    """Id of the experiment of Clinadapt's runs, created if missing."""
    body = kfp_api.V2beta1Experiment(display_name=EXPERIMENT, namespace=remote.namespace)
    experiment = find_experiment(remote) or _create_or_find(
        lambda: remote.call(remote.experiments.experiment_service_create_experiment, body),
        lambda: find_experiment(remote),
    )
    return experiment.experiment_id


def _create_or_find(create: Callable[[], Any], find: Callable[[], Any]) -> Any:
    """Create an object, or find the one that was created concurrently."""
    try:
        return create()
    except ApiError as error:
        if error.status != 409 or (existing := find()) is None:
            raise
        return existing


def _equals(key: str, value: str) -> str:
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": key, "stringValue": value}]})


def start(
    remote: Remote, profile: ProfileBase, cluster: Cluster, pipeline: Compiled, parameters: dict[str, Any]
) -> Any:
    """Upload a pipeline if it changed, and start a run of it.

    The run is named by adapter, profile and time (UTC): `specialty, cpu-minilm, 2026-03-01 09:30`.
    """
    pipeline_id, version_id, _ = upload(remote, pipeline)
    name = f"{parameters.get('adapter_name', profile.adapter_name)}, {profile.name}, {datetime.now(UTC):%Y-%m-%d %H:%M}"
    return remote.call(
        remote.runs.run_service_create_run,
        kfp_api.V2beta1Run(
            display_name=name,
            experiment_id=experiment_id(remote),
            pipeline_version_reference=kfp_api.V2beta1PipelineVersionReference(pipeline_id, version_id),
            runtime_config=kfp_api.V2beta1RuntimeConfig(parameters=parameters),
            service_account=cluster.service_account or None,
        ),
    )


def follow(remote: Remote, run_id: str, interval: float = 5.0) -> int:
    """Show the steps of a run until it ends: a live table on a terminal, else a line for each change of state.

    Network failures and server errors are reported in one line and retried.

    Args:
        interval: seconds between two requests.

    Returns:
        Exit status: 0 published or nothing new, 1 a step failed, 3 the gate refused the adapter.

    Raises:
        UserError: no response for PATIENCE seconds, or an error that a retry does not fix.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    printed: dict[str, str] = {}
    with Live(console=console, auto_refresh=False) if console.is_terminal else nullcontext() as live:
        while True:
            run = _get_run(remote, run_id, console, interval)
            tasks = _tasks(run)
            if live:
                live.update(_table(tasks), refresh=True)
            else:
                for name, (state, duration) in tasks.items():
                    if printed.get(name) != state:
                        console.print(f"{name:20} {state.lower()} {duration}".rstrip(), markup=False)
                        printed[name] = state
            if run.state in ENDED:
                return _outcome(run, tasks, console)
            time.sleep(interval)


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


def _tasks(run: Any) -> dict[str, tuple[str, str]]:
    """(state, duration) of each step's task that has started, by its name and in the order of the pipeline.

    A task is named like its step, or with a suffix (`train-classify`). Drivers and conditions are left out.
    """
    tasks = {}
    details = (run.run_details and run.run_details.task_details) or ()
    for step, task in product(STEPS, details):
        name = task.display_name
        if (name == step or name.startswith(f"{step}-")) and not name.endswith("-driver"):
            end = task.end_time or datetime.now(UTC)
            start = task.start_time or task.create_time
            duration = f"{max(0, (end - start).total_seconds()):.0f} s" if start else ""
            tasks[name] = (task.state or "PENDING", duration)
    return tasks


def _table(tasks: dict[str, tuple[str, str]]) -> Table:
    colours = {"SUCCEEDED": "green", "FAILED": "bold red", "RUNNING": "bold", "SKIPPED": "dim"}
    table = Table.grid(padding=(0, 2))
    for name, (state, duration) in tasks.items():
        table.add_row(name, f"[{colours.get(state, 'default')}]{state.lower()}[/]", duration)
    return table


def _outcome(run: Any, tasks: dict[str, tuple[str, str]], console: Console) -> int:
    """Print how a run ended; return the exit status."""
    if run.state != "SUCCEEDED":
        failed = [name for name, (state, _) in tasks.items() if state == "FAILED"]
        where = f"see the log of {failed[0]} in the UI" if failed else "see the run in the UI"
        console.print(f"{run.display_name}: {run.state.lower()}; {where}", style="bold red", markup=False)
        return EXIT_BUG
    done = {name for name, (state, _) in tasks.items() if state == "SUCCEEDED"}
    if "publish" in done:
        verdict, status = "published", EXIT_DONE
    elif "gate" in done:
        verdict, status = "refused by the gate: see its report", EXIT_REFUSED
    else:
        verdict, status = "nothing new: the registry already has this version", EXIT_DONE
    style = "bold green" if status == EXIT_DONE else "bold yellow"
    console.print(f"{run.display_name}: {verdict}", style=style, markup=False)
    return status
