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
    adapter_name: str,
    train: dict,
    resources: dict,
    store: str,
) -> NamedTuple(
    "Found", dataset_digest=str, base_digest=str, champion_version=str, champion_etag=str, code_version=str
):
    """Check store, data, base model and memory; name data, base model and today's champion."""
    from collections import namedtuple

    from components.common.recipe import Resources, Train
    from components.common.steps import step
    from components.preflight.checks import run

    settings = {**train, "base_model": base_model, "quantization": quantization}
    with step("preflight", store) as facts:
        facts |= run(source, store, adapter_name, Train.model_validate(settings), Resources.model_validate(resources))
    return namedtuple("Found", facts)(**facts)
