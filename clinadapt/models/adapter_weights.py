"""A trained adapter on its base model: LoRA in safetensors, of the ranks that its weights have, and nothing else that
peft would load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from clinadapt.artifacts.hashing import read_json
from clinadapt.errors import UserError
from clinadapt.models.base_model import read_header

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def load_adapter(base: Any, folder: Path, is_trainable: bool = False) -> Any:
    """Load the adapter in a folder onto its base model, as a `peft.PeftModel`.

    Raises:
        UserError: the folder has no LoRA weights in safetensors, or they do not fit its configuration or the base.
    """
    from peft import PeftModel  # takes seconds

    _check(folder)
    try:
        return PeftModel.from_pretrained(base, str(folder), is_trainable=is_trainable)
    except torch.OutOfMemoryError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError) as error:
        kind = type(error).__name__
        raise UserError(f"the adapter in {folder} does not fit its base model ({kind}): publish it again") from error


def _check(folder: Path) -> None:
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"{folder} has no {WEIGHTS}: pickled weights are not loaded")
    tensors = read_header(folder / WEIGHTS)
    try:
        ranks = [shape[0] for name, (_, shape) in tensors.items() if ".lora_" in name and "_A" in name]
        config = read_json(folder / CONFIG)
        asked = [config["r"], *(config.get("rank_pattern") or {}).values()]
        fits = config["peft_type"] == "LORA" and all(type(rank) is int and rank <= max(ranks) for rank in asked)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        fits = False
    if not fits:
        raise UserError(f"{folder} has no LoRA of the rank that {CONFIG} says: publish it again")
