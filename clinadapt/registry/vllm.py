"""An instruct adapter and its base model in a folder from which vLLM serves them: an InferenceService's first container
fetches, its second one serves.

<folder>/adapter/     the version, verified
<folder>/vllm.yaml    for `vllm serve --config`, written last; it follows the version, so that nothing is set by hand

The base model is where CLINADAPT_CACHE says.
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
_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "auto"}  # vLLM has no LoRA in fp32
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that --max-lora-rank takes, as of vLLM 0.26


def fetch_served(adapter: str, store_uri: str, folder: Path) -> dict[str, Any]:
    """Fetch a published instruct adapter and its base model; return `uri`, `name`, `base` (its folder) and `config`.

    Args:
        adapter, store_uri: as in adapter.downloaded.
        folder: where to; what an earlier call left is replaced.

    Raises:
        UserError: there is none, a file or a signature is not what was published, it is no instruct adapter, the base
            model cannot be had or is another one now, or vLLM does not serve such an adapter.
    """
    with os_errors(f"cannot write to {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG).unlink(missing_ok=True)
    with downloaded_adapter(adapter, store_uri) as (copy, uri):
        card = InstructCard.read(copy)
        card.check_base()
        name = uri.split("/")[-2]
        with os_errors(f"cannot write to {folder}"):
            shutil.rmtree(folder / ADAPTER, ignore_errors=True)
            shutil.copytree(copy, folder / ADAPTER)
    base = fetch(card.base_model)
    config = _config(card, name, base, (folder / ADAPTER).resolve())
    with os_errors(f"cannot write to {folder}"):
        (folder / CONFIG).write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return {"uri": uri, "name": name, "base": str(base), "config": str(folder / CONFIG)}


def _config(card: InstructCard, name: str, base: Path, adapter: Path) -> dict[str, Any]:
    """What vLLM is started with: the base as the adapter was judged on it, the template that it was trained with."""
    lora = read_json(adapter / "adapter_config.json")
    rank = next((rank for rank in _RANKS if rank >= lora["r"]), None)
    if rank is None or lora["modules_to_save"]:
        raise UserError(f"vLLM serves adapters of rank {_RANKS[-1]} at most that save no other modules: {name} is none")
    quantized = {"quantization": "bitsandbytes"} if card.quantization == "nf4" else {}
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
        "generation-config": "vllm",  # a base's own habits (temperature, penalties) are not ours
        "override-generation-config": {"temperature": 0.0, "max_new_tokens": card.max_new_tokens},
    }
