"""The step of the monitor's pipeline that starts a run, where its profile says so."""

from kfp import dsl

from clinadapt.config.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def start_run(profile: dict, cluster: dict, adapter_name: str, store: str) -> str:
    """Start a run of a profile's pipeline through the API of Kubeflow Pipelines; where that fails, the next check may.

    Args:
        profile: The profile.
        cluster: Settings of the cluster.
        adapter_name: Of the adapter to train.
        store: URI of the object store.

    Returns:
        Output: Id of the run.
    """
    from clinadapt.artifacts.step_record import log, step
    from clinadapt.config.profile import RECIPES
    from clinadapt.kubernetes.cluster import Cluster
    from clinadapt.registry.monitor import claimed_run
    from clinadapt.storage import open_store
    from pipelines.kfp_api import connect
    from pipelines.submit import compiled, start

    with step("start_run", store) as outputs:
        settings, target = RECIPES[profile["recipe"]].model_validate(profile), Cluster.model_validate(cluster)
        parameters = {"adapter_name": adapter_name, "started_by": f"monitor of {adapter_name}", "store": store}
        with claimed_run(open_store(store), adapter_name) as confirm:
            run = start(connect(None, None), settings, target, compiled(settings, target), parameters)
            confirm()
        outputs["run_id"] = run.run_id
        log("start_run", f"started {run.display_name}")
    return run.run_id
