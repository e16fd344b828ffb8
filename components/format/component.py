"""KFP face of format."""

from kfp import dsl

from clinadapt.config.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def format_notes(
    dataset: dsl.Input[dsl.Dataset],
    code_version: str,
    split: dict,
    seed: int,
    store: str,
    splits: dsl.Output[dsl.Dataset],
) -> None:
    """Deduplicate, cluster and split labelled notes. The cache follows the code version."""
    from pathlib import Path

    from clinadapt.artifacts.step_record import log, step
    from clinadapt.config.classify import Split
    from components.format.classify import run

    with step("format", store) as facts:
        manifest = run(Path(dataset.path), Path(splits.path), Split.model_validate({**split, "seed": seed}))
        kept = (
            "digest",
            "notes",
            "clusters",
            "near_duplicate_pairs",
            "cross_listed_notes",
            "ceiling",
            "shared_clusters",
        )
        facts |= {key: manifest[key] for key in kept}
        splits.metadata.update(facts)
        log("format", f"{manifest['notes']} different notes in {manifest['clusters']} clusters, "
            f"{manifest['shared_clusters']} clusters on two sides; ceiling {manifest['ceiling']:.1%}")  # fmt: skip


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def format_instructions(
    triples: dsl.Input[dsl.Dataset],
    code_version: str,
    examples: dict,
    base_model: str,
    vocabulary: int,
    corpus: bool,
    seed: int,
    store: str,
    splits: dsl.Output[dsl.Dataset],
) -> None:
    """Split triples by cluster of notes and write them as tokens. The cache follows the code version."""
    from pathlib import Path

    from clinadapt.artifacts.step_record import log, step
    from clinadapt.config.instruct import Examples
    from clinadapt.storage import open_store
    from components.format.instruct import run

    with step("format", store) as facts:
        settings = Examples.model_validate({**examples, "seed": seed})
        folders = Path(triples.path), Path(splits.path)
        manifest = run(*folders, settings, base_model, vocabulary, corpus, open_store(store))
        kept = ("digest", "rows", "notes", "clusters", "shared_clusters", "task_mix", "answerable", "dropped", "tokens")
        facts |= {key: manifest[key] for key in kept}
        splits.metadata.update(facts)
        rows, lost = manifest["rows"], sum(side["lost_tokens"] for side in manifest["tokens"].values())
        log("format", f"{rows['train']} examples to train, {rows['validation']} to validate, {rows['test']} to test; "
            f"{sum(manifest['dropped'].values())} dropped, {lost} tokens of long notes lost; "
            f"{manifest['shared_clusters']} clusters on two sides")  # fmt: skip
