"""KFP component of synthesize."""

from kfp import dsl

from clinadapt.config.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def synthesize(settings: dict, dataset: dsl.Input[dsl.Dataset], store: str, triples: dsl.Output[dsl.Dataset]) -> None:
    """Turn case reports into notes, and notes into instructions with answers.

    Args:
        settings: Of synthesize, as preflight resolves them: synthesis, allowed_hosts.
        dataset: Output of screen.
        store: URI of the object store, such as s3://clinadapt.

    Returns:
        triples: Notes, instructions and answers as Parquet, with a manifest.
    """
    from pathlib import Path

    from clinadapt.artifacts.step_input import input_folder, record_output
    from clinadapt.artifacts.step_record import log, step
    from clinadapt.config.instruct import Synthesis
    from clinadapt.storage import open_store
    from components.synthesize.instruct import run

    with step("synthesize", store) as outputs:
        synthesis = Synthesis.model_validate(settings["synthesis"])
        folder, hosts = input_folder(dataset, store), settings["allowed_hosts"]
        manifest = run(folder, Path(triples.path), synthesis, open_store(store), hosts)
        names = ("digest", "cases", "notes", "triples", "not_answerable", "preferences", "dropped", "budget_exhausted")
        outputs |= {name: manifest[name] for name in names}
        outputs["tokens"] = manifest["teacher"]["tokens"]
        triples.metadata.update(outputs)
        record_output(triples, "synthesize", settings, store)
        log("synthesize", f"{manifest['notes']} notes, {manifest['triples']} instructions with answers, "
            f"{manifest['not_answerable']} of them not answerable from the note; "
            f"{sum(manifest['dropped'].values())} dropped")  # fmt: skip
        if manifest["budget_exhausted"]:
            log("synthesize", f"the token budget was used up with {manifest['rows_skipped']} rows left: raise "
                "token_budget and run again; replies so far are cached")  # fmt: skip
