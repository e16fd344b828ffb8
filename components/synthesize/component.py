"""KFP face of synthesize."""

from kfp import dsl

from clinadapt.config.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def synthesize(
    dataset: dsl.Input[dsl.Dataset],
    code_version: str,
    synthesis: dict,
    teacher: str,
    seed: int,
    store: str,
    triples: dsl.Output[dsl.Dataset],
) -> None:
    """Make notes of case reports and instructions of notes. The cache follows the code version."""
    from pathlib import Path

    from clinadapt.artifacts.step_record import log, step
    from clinadapt.config.instruct import Synthesis
    from clinadapt.storage import open_store
    from components.synthesize.instruct import run

    with step("synthesize", store) as facts:
        settings = Synthesis.model_validate({**synthesis, "teacher": teacher, "seed": seed})
        manifest = run(Path(dataset.path), Path(triples.path), settings, open_store(store))
        kept = ("digest", "cases", "notes", "triples", "not_answerable", "preferences", "dropped", "budget_exhausted")
        facts |= {key: manifest[key] for key in kept}
        facts["tokens"] = manifest["teacher"]["tokens"]
        triples.metadata.update(facts)
        missing, lost = manifest["not_answerable"], sum(manifest["dropped"].values())
        log("synthesize", f"{manifest['notes']} notes, {manifest['triples']} instructions with answers, of which "
            f"{missing} that the note cannot answer; {lost} dropped")  # fmt: skip
        if manifest["budget_exhausted"]:
            log("synthesize", f"the token budget ended before {manifest['rows_skipped']} rows: raise token_budget "
                "and run again; what was answered is kept")  # fmt: skip
