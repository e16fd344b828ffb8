"""The commands for a cluster: submit, schedule plan, apply and status, trainjob; and what a site has to mirror."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clinadapt.config.instruct import Stage
from clinadapt.errors import EXIT_DONE, EXIT_INTERRUPTED
from clinadapt.storage.local_files import os_errors
from pipelines.cli.options import Json, StoreUri, emit

if TYPE_CHECKING:
    from pipelines.recurring_runs import Plan

ClusterName = Annotated[str, typer.Option("--cluster", "-c", help="A cluster's name, or the path of a .yaml file.")]
Endpoint = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        help="Address of Kubeflow Pipelines, such as https://kubeflow.example.org/pipeline; in a pod, its own cluster.",
        envvar="KF_PIPELINES_ENDPOINT",
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="Where several users share a Kubeflow.", envvar="CLINADAPT_NAMESPACE"),
]
Folder = Annotated[Path, typer.Option("--folder", help="Folder with the declared schedules.")]
SCHEDULES = Path("pipelines/schedules")

schedule = typer.Typer(
    help="Recurring runs: what is declared in pipelines/schedules, made so in the cluster.", no_args_is_help=True
)


def submit(
    profile: Annotated[str, typer.Option("--profile", "-p", help="A profile's name, or the path of a .yaml file.")],
    cluster: ClusterName = "default",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A field of the run form, name=value; repeat for more.")
    ] = None,
    endpoint: Endpoint = None,
    namespace: Namespace = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show its steps until it ends.")] = False,
    as_json: Json = False,
) -> None:
    """Bring a pipeline to the cluster, where it is not the newest version there, and start a run of it.

    Exit status: 0 started (with --follow: published, or nothing new), 1 a step failed, 2 bad input or no cluster,
    3 the gate said no, 75 no longer followed (the run goes on).

        clinadapt submit -p cpu-demo --endpoint http://localhost:8080 --follow

        clinadapt submit -p t4-tinyllama -c site.yaml --set num_train_epochs=3 --set source=s3://notes/2026.parquet

    Sign in with CLINADAPT_KFP_TOKEN or CLINADAPT_KFP_COOKIE; in a pod its service account does.
    """
    from pipelines import submit as submitting
    from pipelines.kfp_api import connect
    from pipelines.named_settings import load_cluster, load_profile

    chosen, place = load_profile(profile), load_cluster(cluster)
    pipeline = submitting.compiled(chosen, place)
    parameters = submitting.parsed(settings or [], pipeline.form)
    remote = connect(endpoint, namespace)
    run = submitting.start(remote, chosen, place, pipeline, parameters)
    print(f"started: {run.display_name}\nsee      {remote.endpoint}/#/runs/details/{run.run_id}", file=sys.stderr)
    status = EXIT_DONE
    if follow:
        try:
            status = submitting.follow(remote, run.run_id)
        except KeyboardInterrupt:
            print("no longer followed; the run goes on", file=sys.stderr)
            status = EXIT_INTERRUPTED
    if as_json:
        emit({"run_id": run.run_id, "name": run.display_name, "version": pipeline.version, "status": status})
    raise typer.Exit(status)


def _plan(folder: Path, cluster: str, endpoint: str | None, namespace: str | None, force: bool) -> Plan:
    """The plan, shown."""
    from pipelines import recurring_runs as schedules
    from pipelines.kfp_api import connect
    from pipelines.named_settings import load_cluster

    place = load_cluster(cluster)
    declared = schedules.load(folder, place)
    plan = schedules.Plan(connect(endpoint, namespace), place, declared, force)
    for pipeline in plan.outdated:
        print(f"+ pipeline {pipeline.name}: new version {pipeline.version}")
    for change in plan.changes:
        print(*change.lines(), sep="\n")
    return plan


@schedule.command("plan")
def plan_schedules(
    folder: Folder = SCHEDULES, cluster: ClusterName = "default", endpoint: Endpoint = None, namespace: Namespace = None
) -> None:
    """Show what `apply` would do, and change nothing."""
    _plan(folder, cluster, endpoint, namespace, force=False)


@schedule.command("apply")
def apply_schedules(
    folder: Folder = SCHEDULES,
    cluster: ClusterName = "default",
    endpoint: Endpoint = None,
    namespace: Namespace = None,
    force: Annotated[bool, typer.Option("--force", help="End runs in progress that stand in the way.")] = False,
) -> None:
    """Show the plan, then make the cluster's recurring runs so. Those made by hand are left alone.

    A recurring run is replaced to be changed, which would end its run in progress: such a one is left as it is, and
    the exit status is 75; run the same command again later.
    """
    done = _plan(folder, cluster, endpoint, namespace, force).apply()
    raise typer.Exit(EXIT_DONE if done else EXIT_INTERRUPTED)


@schedule.command("status")
def status_of_schedules(endpoint: Endpoint = None, namespace: Namespace = None) -> None:
    """The schedules in the cluster and their last runs."""
    from rich.console import Console
    from rich.table import Table

    from pipelines import recurring_runs as schedules
    from pipelines.kfp_api import connect

    table = Table("schedule", "", "cron", "last run", "state", box=None)
    for row in schedules.status(connect(endpoint, namespace)):
        table.add_row(*row)
    Console().print(table)


def trainjob(
    profile: Annotated[str, typer.Option("--profile", "-p", help="A profile's name, or the path of a .yaml file.")],
    splits: Annotated[
        str, typer.Option(help="What format wrote, s3://...: the URI of its output `splits` in the KFP UI.")
    ],
    cluster: ClusterName = "default",
    nodes: Annotated[int, typer.Option(help="How many; each has what train_resources of the profile says.", min=1)] = 2,
    stage: Annotated[Stage, typer.Option(help="What is trained.")] = "instruct",
    base_model: Annotated[
        str | None, typer.Option(help="Another one than the profile's; after pretrain the one that its log tells.")
    ] = None,
    runtime: Annotated[
        str, typer.Option(help="A ClusterTrainingRuntime with torch policy and a container `node`.")
    ] = "torch-distributed",
    store: StoreUri = "s3://clinadapt",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The .yaml file.", show_default="standard output")
    ] = None,
) -> None:
    """Render a TrainJob of Kubeflow Trainer 2.2 or later: training on several nodes, with the settings of a run.

    clinadapt trainjob -p a100x4-llama3-8b --splits s3://clinadapt/... --stage pretrain --nodes 2 | kubectl apply -f -

    A run of the pipeline with the same profile, data and store then takes what was trained, judges and publishes it.
    The same command renders the same name, and a TrainJob that was stopped goes on from its checkpoint.
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
        f"a step   {rendering.packs_a_step(manifest)} packs on all nodes together\n"
        f"next     kubectl apply; once it is complete, clinadapt submit -p {profile}: the run takes what was trained",
        file=sys.stderr,
    )


def mirror_list(cluster: ClusterName = "airgap") -> None:
    """Print every image and model that a site without a way out has to mirror, one a line: kind, name, used by."""
    from pipelines.cli.mirror_list import needed
    from pipelines.named_settings import load_cluster

    for line in needed(load_cluster(cluster)):
        print("\t".join(line))
