"""The commands for a cluster: submit, schedule, trainjob and mirror-list."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clinadapt.config.instruct import Stage
from clinadapt.errors import EXIT_DONE, EXIT_INTERRUPTED
from clinadapt.storage.local_files import os_errors
from pipelines.cli.options import Endpoint, Json, Namespace, StoreUri, emit

if TYPE_CHECKING:
    from pipelines.recurring_runs import Plan

ClusterName = Annotated[str, typer.Option("--cluster", "-c", help="Name of cluster settings, or path of a .yaml file.")]
Folder = Annotated[Path, typer.Option("--folder", help="Folder with the schedules.")]
SCHEDULES = Path("pipelines/schedules")

schedule = typer.Typer(help="Manage recurring runs, declared in pipelines/schedules/*.yaml.", no_args_is_help=True)


def submit(
    profile: Annotated[str, typer.Option("--profile", "-p", help="Name of a profile, or path of a .yaml file.")],
    cluster: ClusterName = "default",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Field of the run form, as NAME=VALUE. Can be repeated.")
    ] = None,
    endpoint: Endpoint = None,
    namespace: Namespace = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show the steps until the run ends.")] = False,
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Whether Kubeflow Pipelines may reuse outputs of earlier runs.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Compile a pipeline, upload it if it changed, and start a run.

    Exit status: 0 started (with --follow: published, awaiting approval or nothing new), 1 a step failed, 2 invalid
    input or no connection, 3 refused by the gate, 75 interrupted (the run continues).

        clinadapt submit -p cpu-demo --endpoint http://localhost:8080 --follow

        clinadapt submit -p t4-tinyllama -c site.yaml --set num_train_epochs=3 --set source=s3://notes/2026.parquet

    To authenticate, set CLINADAPT_KFP_TOKEN or CLINADAPT_KFP_COOKIE; in a pod, the service account is used.
    """
    from pipelines import submit as submission
    from pipelines.follow import follow as follow_run
    from pipelines.kfp_api import connect
    from pipelines.named_settings import load_cluster, load_profile

    loaded, target = load_profile(profile), load_cluster(cluster)
    pipeline = submission.compiled(loaded, target, cache)
    parameters = submission.parsed(settings or [], pipeline.form)
    remote = connect(endpoint, namespace)
    run = submission.start(remote, loaded, target, pipeline, parameters)
    print(f"started: {run.display_name}\nsee      {submission.link(remote, target, run.run_id)}", file=sys.stderr)
    status = EXIT_DONE
    if follow:
        try:
            status = follow_run(remote, run.run_id)
        except KeyboardInterrupt:
            print("stopped following; the run continues", file=sys.stderr)
            status = EXIT_INTERRUPTED
    if as_json:
        emit({"run_id": run.run_id, "name": run.display_name, "version": pipeline.version, "status": status})
    raise typer.Exit(status)


def _plan(folder: Path, cluster: str, endpoint: str | None, namespace: str | None, force: bool) -> Plan:
    """Make a plan and print it."""
    from pipelines import recurring_runs
    from pipelines.kfp_api import connect
    from pipelines.named_settings import load_cluster

    settings = load_cluster(cluster)
    schedules = recurring_runs.load(folder, settings)
    plan = recurring_runs.Plan(connect(endpoint, namespace), settings, schedules, force)
    for pipeline in plan.outdated:
        print(f"+ pipeline {pipeline.name}: new version {pipeline.version}")
    for change in plan.changes:
        print(*change.lines(), sep="\n")
    return plan


@schedule.command("plan")
def plan_schedules(
    folder: Folder = SCHEDULES, cluster: ClusterName = "default", endpoint: Endpoint = None, namespace: Namespace = None
) -> None:
    """Show the changes that `apply` would make, and when each schedule runs next."""
    from datetime import UTC, datetime
    from zoneinfo import ZoneInfo

    from pipelines.cron import Cron

    for declared in _plan(folder, cluster, endpoint, namespace, force=False).schedules:
        times = Cron(declared.cron).next_times(datetime.now(UTC), ZoneInfo(declared.time_zone), 3)
        off = "" if declared.enabled else " (if it were enabled)"
        print(f"next times of {declared.name}{off}: {', '.join(f'{when:%a %Y-%m-%d %H:%M:%S %Z}' for when in times)}")


@schedule.command("apply")
def apply_schedules(
    folder: Folder = SCHEDULES,
    cluster: ClusterName = "default",
    endpoint: Endpoint = None,
    namespace: Namespace = None,
    force: Annotated[bool, typer.Option("--force", help="End runs in progress that block a change.")] = False,
) -> None:
    """Create, replace and delete recurring runs to match the schedules; those created by hand are not touched.

    Changing a recurring run means replacing it, which would end its run in progress. Such a change is skipped and the
    exit status is 75: run the same command again later.
    """
    done = _plan(folder, cluster, endpoint, namespace, force).apply()
    raise typer.Exit(EXIT_DONE if done else EXIT_INTERRUPTED)


@schedule.command("status")
def status_of_schedules(endpoint: Endpoint = None, namespace: Namespace = None) -> None:
    """Show the schedules in the cluster and their last runs."""
    from rich.console import Console
    from rich.table import Table

    from pipelines import recurring_runs
    from pipelines.kfp_api import connect

    table = Table("schedule", "", "cron", "version", "last run", "state", box=None)
    for row in recurring_runs.status(connect(endpoint, namespace)):
        table.add_row(*row)
    Console().print(table)


def trainjob(
    profile: Annotated[str, typer.Option("--profile", "-p", help="Name of a profile, or path of a .yaml file.")],
    splits: Annotated[
        str, typer.Option(help="URI (s3:// or minio://) of the output `splits` of the format step, from the KFP UI.")
    ],
    cluster: ClusterName = "default",
    nodes: Annotated[int, typer.Option(help="Number of nodes, each with the profile's train_resources.", min=1)] = 2,
    stage: Annotated[Stage, typer.Option(help="Stage of training.")] = "instruct",
    base_model: Annotated[
        str | None, typer.Option(help="Base model instead of the profile's; after pretrain, the URI in its log.")
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            help="ClusterTrainingRuntime with torch policy and a container `node`.",
            show_default="the cluster's trainer.runtime, else torch-distributed",
        ),
    ] = None,
    store: StoreUri = "s3://clinadapt",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File for the YAML.", show_default="standard output")
    ] = None,
) -> None:
    """Render a TrainJob for training on several nodes.

    Needs Kubeflow Trainer 2.2 or later. A later run of the pipeline with the same profile, data and store uses the
    trained weights, evaluates and publishes them. The same command renders the same name, so that a stopped TrainJob
    resumes from its checkpoint.

        clinadapt trainjob -p a100x4-llama3-8b --splits s3://clinadapt/... --nodes 2 | kubectl apply -f -
    """
    import yaml

    from clinadapt.kubernetes import trainjob as rendering
    from pipelines.named_settings import load_cluster, load_profile

    manifest = rendering.render(
        load_profile(profile), load_cluster(cluster), nodes, splits, store, stage, base_model, runtime
    )
    text = yaml.safe_dump(manifest, sort_keys=False)
    if output:
        with os_errors(f"cannot write {output}"):
            output.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    print(
        f"batch    {rendering.packs_per_step(manifest)} packs per optimizer step, over all nodes\n"
        f"next     kubectl apply; when it is complete, clinadapt submit -p {profile}, which uses the trained weights",
        file=sys.stderr,
    )


def mirror_list(cluster: ClusterName = "airgap") -> None:
    """List the images and models that a site without internet access has to mirror.

    Prints one per line: kind, name, used by.
    """
    from pipelines.cli.mirror_list import needed
    from pipelines.named_settings import load_cluster

    for line in needed(load_cluster(cluster)):
        print("\t".join(line))
