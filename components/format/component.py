"""KFP face of format."""

from kfp import dsl

from components.common.image import IMAGE


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

    from components.common.recipe import Split
    from components.common.steps import say, step
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
        say("format", f"{manifest['notes']} different notes in {manifest['clusters']} clusters, "
            f"{manifest['shared_clusters']} clusters on two sides; ceiling {manifest['ceiling']:.1%}")  # fmt: skip
