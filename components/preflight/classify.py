"""Preflight of a classify run: store, data, base model, LoRA targets, disk and memory, in seconds and on a CPU."""

from __future__ import annotations

from typing import Any

from clinadapt.artifacts.hashing import sha256_json
from clinadapt.artifacts.step_record import log
from clinadapt.config.base import Resources
from clinadapt.config.classify import ClassifyProfile, ClassifyTraining
from clinadapt.config.resolve import Settings, apply_form, resolve
from clinadapt.data.sources import source_digest
from clinadapt.errors import UserError
from clinadapt.models.base_model import BaseModel, describe
from clinadapt.models.memory.available import capacity
from clinadapt.models.memory.classify import estimate, method
from components.preflight.checks import (
    add_digests,
    check_approval,
    check_base,
    check_disk,
    checked_store,
    feedback_digest,
    log_skipped,
    pin,
)


def run(profile: ClassifyProfile, form: dict[str, Any], store_uri: str, started_by: str = "") -> dict[str, Settings]:
    """Check everything that can be checked before work begins, and resolve the settings of every step.

    Args:
        profile: the profile.
        form: the run form.
        store_uri: of the store.
        started_by: name of whoever starts the run; needed where people have to approve.

    Returns:
        step -> its settings (clinadapt.config.resolve), with the digests of data, base model and code and with the
        champion to compare with.

    Raises:
        ValidationError: a value of the form is wrong.
        UserError: the first check that fails.
    """
    applied = apply_form(profile, form)
    store = checked_store(store_uri)
    check_approval(store, applied.adapter_name, applied.gate.approval, started_by)
    data = source_digest(applied.source)
    log_skipped([applied.source])
    log("preflight", f"data source found, {data[:26]}")
    if applied.feedback.uri:
        data = sha256_json([data, feedback_digest(applied.feedback.uri, "classify", applied.feedback.agree)])
    from clinadapt.models.meta_check import checked_classifier  # imports torch, which takes seconds

    base = describe(applied.train.base_model)
    base = checked_classifier(base, applied.train.pooling, applied.train.windows.max_length)
    if drawn := sorted(base.drawn.keys() - {"classifier", "score"}):
        log("preflight", f"the base model has no {', '.join(drawn)}: drawn at random, trained and saved in the adapter")
    check_base(base, applied.train.lora, applied.train.quantization)
    check_disk(base)
    check_memory(base, applied.train, applied.train_resources)
    steps = add_digests(resolve(profile, form, pin(base)), "classify", data, store)
    steps["publish"] |= {"started_by": started_by.strip()}
    return steps


def check_memory(base: BaseModel, train: ClassifyTraining, resources: Resources) -> None:
    """Compare the estimate with the GPU of the profile, or with this machine. Raises UserError when it cannot fit."""
    device, available = capacity(resources)
    needed = estimate(base, train, labels=10, device=device)["methods"][method(train.quantization)]["total"]
    log("preflight", f"training needs about {needed / 2**30:.1f} GiB of {available / 2**30:.1f} GiB")
    if needed > available:
        raise UserError(
            f"training needs about {needed / 2**30:.1f} GiB and there are {available / 2**30:.1f}: "
            "lower per_device_train_batch_size, train_windows or windows.max_length, or use nf4"
        )
