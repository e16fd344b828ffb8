"""Preflight of an instruct run: as that of classify, and its sources, teacher and stages of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clinadapt.artifacts.hashing import sha256_json
from clinadapt.artifacts.step_record import log
from clinadapt.config.base import Resources
from clinadapt.config.instruct import BUILTIN_LLAMA, InstructProfile, InstructTraining, Pretraining, Source
from clinadapt.config.resolve import Settings, apply_form, resolve
from clinadapt.data.sources import source_digest
from clinadapt.errors import UserError
from clinadapt.llm_client import ChatClient
from clinadapt.models.base_model import BaseModel
from clinadapt.models.builtin_llama import describe_instruct_base, training_stages
from clinadapt.models.memory import instruct as memory
from clinadapt.models.memory.available import capacity
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


def run(profile: InstructProfile, form: dict[str, Any], store_uri: str, started_by: str = "") -> dict[str, Settings]:
    """Check everything that can be checked before work begins, and resolve the settings of every step.

    Args, Returns and Raises as `components.preflight.classify.run`.
    """
    applied = apply_form(profile, form)
    store = checked_store(store_uri)
    check_approval(store, applied.adapter_name, applied.gate.approval, started_by)
    data = sha256_json([{**source.model_dump(), "digest": _digest(source)} for source in applied.sources])
    log_skipped(source.uri for source in applied.sources if source.kind != "feedback")
    log("preflight", f"{len(applied.sources)} data source{'s'[: len(applied.sources) > 1]} found, {data[:26]}")
    steps = resolve(profile, form)
    if applied.synthesis.teacher == "llm":
        _check_endpoint("teacher", steps["synthesize"]["allowed_hosts"])
    if applied.evaluation.judge:
        _check_endpoint("judge", steps["evaluate"]["allowed_hosts"])
    if marks := applied.evaluation.judge_marks:
        _check_endpoint("judge", marks.send_to)
    from clinadapt.models.causal_check import checked_causal_lm  # imports torch, which takes seconds
    from clinadapt.models.tree_check import tree_fault

    base = describe_instruct_base(applied.instruct.base_model, applied.pretrain)
    stages = training_stages(applied.instruct, applied.pretrain)
    if base.uri != BUILTIN_LLAMA:
        base = checked_causal_lm(base, max(stage.max_length for stage in stages.values()))
    for stage in stages.values():
        if memory.method(stage) != "full":
            check_base(base, stage.lora, stage.quantization)
    if fault := tree_fault(base):
        log("preflight", f"examples will be padded, not packed, which is slower: {fault}")
    check_disk(base)
    for name, stage in stages.items():
        check_memory(name, base, stage, applied.train_resources)
    steps = add_digests(resolve(profile, form, pin(base)), "instruct", data, store)
    steps["publish"] |= {"started_by": started_by.strip()}
    return steps


def _digest(source: Source) -> str:
    if source.kind == "feedback":
        return feedback_digest(source.uri, "instruct", source.agree)
    return source_digest(source.uri)


def _check_endpoint(role: str, allowed_hosts: Sequence[str]) -> None:
    """Raises UserError when an LLM endpoint does not answer or the notes may not be sent to it."""
    client = ChatClient(f"CLINADAPT_{role.upper()}", None, allowed_hosts=allowed_hosts)
    client.check()
    log("preflight", f"the {role}'s endpoint answers and takes the key; notes are sent to {client.host}, model "
        f"{client.model}")  # fmt: skip


def check_memory(name: str, base: BaseModel, stage: InstructTraining | Pretraining, resources: Resources) -> None:
    """Compare the estimate with the GPU of the profile, or with this machine. Raises UserError when it cannot fit."""
    device, available = capacity(resources)
    processes = max(1, resources.gpu)
    method = memory.method(stage)
    result = memory.estimate(base, stage, available, device, processes)
    needed = result["methods"][method]["total"]
    activations = "recomputed" if result["checkpointed"][method] else "kept"
    log("preflight", f"{name} needs about {needed / 2**30:.1f} GiB of {available / 2**30:.1f} GiB "
        f"({method}, activations {activations})")  # fmt: skip
    if needed > available:
        raise UserError(
            f"{name} needs about {needed / 2**30:.1f} GiB and there are {available / 2**30:.1f}: "
            f"it {memory.suggest_smaller_settings(base, stage, available, device, processes)}"
        )
