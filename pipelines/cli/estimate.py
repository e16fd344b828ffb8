"""Estimate whether the training of a profile fits its GPU, or this machine."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from clinadapt.config.classify import ClassifyProfile
from clinadapt.config.instruct import InstructProfile
from clinadapt.config.profile import AnyProfile
from clinadapt.models.base_model import describe
from clinadapt.models.builtin_llama import describe_instruct_base, training_stages
from clinadapt.models.memory import instruct as memory
from clinadapt.models.memory.available import machine_memory
from clinadapt.models.memory.classify import estimate as estimate_classifier
from pipelines.cli.memory_table import memory_table


def of_profile(profile: AnyProfile, base_model: str | None, labels: int) -> dict[str, Any]:
    """Print the estimate of every stage as a table to standard error; return it for --json.

    Args:
        profile: of either recipe.
        base_model: URI to use instead of the profile's.
        labels: number of labels of a classifier.
    """
    resources = profile.train_resources
    device = "cuda" if resources.gpu else "cpu"
    available = resources.gpu_memory_gib * 2**30 if resources.gpu else machine_memory()
    common = {"profile": profile.name, "available_bytes": available}
    if isinstance(profile, ClassifyProfile):
        train = profile.train.model_copy(update={"base_model": base_model} if base_model else {})
        result = estimate_classifier(describe(train.base_model), train, labels, device)
        memory_table(result, available)
        return {**common, "base_model": train.base_model, **result}
    uri = base_model or profile.instruct.base_model
    stages = _stages(profile, uri, available, device, max(1, resources.gpu))
    return {**common, "base_model": uri, "rule_of_thumb_bytes": memory.rule_of_thumb(stages["instruct"]["parameters"]),
            "stages": stages}  # fmt: skip


def _stages(profile: InstructProfile, uri: str, available: float, device: str, processes: int) -> dict[str, Any]:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    base = describe_instruct_base(uri, profile.pretrain)
    estimates: dict[str, Any] = {}
    instruct = profile.instruct.model_copy(update={"base_model": uri})
    for name, settings in training_stages(instruct, profile.pretrain).items():
        result = memory.estimate(base, settings, available, device, processes)
        method = memory.method(settings)
        result |= {"method": method, "fits": result["methods"][method]["total"] <= available}
        console.print(
            f"{name}: {method}, batch {settings.per_device_train_batch_size} x {settings.max_length} tokens, "
            f"rank {settings.lora.r}"
        )
        memory_table(result, available)
        if not result["fits"]:
            result["advice"] = memory.suggest_smaller_settings(base, settings, available, device, processes)
            console.print(f"{method} does not fit: it {result['advice']}", style="bold yellow")
        estimates[name] = result
    low, high = memory.rule_of_thumb(base.parameters())
    console.print(
        f"rule of thumb for full fine-tuning, without activations: {low / 1e9:.1f} to {high / 1e9:.1f} GB "
        f"({base.parameters() / 1e9:.2f} billion parameters x 2 + 2 + 2 to 12)"
    )
    return estimates
