"""KFP components of download."""

from kfp import dsl

from clinadapt.config.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def download_classify(settings: dict, store: str, dataset: dsl.Output[dsl.Dataset]) -> None:
    """Read a source into one validated Parquet dataset.

    Args:
        settings: Of download, as preflight resolves them: source, notes, feedback, source_digest, known_columns.
        store: URI of the object store, such as s3://clinadapt.

    Returns:
        dataset: Rows as Parquet, with a manifest.
    """
    from pathlib import Path

    from clinadapt.artifacts.step_input import record_output
    from clinadapt.artifacts.step_record import log, step
    from clinadapt.config.classify import Notes
    from clinadapt.config.feedback import Feedback
    from clinadapt.data.patients import describe_origin
    from components.download.classify import run

    with step("download", store) as outputs:
        manifest = run(settings["source"], Path(dataset.path), Notes.model_validate(settings["notes"]),
                       settings.get("known_columns", []),
                       Feedback.model_validate(settings.get("feedback", {})))  # fmt: skip
        outputs |= {key: manifest[key] for key in ("digest", "rows_read", "rows_kept", "quarantined", "unused")}
        outputs["source_digest"] = settings["source_digest"]
        dataset.metadata.update(outputs)
        record_output(dataset, "download", settings, store)
        log("download", f"{manifest['rows_read']} rows read, {manifest['rows_kept']} kept, "
            f"{sum(manifest['quarantined'].values())} quarantined")  # fmt: skip
        for line in describe_origin(manifest["origin"]):
            log("download", line)
        if manifest["unused"]:
            log("download", f"not used: values of {', '.join(manifest['unused'])}")


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def download_instruct(settings: dict, store: str, dataset: dsl.Output[dsl.Dataset]) -> None:
    """Read texts, triples and preference pairs into one validated dataset.

    Args:
        settings: Of download, as preflight resolves them: sources, max_note_characters, source_digest,
            known_columns.
        store: URI of the object store, such as s3://clinadapt.

    Returns:
        dataset: Rows as Parquet, with a manifest.
    """
    from pathlib import Path

    from clinadapt.artifacts.step_input import record_output
    from clinadapt.artifacts.step_record import log, step
    from clinadapt.config.instruct import Examples, Source
    from clinadapt.data.patients import describe_origin
    from clinadapt.storage import open_store
    from components.download.instruct import run

    with step("download", store) as outputs:
        sources = [Source.model_validate(source) for source in settings["sources"]]
        limits = Examples(max_note_characters=settings["max_note_characters"])
        manifest = run(sources, Path(dataset.path), limits, open_store(store), settings.get("known_columns", []))
        keys = "digest", "rows_read", "rows_kept", "repeated", "rows", "quarantined", "unused", "decimal_comma"
        outputs |= {key: manifest[key] for key in keys}
        outputs["source_digest"] = settings["source_digest"]
        dataset.metadata.update(outputs)
        record_output(dataset, "download", settings, store)
        log("download", f"{manifest['rows_read']} rows read, {manifest['rows_kept']} kept, "
            f"{manifest['repeated']} repeated, {sum(manifest['quarantined'].values())} quarantined")  # fmt: skip
        for line in describe_origin(manifest["origin"]):
            log("download", line)
        for number in manifest["decimal_comma"]:
            log("download", f"the numbers of source {number + 1} have a decimal comma")
