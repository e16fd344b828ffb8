"""KFP components of format."""

from kfp import dsl

from clinadapt.config.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def format_classify(
    settings: dict, dataset: dsl.Input[dsl.Dataset], store: str, splits: dsl.Output[dsl.Dataset]
) -> None:
    """Deduplicate, cluster and split labelled notes.

    Args:
        settings: Of format, as preflight resolves them: split.
        dataset: Output of screen.
        store: URI of the object store, such as s3://clinadapt.

    Returns:
        splits: Training, validation and test notes as Parquet, with a manifest.
    """
    from pathlib import Path

    from clinadapt.artifacts.step_input import input_folder, record_output
    from clinadapt.artifacts.step_record import log, step
    from clinadapt.config.classify import Split
    from components.format.classify import run

    with step("format", store) as outputs:
        manifest = run(input_folder(dataset, store), Path(splits.path), Split.model_validate(settings["split"]))
        names = ("digest", "notes", "clusters", "near_duplicate_notes", "cross_listed_notes", "ceiling",
                 "shared_clusters")  # fmt: skip
        outputs |= {name: manifest[name] for name in names}
        splits.metadata.update(outputs)
        record_output(splits, "format", settings, store)
        log("format", f"{manifest['notes']} different notes in {manifest['clusters']} clusters, "
            f"{manifest['shared_clusters']} clusters in more than one split; "
            f"ceiling {manifest['ceiling']:.1%}")  # fmt: skip


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def format_instruct(
    settings: dict, triples: dsl.Input[dsl.Dataset], store: str, splits: dsl.Output[dsl.Dataset]
) -> None:
    """Split triples by cluster of notes and write them as tokens.

    Args:
        settings: Of format, as preflight resolves them: examples, base_model, vocab_size, corpus, and where
            an audit is asked for, canaries (their seed).
        triples: Output of synthesize.
        store: URI of the object store, such as s3://clinadapt.

    Returns:
        splits: Tokenized training, validation and test examples and the tokenizer, with a manifest.
    """
    from pathlib import Path

    from clinadapt.artifacts.step_input import input_folder, record_output
    from clinadapt.artifacts.step_record import log, step
    from clinadapt.config.instruct import Examples
    from clinadapt.storage import open_store
    from components.format.instruct import run

    with step("format", store) as outputs:
        examples = Examples.model_validate(settings["examples"])
        canaries = int(settings["canaries"]) if "canaries" in settings else None
        manifest = run(
            input_folder(triples, store), Path(splits.path), examples, settings["base_model"],
            int(settings["vocab_size"]),
            settings["corpus"], open_store(store), canaries
        )  # fmt: skip
        names = ("digest", "rows", "notes", "clusters", "shared_clusters", "task_mix", "answerable", "dropped",
                 "tokens")  # fmt: skip
        outputs |= {name: manifest[name] for name in names}
        splits.metadata.update(outputs)
        record_output(splits, "format", settings, store)
        rows, lost = manifest["rows"], sum(side["trimmed_tokens"] for side in manifest["tokens"].values())
        log("format", f"{rows['train']} examples to train, {rows['validation']} to validate, {rows['test']} to test; "
            f"{sum(manifest['dropped'].values())} dropped, {lost} tokens of long notes lost; "
            f"{manifest['shared_clusters']} clusters in more than one split")  # fmt: skip
