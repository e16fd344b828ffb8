"""Bring a pipeline to Kubeflow Pipelines, start a run of it, and show its steps as they go."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

import kfp_server_api as kfp_api
import yaml
from rich.console import Console
from rich.live import Live
from rich.table import Table

from clinadapt.config.base import ProfileBase
from clinadapt.config.profile import AnyProfile
from clinadapt.errors import EXIT_BUG, EXIT_DONE, EXIT_GATE_SAID_NO, UserError
from clinadapt.kubernetes.cluster import Cluster
from pipelines.kfp_api import Refused, Remote

EXPERIMENT = "clinadapt"
# Of both recipes, in the order of their pipelines
STEPS = ("preflight-classify", "preflight-instruct", "download-classify", "download-instruct", "synthesize",
         "format-classify", "format-instruct", "lookup", "pretrain", "train-classify", "train-instruct", "prefer",
         "evaluate-classify", "evaluate-instruct", "gate", "publish", "summarise")  # fmt: skip
ENDED = {"SUCCEEDED", "FAILED", "SKIPPED", "CANCELED"}
PATIENCE = 3600  # seconds without an answer after which a run is no longer followed
_KINDS = {"STRING": str, "NUMBER_INTEGER": int, "NUMBER_DOUBLE": float, "LIST": list}


@dataclass(frozen=True)
class Compiled:
    """A compiled pipeline: its name, its text, the form it asks for, and the name of the version that it is."""

    name: str
    description: str
    text: str
    form: dict[str, dict[str, Any]]

    @property
    def version(self) -> str:
        return f"{package_version('clinadapt')}-{hashlib.sha256(self.text.encode()).hexdigest()[:10]}"


def compiled(profile: AnyProfile, cluster: Cluster) -> Compiled:
    """Compile now; nothing that lies around is trusted to be up to date."""
    from pipelines.compile import compile_profile

    with tempfile.TemporaryDirectory() as folder:
        text = compile_profile(profile, cluster, Path(folder)).read_text(encoding="utf-8")
    form = next(yaml.load_all(text, yaml.CSafeLoader))["root"]["inputDefinitions"]["parameters"]
    return Compiled(f"{profile.recipe}-{profile.name}", profile.description, text, form)


def check(parameters: dict[str, Any], form: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Parameters as the form takes them. Raises UserError for a name, a type or a choice that it does not know."""
    for name, value in parameters.items():
        if name not in form:
            raise UserError(f"there is no parameter '{name}': the form has {', '.join(sorted(form))}")
        kind = _KINDS[form[name]["parameterType"]]
        if not isinstance(value, (int, float) if kind is float else kind) or isinstance(value, bool):
            raise UserError(f"parameter {name}: give a value of type {kind.__name__}")
        if (choices := form[name].get("literals")) and value not in choices:
            raise UserError(f"parameter {name}: use one of {', '.join(choices)}")
    return parameters


def parsed(settings: list[str], form: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """`name=value` from the command line: a string as it stands, anything else as JSON."""
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
    wanted = _equals("display_name", name)
    listed = remote.every(
        remote.pipelines.pipeline_service_list_pipelines, "pipelines", namespace=remote.namespace, filter=wanted
    )
    return next((pipeline for pipeline in listed if pipeline.display_name == name), None)


def newest_version(remote: Remote, pipeline_id: str) -> Any | None:
    """The version that runs and schedules take, or None."""
    page = remote.call(
        remote.pipelines.pipeline_service_list_pipeline_versions, pipeline_id, page_size=1, sort_by="created_at desc"
    )
    return next(iter(page.pipeline_versions or ()), None)


def upload(remote: Remote, pipeline: Compiled) -> tuple[str, str, bool]:
    """Make this the newest version of its pipeline, where it is not.

    Returns:
        (pipeline id, version id, whether anything was uploaded)

    Raises:
        UserError: the cluster's settings still have the placeholder of a digest.
    """
    if f"@sha256:{'0' * 64}" in pipeline.text:
        raise UserError("the cluster's settings have 0000... for a digest: put in the one that your mirror gives")
    found = find_pipeline(remote, pipeline.name) or _create_pipeline(remote, pipeline)
    newest = newest_version(remote, found.pipeline_id)
    if newest and is_version(newest.display_name, pipeline):
        return found.pipeline_id, newest.pipeline_version_id, False
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{pipeline.name}.yaml"
        file.write_text(pipeline.text, encoding="utf-8")
        for again in ("", f"-again-{datetime.now(UTC):%Y%m%d%H%M%S}"):  # back to a version that there was before
            try:
                made = remote.call(
                    remote.uploads.upload_pipeline_version,
                    str(file),
                    name=pipeline.version + again,
                    pipelineid=found.pipeline_id,
                )
                return found.pipeline_id, made.pipeline_version_id, True
            except Refused as error:
                if error.status != 409:
                    raise
            newest = newest_version(remote, found.pipeline_id)
            if newest and is_version(newest.display_name, pipeline):  # somebody else was faster
                return found.pipeline_id, newest.pipeline_version_id, False
    raise UserError(f"pipeline {pipeline.name}: version {pipeline.version} is being uploaded by another; try again")


def is_version(version: str, pipeline: Compiled) -> bool:
    """Whether a version of that name is this pipeline."""
    return version.partition("-again-")[0] == pipeline.version


def _create_pipeline(remote: Remote, pipeline: Compiled) -> Any:
    body = kfp_api.V2beta1Pipeline(
        name=pipeline.name,
        display_name=pipeline.name,
        description=pipeline.description,
        namespace=remote.namespace,
    )
    return _created(
        lambda: remote.call(remote.pipelines.pipeline_service_create_pipeline, body),
        lambda: find_pipeline(remote, pipeline.name),
    )


def find_experiment(remote: Remote) -> Any | None:
    """The experiment that holds our runs, or None."""
    wanted = _equals("display_name", EXPERIMENT)
    listed = remote.every(
        remote.experiments.experiment_service_list_experiments, "experiments", namespace=remote.namespace, filter=wanted
    )
    return next((experiment for experiment in listed if experiment.display_name == EXPERIMENT), None)


def experiment(remote: Remote) -> str:
    """Id of the experiment that holds our runs; made where there is none."""
    body = kfp_api.V2beta1Experiment(display_name=EXPERIMENT, namespace=remote.namespace)
    found = find_experiment(remote) or _created(
        lambda: remote.call(remote.experiments.experiment_service_create_experiment, body),
        lambda: find_experiment(remote),
    )
    return found.experiment_id


def _created(create: Any, find: Any) -> Any:
    """What `create` makes; where another made it first, what `find` finds."""
    try:
        return create()
    except Refused as error:
        found = find() if error.status == 409 else None
        if found is None:
            raise
        return found


def _equals(key: str, value: str) -> str:
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": key, "stringValue": value}]})


def start(
    remote: Remote, profile: ProfileBase, cluster: Cluster, pipeline: Compiled, parameters: dict[str, Any]
) -> Any:
    """Start a run of the newest version.

    It is named by what it makes, of what, and when: `specialty, cpu-minilm, 2026-03-01 09:30`.
    """
    pipeline_id, version_id, _ = upload(remote, pipeline)
    name = f"{parameters.get('adapter_name', profile.adapter_name)}, {profile.name}, {datetime.now(UTC):%Y-%m-%d %H:%M}"
    return remote.call(
        remote.runs.run_service_create_run,
        kfp_api.V2beta1Run(
            display_name=name,
            experiment_id=experiment(remote),
            pipeline_version_reference=kfp_api.V2beta1PipelineVersionReference(pipeline_id, version_id),
            runtime_config=kfp_api.V2beta1RuntimeConfig(parameters=parameters),
            service_account=cluster.service_account or None,
        ),
    )


def follow(remote: Remote, run_id: str, every: float = 5.0) -> int:
    """Show the steps of a run until it ends: a live table on a terminal, else a line for each change.

    A network that is down, or a server that fails, is told in a line and asked again.

    Returns:
        0 published or nothing new, 1 a step failed, 3 the gate said no.

    Raises:
        UserError: no answer for PATIENCE seconds, or one that asking again does not mend.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    told: dict[str, str] = {}
    with Live(console=console, auto_refresh=False) if console.is_terminal else nullcontext() as live:
        while True:
            run = _ask(remote, run_id, console, every)
            steps = _steps(run)
            if live:
                live.update(_table(steps), refresh=True)
            else:
                for step, (state, seconds) in steps.items():
                    if told.get(step) != state:
                        console.print(f"{step:20} {state.lower()} {seconds}".rstrip(), markup=False)
                        told[step] = state
            if run.state in ENDED:
                return _outcome(run, steps, console)
            time.sleep(every)


def _ask(remote: Remote, run_id: str, console: Console, every: float) -> Any:
    """The run as it is now, asked for until there is an answer."""
    since = None
    while True:
        try:
            run = remote.call(remote.runs.run_service_get_run, run_id)
        except UserError as error:
            passing = not isinstance(error, Refused) or error.status in (408, 429) or error.status >= 500
            if not passing or (since and time.monotonic() - since > PATIENCE):
                raise
            if since is None:
                console.print(f"{error}; the run goes on, asking again", style="yellow", markup=False)
                since = time.monotonic()
            time.sleep(every)
            continue
        if since is not None:
            console.print("there is an answer again", markup=False)
        return run


def _steps(run: Any) -> dict[str, tuple[str, str]]:
    """State and seconds of each step that has begun, in the order of the pipeline."""
    details = {task.display_name: task for task in (run.run_details and run.run_details.task_details) or ()}
    found = {}
    for step in STEPS:
        if task := details.get(step):
            end = task.end_time or datetime.now(UTC)
            begun = task.start_time or task.create_time
            found[step] = (task.state or "PENDING", f"{max(0, (end - begun).total_seconds()):.0f} s" if begun else "")
    return found


def _table(steps: dict[str, tuple[str, str]]) -> Table:
    colours = {"SUCCEEDED": "green", "FAILED": "bold red", "RUNNING": "bold", "SKIPPED": "dim"}
    table = Table.grid(padding=(0, 2))
    for step, (state, seconds) in steps.items():
        table.add_row(step, f"[{colours.get(state, 'default')}]{state.lower()}[/]", seconds)
    return table


def _outcome(run: Any, steps: dict[str, tuple[str, str]], console: Console) -> int:
    if run.state != "SUCCEEDED":
        failed = [step for step, (state, _) in steps.items() if state == "FAILED"]
        where = f"see the log of {failed[0]} in the UI" if failed else "see the run in the UI"
        console.print(f"{run.display_name}: {run.state.lower()}; {where}", style="bold red", markup=False)
        return EXIT_BUG
    done = {step for step, (state, _) in steps.items() if state == "SUCCEEDED"}
    if "publish" in done:
        verdict, status = "published", EXIT_DONE
    elif "gate" in done:
        verdict, status = "the gate said no; its report says why", EXIT_GATE_SAID_NO
    else:
        verdict, status = "nothing new: the registry has what this run would make", EXIT_DONE
    style = "bold green" if status == EXIT_DONE else "bold yellow"
    console.print(f"{run.display_name}: {verdict}", style=style, markup=False)
    return status
