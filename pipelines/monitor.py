"""The monitor's pipeline: one step, to be scheduled daily, that compares use with the evaluation; where the profile
says so, a second one starts a run when something has moved."""

import tempfile
from pathlib import Path

from kfp import compiler, dsl
from kfp.dsl.graph_component import GraphComponent

from clinadapt.config.profile import AnyProfile
from clinadapt.kubernetes.cluster import Cluster
from components.monitor.component import monitor
from pipelines.placement import Placement, pipeline_config
from pipelines.start_run import start_run
from pipelines.submit import Compiled, read_compiled


def build(profile: AnyProfile, cluster: Cluster | None = None) -> GraphComponent:
    """The pipeline that watches the adapter of a profile.

    Args:
        profile: the profile.
        cluster: where it will run; None for this machine.
    """
    place = Placement(profile, cluster, caching=False)
    target = (cluster or Cluster(name="default")).model_dump(exclude_none=True)

    @dsl.pipeline(
        name=f"monitor-{profile.name}",
        description=_description(profile),
        pipeline_config=pipeline_config(cluster),
    )
    def watch(
        adapter_name: str = profile.adapter_name,
        days: int = profile.monitoring.days,
        store: str = "s3://clinadapt",
    ) -> None:
        checked = monitor(adapter=adapter_name, days=days, start_run=profile.monitoring.start_run, store=store)
        place(checked, "monitor")
        if profile.monitoring.start_run:
            with dsl.If(checked.outputs["Output"] == "start a run", name="something has moved"):
                started = start_run(
                    profile=profile.model_dump(exclude_none=True),
                    cluster=target,
                    adapter_name=adapter_name,
                    store=store,
                )
                place(started, "monitor")

    return watch


def _description(profile: AnyProfile) -> str:
    return f"Watch the adapter of the profile {profile.name} in use."


def compile_monitor(profile: AnyProfile, cluster: Cluster, folder: Path) -> Path:
    """Write `monitor-<profile>.yaml`, the pipeline that watches the profile's adapter, and return its path."""
    path = folder / f"monitor-{profile.name}.yaml"
    compiler.Compiler().compile(build(profile, cluster), str(path))
    return path


def compiled_monitor(profile: AnyProfile, cluster: Cluster) -> Compiled:
    """Compile the pipeline that watches the adapter of a profile."""
    with tempfile.TemporaryDirectory() as folder:
        return read_compiled(compile_monitor(profile, cluster, Path(folder)), profile, cluster, _description(profile))
