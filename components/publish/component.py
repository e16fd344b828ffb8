"""KFP components of the lookup in the registry, of publish and of the summary that every run writes."""

from kfp import dsl

from clinadapt.config.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def lookup(settings: dict, splits: dsl.Input[dsl.Dataset], store: str) -> str:
    """`known` where the registry has the version that this run would train, else `new`.

    Args:
        settings: Of lookup, as preflight resolves them: adapter_name and what makes the run key.
        splits: Output of format.
        store: URI of the object store, such as s3://clinadapt.

    Returns:
        Output: known or new.
    """
    from clinadapt.artifacts.step_input import input_folder
    from clinadapt.artifacts.step_record import log, step
    from components.publish.lookup import run

    with step("lookup", store) as outputs:
        outputs |= run(input_folder(splits, store), settings, store)
        log(
            "lookup", outputs.get("sentence", "the registry has no version of this data, base model, settings and code")
        )
    return outputs["decision"]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def publish(
    settings: dict,
    splits: dsl.Input[dsl.Dataset],
    adapter: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Artifact],
    verdict: dsl.Input[dsl.Artifact],
    store: str,
) -> str:
    """Publish the adapter as an immutable version and make it the champion, or propose it for approval; return its URI.

    Args:
        settings: Of publish, as preflight resolves them: adapter_name, reviewers, change_control and started_by.
        splits: Output of format.
        adapter: Output of train or prefer.
        evaluation: Output of evaluate.
        verdict: Output of gate.
        store: URI of the object store, such as s3://clinadapt.

    Returns:
        Output: URI of the published version.
    """
    from clinadapt.artifacts.step_input import input_folder
    from clinadapt.artifacts.step_record import step
    from components.publish.publish_version import run

    with step("publish", store) as outputs:
        folders = (
            input_folder(splits, store),
            input_folder(adapter, store),
            input_folder(evaluation, store),
            input_folder(verdict, store),
        )
        options = int(settings["reviewers"]), settings["change_control"], settings.get("started_by", "")
        outputs |= run(*folders, store, settings["adapter_name"], *options)
    return outputs["uri"]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def summarise(store: str, status: dsl.PipelineTaskFinalStatus, summary: dsl.Output[dsl.Markdown]) -> None:
    """Write one summary of the run, whatever happened: runs/<run>/summary.json and Markdown for the UI.

    Args:
        store: URI of the object store, such as s3://clinadapt.
        status: How the pipeline ended, from Kubeflow Pipelines.

    Returns:
        summary: State, sentence and steps of the run.
    """
    from pathlib import Path

    from clinadapt.artifacts.run_summary import run
    from clinadapt.artifacts.step_record import step
    from clinadapt.kubernetes.trainjobs import stop_trainjobs
    from clinadapt.kubernetes.workflow import own_run

    with step("summarise", store):
        is_stopped, reasons = own_run()
        reported = "CANCELING" if is_stopped else status.state
        Path(summary.path).write_text(run(store, reported, reasons), encoding="utf-8")
        stop_trainjobs()
