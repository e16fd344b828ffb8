"""Compile a pipeline, upload it to Kubeflow Pipelines, and start a run of it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

import kfp_server_api as kfp_api
import yaml

from clinadapt.config.base import ProfileBase, refuse_placeholders
from clinadapt.config.profile import AnyProfile
from clinadapt.errors import UserError
from clinadapt.kubernetes.cluster import Cluster
from clinadapt.registry.approval.decisions import starter
from clinadapt.registry.champion import user
from clinadapt.registry.mlflow_tracking import experiment_name
from pipelines.kfp_api import IN_CLUSTER, ApiError, Remote

EXPERIMENT = "clinadapt"
_UNKNOWN_FIELD = re.compile(r'unknown field "(\w+)"')  # strict protojson, of IR that a newer SDK compiled
_TYPES = {"STRING": str, "NUMBER_INTEGER": int, "NUMBER_DOUBLE": float, "LIST": list, "STRUCT": dict}


@dataclass(frozen=True)
class Compiled:
    """A compiled pipeline.

    Attributes:
        text: the YAML.
        form: the parameters of the run form, by name, as in the pipeline spec.
        origin: profile, cluster, user and commit that it was compiled from; the version's description.
    """

    name: str
    description: str
    text: str
    form: dict[str, dict[str, Any]]
    origin: str = ""

    @property
    def version(self) -> str:
        """Name of the pipeline version: the package's version and a hash of the text."""
        return f"{package_version('clinadapt')}-{hashlib.sha256(self.text.encode()).hexdigest()[:10]}"


def compiled(profile: AnyProfile, cluster: Cluster, caching: bool = True) -> Compiled:
    """Compile a profile for a cluster; without `caching` every step runs, whatever Kubeflow Pipelines has cached."""
    from pipelines.compile import compile_profile

    with tempfile.TemporaryDirectory() as folder:
        path = compile_profile(profile, cluster, Path(folder), caching)
        return read_compiled(path, profile, cluster, profile.description)


def read_compiled(path: Path, profile: AnyProfile, cluster: Cluster, description: str) -> Compiled:
    """A compiled file of a profile and a cluster."""
    text = path.read_text(encoding="utf-8")
    form = next(yaml.load_all(text, yaml.CSafeLoader))["root"]["inputDefinitions"]["parameters"]
    origin = f"profile {profile.name}, cluster {cluster.name}, by {user()}, commit {_commit()}"
    return Compiled(path.stem, description, text, form, origin)


def _commit() -> str:
    """The commit of this code: of its repository, or that the image was built from."""
    root = Path(__file__).parents[1]
    if (root / ".git").exists():
        with suppress(OSError, subprocess.CalledProcessError):
            command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return os.environ.get("CLINADAPT_REVISION", "unknown")


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
        try:
            refuse_placeholders(value)
        except ValueError as error:
            raise UserError(f"parameter {name} {error}") from error
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


def find_version(remote: Remote, pipeline_id: str, pipeline: Compiled) -> str | None:
    """Id of the version that is this pipeline, or None."""
    listed = remote.list_all(
        remote.pipelines.pipeline_service_list_pipeline_versions,
        "pipeline_versions",
        pipeline_id=pipeline_id,
        filter=_equals("display_name", pipeline.version),
    )
    return next((each.pipeline_version_id for each in listed if each.display_name == pipeline.version), None)


def upload(remote: Remote, pipeline: Compiled) -> tuple[str, str, bool]:
    """Upload a version of a pipeline, unless it is there. Schedules hold the version that they were created with.

    Returns:
        (pipeline id, version id, whether a version was uploaded)

    Raises:
        UserError: the cluster's settings still have a placeholder for an image digest, or the server is too old.
    """
    if f"@sha256:{'0' * 64}" in pipeline.text:
        raise UserError("the cluster's settings have the placeholder 0000... for an image digest: use your mirror's")
    pipeline_id = (find_pipeline(remote, pipeline.name) or _create_pipeline(remote, pipeline)).pipeline_id
    if (existing := find_version(remote, pipeline_id, pipeline)) is not None:
        return pipeline_id, existing, False
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{pipeline.name}.yaml"
        file.write_text(pipeline.text, encoding="utf-8")
        try:
            created = remote.call(
                remote.uploads.upload_pipeline_version,
                str(file),
                name=pipeline.version,
                pipelineid=pipeline_id,
                description=pipeline.origin,
            )
            return pipeline_id, created.pipeline_version_id, True
        except ApiError as error:
            if error.status != 409:
                raise _too_old(remote, error) from None
    if (existing := find_version(remote, pipeline_id, pipeline)) is not None:  # uploaded concurrently
        return pipeline_id, existing, False
    raise UserError(f"pipeline {pipeline.name}: version {pipeline.version} is being uploaded by another; try again")


def _too_old(remote: Remote, error: ApiError) -> UserError:
    """What to do where a server before 2.17 refuses the IR for a field that it does not know."""
    if (unknown := _UNKNOWN_FIELD.search(str(error))) is None:
        return error
    return UserError(f"{remote.endpoint} does not know {unknown[1]}: Kubeflow Pipelines is older than 2.17, update it")


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

    The run is named by adapter, profile and time (UTC): `specialty, cpu-minilm, 2026-03-01 09:30`. Who starts it stands
    in `started_by`, unless the parameters say so.
    """
    pipeline_id, version_id, _ = upload(remote, pipeline)
    name = f"{parameters.get('adapter_name', profile.adapter_name)}, {profile.name}, {datetime.now(UTC):%Y-%m-%d %H:%M}"
    return remote.call(
        remote.runs.run_service_create_run,
        kfp_api.V2beta1Run(
            display_name=name,
            experiment_id=experiment_id(remote),
            pipeline_version_reference=kfp_api.V2beta1PipelineVersionReference(pipeline_id, version_id),
            runtime_config=kfp_api.V2beta1RuntimeConfig(parameters={"started_by": starter(), **parameters}),
            service_account=cluster.service_account or None,
            plugins_input=plugins_input(pipeline, parameters),
        ),
    )


def plugins_input(pipeline: Compiled, parameters: dict[str, Any]) -> dict[str, Any]:
    """What plugins of Kubeflow Pipelines need to know of a run: MLflow's the experiment. Ignored where it is off."""
    adapter = parameters.get("adapter_name", pipeline.form["adapter_name"]["defaultValue"])
    return {"mlflow": {"experiment_name": experiment_name(adapter)}}


def link(remote: Remote, cluster: Cluster, run_id: str) -> str:
    """Where a browser shows a run; without the address of the UI, as in a pod, the command that shows it."""
    address = cluster.ui or ("" if remote.endpoint == IN_CLUSTER else remote.endpoint)
    return f"{address.rstrip('/')}/#/runs/details/{run_id}" if address else f"clinadapt runs show {run_id}"
