"""A causal language model as a base: loaded as it is or in 4 bits."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForCausalLM

from clinadapt.config.base import Precision, Quantization
from clinadapt.errors import UserError
from clinadapt.models.base_model import fetch
from clinadapt.models.devices import base_dtype, device, prepare_frozen_base, quantization_config_for


def load_causal(uri: str, quantization: Quantization, precision: Precision) -> Any:
    """A causal language model in evaluation mode, on the GPU where there is one.

    Raises:
        UserError: it cannot be found, or is no causal language model.
    """
    try:
        model = AutoModelForCausalLM.from_pretrained(
            fetch(uri),
            dtype=base_dtype(precision),
            attn_implementation="sdpa",  # takes any mask, so that examples can be packed
            use_safetensors=True,
            trust_remote_code=False,
            quantization_config=quantization_config_for(quantization, precision),
            device_map={"": device()},
        )
    except (ValueError, OSError, KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:200]
        raise UserError(f"base model '{uri}' cannot be loaded as a causal language model: {reason}") from error
    prepare_frozen_base(model)
    return model


def pad_left(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask, shape (rows, longest), with the padding before, as generation needs it. Padding is
    token 0, which the mask hides."""
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, longest - len(row) :] = torch.tensor(row)
        mask[i, longest - len(row) :] = 1
    return ids, mask
