"""Preflight of a classify run: store, data, base model, LoRA targets, disk and memory, in seconds and on a CPU."""

from __future__ import annotations

from clinadapt.artifacts.step_record import log
from clinadapt.config.base import Resources, decisive
from clinadapt.config.classify import Train
from clinadapt.data.sources import source_digest
from clinadapt.errors import UserError
from clinadapt.models.base_model import BaseModel, describe
from clinadapt.models.memory.available import capacity
from clinadapt.models.memory.classify import estimate, method
from components.preflight.checks import check_base, check_disk, checked_store, found


def run(source: str, store_uri: str, adapter_name: str, train: Train, resources: Resources) -> dict[str, str]:
    """Check everything that can be checked before work begins.

    Returns:
        dataset_digest, base_digest, version and etag of today's champion (empty where there is none), code_version, and
        the settings of training as JSON.

    Raises:
        UserError: the first check that fails.
    """
    store = checked_store(store_uri, adapter_name)
    data = source_digest(source)
    log("preflight", f"data source found, {data[:26]}")
    base = describe(train.base_model)
    check_base(base, train.lora, train.quantization)
    check_disk(base)
    check_memory(base, train, resources)
    return found(store, adapter_name, data, base, {"train": decisive(train)})


def check_memory(base: BaseModel, train: Train, resources: Resources) -> None:
    """Compare the estimate with the GPU of the profile, or with this machine. Raises UserError when it cannot fit."""
    device, have = capacity(resources)
    need = estimate(base, train, labels=10, device=device)["methods"][method(train.quantization)]["total"]
    log("preflight", f"training needs about {need / 2**30:.1f} GiB of {have / 2**30:.1f} GiB")
    if need > have:
        raise UserError(
            f"training needs about {need / 2**30:.1f} GiB and there are {have / 2**30:.1f}: "
            "lower per_device_train_batch_size, train_windows or windows.max_length, or use nf4"
        )
