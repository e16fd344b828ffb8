"""Can a profile's training run on its GPU, or on this machine?"""

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
    """Print the estimate of every stage as a table on standard error; return it for scripts.

    Args:
        profile: of either recipe.
        base_model: a URI to take instead of the profile's.
        labels: that a classifier's head has.
    """
    resources = profile.train_resources
    device = "cuda" if resources.gpu else "cpu"
    have = resources.gpu_memory_gib * 2**30 if resources.gpu else machine_memory()
    told = {"profile": profile.name, "available_bytes": have}
    if isinstance(profile, ClassifyProfile):
        train = profile.train.model_copy(update={"base_model": base_model} if base_model else {})
        result = estimate_classifier(describe(train.base_model), train, labels, device)
        memory_table(result, have)
        return {**told, "base_model": train.base_model, **result}
    uri = base_model or profile.instruct.base_model
    stages = _stages(profile, uri, have, device, max(1, resources.gpu))
    return {**told, "base_model": uri, "rule_of_thumb_bytes": memory.rule_of_thumb(stages["instruct"]["parameters"]),
            "stages": stages}  # fmt: skip


def _stages(profile: InstructProfile, uri: str, have: float, device: str, processes: int) -> dict[str, Any]:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    base = describe_instruct_base(uri, profile.pretrain)
    found: dict[str, Any] = {}
    instruct = profile.instruct.model_copy(update={"base_model": uri})
    for name, settings in training_stages(instruct, profile.pretrain).items():
        result = memory.estimate(base, settings, have, device, processes)
        wanted = memory.method(settings)
        result |= {"method": wanted, "fits": result["methods"][wanted]["total"] <= have}
        console.print(
            f"{name}: {wanted}, batch {settings.per_device_train_batch_size} x {settings.max_length} tokens, "
            f"rank {settings.lora.r}"
        )
        memory_table(result, have)
        if not result["fits"]:
            result["advice"] = memory.suggest_smaller_settings(base, settings, have, device, processes)
            console.print(f"{wanted} does not fit: it {result['advice']}", style="bold yellow")
        found[name] = result
    low, high = memory.rule_of_thumb(base.parameters())
    console.print(
        f"rule of thumb for full fine-tuning, without activations: {low / 1e9:.1f} to {high / 1e9:.1f} GB "
        f"({base.parameters() / 1e9:.2f} billion parameters x 2 + 2 + 2 to 12)"
    )
    return found
