"""Estimate whether the training of a profile fits its GPU, or this machine, and which base models fit a GPU."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from clinadapt.config.base import slice_memory
from clinadapt.config.classify import ClassifyProfile
from clinadapt.config.instruct import InstructProfile, InstructTraining, Pretraining
from clinadapt.config.profile import AnyProfile
from clinadapt.errors import UserError
from clinadapt.models.base_model import BaseModel
from clinadapt.models.builtin_llama import describe_instruct_base, training_stages
from clinadapt.models.memory import instruct as memory
from clinadapt.models.memory import known_models
from clinadapt.models.memory.available import machine_memory
from clinadapt.models.memory.classify import estimate as estimate_classifier
from pipelines.cli.memory_table import fit_table, memory_table
from pipelines.cli.options import as_uri


def of_profile(profile: AnyProfile, base_model: str | None, labels: int) -> dict[str, Any]:
    """Print the estimate of every stage as a table to standard error; return it for --json.

    Args:
        profile: of either recipe.
        base_model: a base model to use instead of the profile's: its URI, a folder, or the name of a known model.
        labels: number of labels of a classifier.
    """
    resources = profile.train_resources
    device = "cuda" if resources.gpu else "cpu"
    available = resources.gpu_memory if resources.gpu else machine_memory()
    uri = _base_uri(base_model) if base_model else profile.training.base_model
    common = {"profile": profile.name, "available_bytes": available, "base_model": uri}
    if known := known_models.find(uri):
        common["source"] = known[1].source
        print(f"sizes of {uri} without a model hub, from {known[1].source}", file=sys.stderr)
    if isinstance(profile, ClassifyProfile):
        train = profile.train.model_copy(update={"base_model": uri})
        result = estimate_classifier(_describe(uri, None), train, labels, device)
        memory_table(result, available)
        return {**common, **result}
    stages = _stages(profile, uri, available, device, max(1, resources.gpu))
    return {**common, "rule_of_thumb_bytes": memory.rule_of_thumb(stages["instruct"]["parameters"]), "stages": stages}


def for_gpu(gpu: str, profile: AnyProfile | None, base_model: str | None) -> dict[str, Any]:
    """Print which known models can be trained on one GPU, and how, to standard error; return it for --json.

    Args:
        gpu: memory of the GPU in GiB, or the resource name of a slice, such as nvidia.com/mig-3g.20gb.
        profile: of instruct, for its settings; the recipe's defaults when None.
        base_model: the only one to estimate, as in `of_profile`; all known models when None.

    Raises:
        UserError: `gpu` is no size of a GPU, or the profile is of the recipe classify.
    """
    available = _gpu_memory(gpu)
    if isinstance(profile, ClassifyProfile):
        raise UserError(f"--gpu compares base models for instruct, and profile '{profile.name}' is of classify")
    if base_model:
        bases = [_describe(_base_uri(base_model), None)]
    else:
        bases = [model.describe(model.names[0]) for model in known_models.known_models()]
    settings = profile.instruct if profile else InstructTraining(base_model=bases[0].uri)
    estimates = []
    for base in sorted(bases, key=lambda base: base.parameters()):
        result = memory.estimate(base, settings, available, "cuda")
        totals = {name: parts["total"] for name, parts in result["methods"].items()}
        known = known_models.find(base.uri)
        estimates.append({
            "base_model": base.uri, "same_sizes": known[1].names if known else [],
            "source": known[1].source if known else "safetensors headers", "parameters": result["parameters"],
            "total_bytes": totals, "checkpointed": result["checkpointed"],
            "fits": [name for name, total in totals.items() if total <= available],
        })  # fmt: skip
    fit_table(estimates, settings, available)
    training = settings.model_dump(include={"max_length", "per_device_train_batch_size", "precision", "lora"})
    return {"available_bytes": available, "settings": training, "models": estimates}


def _gpu_memory(gpu: str) -> float:
    """Bytes of memory of a GPU, given in GiB or by the resource name of a slice."""
    if (size := slice_memory(gpu)) is not None:
        return size
    try:
        gib = float(gpu)
    except ValueError:
        gib = 0.0
    if not (gib > 0 and math.isfinite(gib)):
        raise UserError(
            f"--gpu {gpu} is no size of a GPU: give its memory in GiB, such as 24, or the resource name of a slice, "
            "such as nvidia.com/mig-3g.20gb"
        )
    return gib * 2**30


def _base_uri(location: str) -> str:
    """The URI of a base model by what the user wrote: a URI, a path, or the name of a known model."""
    known = None if "://" in location or Path(location).exists() else known_models.find(location)
    return f"hf://{known[0]}" if known else as_uri(location)


def _describe(uri: str, pretrain: Pretraining | None) -> BaseModel:
    """As `describe_instruct_base`, but without a hub where the model is known."""
    known = known_models.find(uri)
    return known[1].describe(known[0]) if known else describe_instruct_base(uri, pretrain)


def _stages(profile: InstructProfile, uri: str, available: float, device: str, processes: int) -> dict[str, Any]:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    base = _describe(uri, profile.pretrain)
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
