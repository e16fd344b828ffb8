# mypy: disable-error-code="valid-type"
"""KFP face of preflight."""

from typing import NamedTuple

from kfp import dsl

from components.common.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def preflight(
    source: str,
    base_model: str,
    quantization: str,
    epochs: int,
    learning_rate: float,
    seed: int,
    adapter_name: str,
    train: dict,
    resources: dict,
    store: str,
) -> NamedTuple(
    "Found", dataset_digest=str, base_digest=str, champion_version=str, champion_etag=str, code_version=str
):
    """Check settings, store, data, base model and memory; name data, base model and today's champion."""
    from collections import namedtuple

    from components.common.recipe import Resources, Train
    from components.common.steps import step
    from components.preflight.checks import run

    form = {
        "base_model": base_model,
        "quantization": quantization,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    with step("preflight", store) as facts:
        settings = Train.model_validate({**train, **form})
        facts |= run(source, store, adapter_name, settings, Resources.model_validate(resources))
    return namedtuple("Found", facts)(**facts)
