"""Can this instruct run succeed? The checks of classify, and those of its sources, teacher and stages of training."""

from __future__ import annotations

from clinadapt.artifacts.hashing import sha256_json
from clinadapt.artifacts.step_record import log
from clinadapt.config.base import Resources, decisive
from clinadapt.config.instruct import Instruct, Preference, Pretrain, Source, Synthesis
from clinadapt.data.sources import digest as source_digest
from clinadapt.errors import UserError
from clinadapt.llm_client import ChatClient
from clinadapt.models.base_model import BaseModel
from clinadapt.models.builtin_llama import describe_instruct_base, training_stages
from clinadapt.models.memory import instruct as memory
from clinadapt.models.memory.available import capacity
from components.preflight.checks import check_base, check_disk, checked_store, found


def run(
    sources: list[Source],
    store_uri: str,
    adapter_name: str,
    instruct: Instruct,
    pretrain: Pretrain | None,
    preference: Preference | None,
    synthesis: Synthesis,
    resources: Resources,
) -> dict[str, str]:
    """Check everything that can be checked before work begins.

    Returns:
        dataset_digest, base_digest, version and etag of today's champion (empty where there is none), code_version, and
        the settings of the stages of training as JSON.

    Raises:
        UserError: the first check that fails.
    """
    if not sources:
        raise UserError("there is no source: name at least one")
    store = checked_store(store_uri, adapter_name)
    data = sha256_json([{**source.model_dump(), "digest": source_digest(source.uri)} for source in sources])
    log("preflight", f"{len(sources)} data source{'s'[: len(sources) > 1]} found, {data[:26]}")
    if synthesis.teacher == "llm":
        client = ChatClient("CLINADAPT_TEACHER", None)
        client.check()
        log("preflight", f"the teacher's endpoint answers and takes the key; model {client.model}")
    base = describe_instruct_base(instruct.base_model, pretrain)
    stages = training_stages(instruct, pretrain)
    for stage in stages.values():
        if memory.method(stage) != "full":
            check_base(base, stage.lora, stage.quantization)
    check_disk(base)
    for name, stage in stages.items():
        check_memory(name, base, stage, resources)
    decided = {"train": decisive(stages["instruct"])}
    if preference:
        decided["train"]["preference"] = decisive(preference)
    if pretrain:
        decided["pretrain"] = decisive(stages["pretrain"])
    return found(store, adapter_name, data, base, decided)


def check_memory(name: str, base: BaseModel, stage: Instruct | Pretrain, resources: Resources) -> None:
    """Compare the estimate with the GPU of the profile, or with this machine. Raises UserError when it cannot fit."""
    device, have = capacity(resources)
    processes = max(1, resources.gpu)
    method = memory.method(stage)
    result = memory.estimate(base, stage, have, device, processes)
    need = result["methods"][method]["total"]
    how = "recomputed" if result["checkpointed"][method] else "kept"
    log(
        "preflight",
        f"{name} needs about {need / 2**30:.1f} GiB of {have / 2**30:.1f} GiB ({method}, activations {how})",
    )
    if need > have:
        raise UserError(
            f"{name} needs about {need / 2**30:.1f} GiB and there are {have / 2**30:.1f}: "
            f"it {memory.suggest_smaller_settings(base, stage, have, device, processes)}"
        )
