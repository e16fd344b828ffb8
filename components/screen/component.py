"""KFP components of screen."""

from kfp import dsl

from clinadapt.config.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def screen_classify(
    settings: dict, dataset: dsl.Input[dsl.Dataset], store: str, screened: dsl.Output[dsl.Dataset]
) -> None:
    """Find what identifies patients in labelled notes, and redact, replace or quarantine it.

    Args:
        settings: Of screen, as preflight resolves them: phi, the section of the profile.
        dataset: Output of download.
        store: URI of the object store, such as s3://clinadapt.

    Returns:
        screened: The dataset without what was found, with a manifest that counts it.
    """
    from pathlib import Path

    from clinadapt.artifacts.step_input import input_folder, record_output
    from clinadapt.artifacts.step_record import log, step
    from clinadapt.config.phi import Phi
    from components.screen.classify import run
    from components.screen.patients import describe

    with step("screen", store) as outputs:
        manifest = run(input_folder(dataset, store), Path(screened.path), Phi.model_validate(settings["phi"]))
        outputs |= {"digest": manifest["digest"], "phi": manifest["phi"]}
        screened.metadata.update(outputs)
        record_output(screened, "screen", settings, store)
        for line in describe(manifest["phi"]):
            log("screen", line)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def screen_instruct(
    settings: dict, dataset: dsl.Input[dsl.Dataset], store: str, screened: dsl.Output[dsl.Dataset]
) -> None:
    """Find what identifies patients in texts, triples and preference pairs, and redact, replace or quarantine it.

    Args:
        settings: Of screen, as preflight resolves them: phi, the section of the profile.
        dataset: Output of download.
        store: URI of the object store, such as s3://clinadapt.

    Returns:
        screened: The dataset without what was found, with a manifest that counts it.
    """
    from pathlib import Path

    from clinadapt.artifacts.step_input import input_folder, record_output
    from clinadapt.artifacts.step_record import log, step
    from clinadapt.config.phi import Phi
    from components.screen.instruct import run
    from components.screen.patients import describe

    with step("screen", store) as outputs:
        manifest = run(input_folder(dataset, store), Path(screened.path), Phi.model_validate(settings["phi"]))
        outputs |= {"digest": manifest["digest"], "phi": manifest["phi"]}
        screened.metadata.update(outputs)
        record_output(screened, "screen", settings, store)
        for line in describe(manifest["phi"]):
            log("screen", line)
