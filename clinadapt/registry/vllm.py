"""Fetch an instruct adapter and its base model into a folder that vLLM serves from.

<folder>/adapter/     the verified version
<folder>/vllm.yaml    for `vllm serve --config`, derived from the version and written last

The base model goes into CLINADAPT_CACHE. In the InferenceService the first container fetches and the second serves.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from clinadapt.artifacts.hashing import read_json
from clinadapt.errors import UserError
from clinadapt.models.adapter_card import InstructCard
from clinadapt.models.base_model import fetch
from clinadapt.registry.adapters import downloaded_adapter
from clinadapt.storage.local_files import os_errors

ADAPTER, CONFIG = "adapter", "vllm.yaml"
CHAT_TEMPLATE = "chat_template.jinja"
GENERATION_CONFIG = "generation_config.json"
_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "auto"}  # vLLM has no LoRA in fp32
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # values of --max-lora-rank, as of vLLM 0.26


def fetch_served(adapter: str, store_uri: str, folder: Path) -> dict[str, Any]:
    """Fetch a published instruct adapter and its base model; return `uri`, `name`, `base` (its folder) and `config`.

    Args:
        adapter, store_uri: as of `download_adapter`.
        folder: to write to; the output of an earlier call is replaced.

    Raises:
        UserError: as `download_adapter`; or it is not an instruct adapter, its base model is not available or has
            changed, or vLLM does not support it.
    """
    with os_errors(f"cannot write to {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG).unlink(missing_ok=True)
    with downloaded_adapter(adapter, store_uri) as (download, uri):
        card = InstructCard.read(download)
        card.check_base()
        name = uri.split("/")[-2]
        with os_errors(f"cannot write to {folder}"):
            shutil.rmtree(folder / ADAPTER, ignore_errors=True)
            shutil.copytree(download, folder / ADAPTER)
    base = fetch(card.base_model)
    config = _config(card, name, base, (folder / ADAPTER).resolve())
    with os_errors(f"cannot write to {folder}"):
        (folder / CONFIG).write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return {"uri": uri, "name": name, "base": str(base), "config": str(folder / CONFIG)}


def _config(card: InstructCard, name: str, base: Path, adapter: Path) -> dict[str, Any]:
    """Settings of `vllm serve`: base model, precision and chat template as in training and evaluation."""
    lora = read_json(adapter / "adapter_config.json")
    rank = next((rank for rank in _RANKS if rank >= lora["r"]), None)
    if rank is None or lora["modules_to_save"]:
        raise UserError(
            f"{name} cannot be served, vLLM supports LoRA up to rank {_RANKS[-1]} without modules_to_save: train again"
        )
    quantized = {"quantization": "bitsandbytes"} if card.quantization == "nf4" else {}
    own_ends = (adapter / GENERATION_CONFIG).is_file()  # earlier releases published none
    return {
        "model": str(base),
        "served-model-name": ["base"],
        "dtype": _DTYPES[card.precision],
        **quantized,
        "max-model-len": card.max_length,
        "enable-lora": True,
        "max-lora-rank": rank,
        "lora-modules": [f"{name}={adapter}"],
        "chat-template": str(adapter / CHAT_TEMPLATE),
        # the ends of an answer as in evaluation, and not the base model's own temperature and penalties
        "generation-config": str(adapter) if own_ends else "vllm",
        "override-generation-config": {"temperature": 0.0, "max_new_tokens": card.max_new_tokens},
    }
