"""Load a causal language model as a frozen base, in 16 or 32 bits or in nf4."""

from __future__ import annotations

from typing import Any

from transformers import AutoModelForCausalLM

from clinadapt.config.base import Precision, Quantization
from clinadapt.errors import UserError
from clinadapt.models.base_model import fetch
from clinadapt.models.devices import base_dtype, dequantize, device, prepare_frozen_base, quantization_config


def load_causal_lm(uri: str, quantization: Quantization, precision: Precision) -> Any:
    """Load a causal language model in evaluation mode, on the GPU if there is one.

    Args:
        uri: of the base model.
        quantization: `nf4` for QLoRA, else `none`.
        precision: of the computation, resolved (not `auto`).

    Raises:
        UserError: the model is not found, or is not a causal language model.
    """
    try:
        model = AutoModelForCausalLM.from_pretrained(
            fetch(uri),
            dtype=base_dtype(precision),
            use_safetensors=True,
            trust_remote_code=False,
            quantization_config=quantization_config(quantization, precision),
            device_map={"": device()},
        )
    except (ValueError, OSError, KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:200]
        raise UserError(f"base model '{uri}' cannot be loaded as a causal language model: {reason}") from error
    dequantize(model, precision)
    prepare_frozen_base(model)
    return model
