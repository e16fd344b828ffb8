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
from clinadapt.registry.adapters import downloaded_adapter, refuse_unapproved
from clinadapt.storage.local_files import os_errors

ADAPTER, CONFIG = "adapter", "vllm.yaml"
CHAT_TEMPLATE = "chat_template.jinja"
GENERATION_CONFIG = "generation_config.json"
_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "auto"}  # vLLM has no LoRA in fp32
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # values of --max-lora-rank, as of vLLM 0.26
_FILES = {"chat-template": CHAT_TEMPLATE, "generation-config": GENERATION_CONFIG}  # settings that name a file
# For versions loaded while it runs: the one that answers and a new one are answered in one batch
_HOT_SWAP = {"max-loras": 2, "max-cpu-loras": 4}


def fetch_served(adapter: str, store_uri: str, folder: Path, hot_swap: bool = False) -> dict[str, Any]:
    """Fetch a published instruct adapter and its base model; return `uri`, `name`, `base` (its folder) and `config`.

    Args:
        adapter, store_uri: as of `download_adapter`.
        folder: to write to; the output of an earlier call is replaced.
        hot_swap: for a server on which `clinadapt registry serve` loads the adapter, so that it starts without one.

    Raises:
        UserError: as `download_adapter` and `refuse_unapproved`; or it is not an instruct adapter, its base model is
            not available or has changed, or vLLM does not support it.
    """
    with os_errors(f"cannot write to {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG).unlink(missing_ok=True)
    refuse_unapproved(adapter, store_uri)
    with downloaded_adapter(adapter, store_uri) as (download, uri):
        card = InstructCard.read(download)
        card.check_base()
        name = uri.split("/")[-2]
        with os_errors(f"cannot write to {folder}"):
            shutil.rmtree(folder / ADAPTER, ignore_errors=True)
            shutil.copytree(download, folder / ADAPTER)
    base = fetch(card.base_model)
    config = _config(card, name, base, (folder / ADAPTER).resolve())
    if hot_swap:
        del config["lora-modules"]
        config |= _HOT_SWAP
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


def needs_restart(folder: Path, adapter: Path) -> str:
    """Why a server that was started with `folder`/vllm.yaml cannot load another adapter while it runs; empty where it
    can.

    Args:
        folder: that `fetch_served` wrote to.
        adapter: folder of a verified version.

    Raises:
        UserError: vllm.yaml is broken, or the adapter's base model is not available or has changed.
    """
    try:
        running = dict(yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise UserError(f"{folder / CONFIG} is broken: run clinadapt registry fetch --hot-swap again") from error
    card = InstructCard.read(adapter)
    card.check_base()
    wanted = _config(card, "", fetch(card.base_model), adapter)
    if int(wanted["max-lora-rank"]) <= int(running.get("max-lora-rank", 0)):
        wanted["max-lora-rank"] = running["max-lora-rank"]
    for name in wanted.keys() - {"lora-modules"}:
        pair = [_content(config.get(name), _FILES.get(name)) for config in (running, wanted)]
        if pair[0] != pair[1]:
            shown = "" if name in _FILES else f" ({running.get(name)}, it needs {wanted[name]})"
            return f"the server was started with another {name}{shown}"
    return (
        "the server was started with quantization" if running.get("quantization") != wanted.get("quantization") else ""
    )


def _content(value: Any, file: str | None) -> Any:
    """A setting to compare: of one that names a file, or the folder that a file is in, what is in it."""
    path = Path(str(value))
    if file is None or not path.is_absolute():
        return value
    try:
        return (path / file if path.is_dir() else path).read_bytes()
    except OSError:
        return None
