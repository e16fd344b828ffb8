# mypy: disable-error-code="valid-type"
"""KFP face of preflight."""

from typing import NamedTuple

from kfp import dsl

from clinadapt.config.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def preflight(
    source: str,
    base_model: str,
    quantization: str,
    num_train_epochs: int,
    learning_rate: float,
    seed: int,
    adapter_name: str,
    train: dict,
    resources: dict,
    store: str,
) -> NamedTuple(
    "Found",
    dataset_digest=str,
    base_digest=str,
    champion_version=str,
    champion_etag=str,
    code_version=str,
    settings=str,
):
    """Check settings, store, data, base model and memory; name data, base model and today's champion."""
    from collections import namedtuple

    from clinadapt.artifacts.step_record import step
    from clinadapt.config.base import Resources
    from clinadapt.config.classify import Train
    from components.preflight.classify import run

    form = {
        "base_model": base_model,
        "quantization": quantization,
        "num_train_epochs": num_train_epochs,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    with step("preflight", store) as facts:
        settings = Train.model_validate({**train, **form})
        facts |= run(source, store, adapter_name, settings, Resources.model_validate(resources))
    return namedtuple("Found", facts)(**facts)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def preflight_instruct(
    sources: list,
    teacher: str,
    base_model: str,
    quantization: str,
    num_train_epochs: int,
    learning_rate: float,
    seed: int,
    adapter_name: str,
    instruct: dict,
    pretrain: dict,
    preference: dict,
    synthesis: dict,
    resources: dict,
    store: str,
) -> NamedTuple(
    "Found",
    dataset_digest=str,
    base_digest=str,
    champion_version=str,
    champion_etag=str,
    code_version=str,
    settings=str,
):
    """The same for the instruct recipe, which may ask a teacher; `pretrain` and `preference` may be empty."""
    from collections import namedtuple

    from clinadapt.artifacts.step_record import step
    from clinadapt.config.base import Resources
    from clinadapt.config.instruct import Instruct, Preference, Pretrain, Source, Synthesis
    from components.preflight.instruct import run

    form = {
        "base_model": base_model,
        "quantization": quantization,
        "num_train_epochs": num_train_epochs,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    with step("preflight", store) as facts:
        facts |= run(
            [Source.model_validate(source) for source in sources],
            store,
            adapter_name,
            Instruct.model_validate({**instruct, **form}),
            Pretrain.model_validate({**pretrain, "seed": seed}) if pretrain else None,
            Preference.model_validate({**preference, "seed": seed}) if preference else None,
            Synthesis.model_validate({**synthesis, "teacher": teacher, "seed": seed}),
            Resources.model_validate(resources),
        )
    return namedtuple("Found", facts)(**facts)
