"""KFP face of download."""

from kfp import dsl

from clinadapt.config.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def download(
    source: str,
    source_digest: str,
    code_version: str,
    text_column: str,
    label_column: str,
    labels: list,
    top_labels: int,
    notes: dict,
    store: str,
    dataset: dsl.Output[dsl.Dataset],
) -> None:
    """Read a source into one validated Parquet dataset. Digest and code version make the cache follow them."""
    from pathlib import Path

    from clinadapt.artifacts.step_record import log, step
    from clinadapt.config.classify import Notes
    from components.download.classify import run

    form = {
        "text_column": text_column,
        "label_column": label_column,
        "labels": labels,
        "top_labels": top_labels,
    }
    with step("download", store) as facts:
        manifest = run(source, Path(dataset.path), Notes.model_validate({**notes, **form}))
        facts |= {key: manifest[key] for key in ("digest", "rows_read", "rows_kept", "quarantined")}
        facts["source_digest"] = source_digest
        dataset.metadata.update(facts)
        log("download", f"{manifest['rows_read']} rows read, {manifest['rows_kept']} kept, "
            f"{sum(manifest['quarantined'].values())} quarantined")  # fmt: skip


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def download_instructions(
    sources: list,
    source_digest: str,
    code_version: str,
    examples: dict,
    store: str,
    dataset: dsl.Output[dsl.Dataset],
) -> None:
    """Read texts, triples and preference pairs into one validated dataset. Digest and code version make the cache
    follow them."""
    from pathlib import Path

    from clinadapt.artifacts.step_record import log, step
    from clinadapt.config.instruct import Examples, Source
    from clinadapt.storage import open_store
    from components.download.instruct import run

    with step("download", store) as facts:
        listed = [Source.model_validate(source) for source in sources]
        manifest = run(listed, Path(dataset.path), Examples.model_validate(examples), open_store(store))
        facts |= {key: manifest[key] for key in ("digest", "rows_read", "rows_kept", "repeated", "rows", "quarantined")}
        facts["source_digest"] = source_digest
        dataset.metadata.update(facts)
        log("download", f"{manifest['rows_read']} rows read, {manifest['rows_kept']} kept, "
            f"{manifest['repeated']} repeated, {sum(manifest['quarantined'].values())} quarantined")  # fmt: skip
