"""Where and how precisely a model computes, and what a frozen base model is loaded as."""

from __future__ import annotations

import gc
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from transformers import BitsAndBytesConfig

from clinadapt.config.base import Precision, Quantization

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def resolve_precision(wanted: Precision) -> Precision:
    """What `auto` means here: bf16 where the hardware multiplies it (Ampere and later; AMX or AVX512-BF16), else
    fp16 on a GPU and fp32 on a CPU."""
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.get_device_capability()[0] >= 8 else "fp16"
    flags = Path("/proc/cpuinfo").read_text() if os.path.exists("/proc/cpuinfo") else ""  # noqa: PTH110
    return "bf16" if "avx512_bf16" in flags or "amx_bf16" in flags else "fp32"


def autocast(precision: Precision) -> AbstractContextManager[Any]:
    """Mixed precision for forward passes; does nothing for fp32."""
    return torch.autocast(device().type, dtype=_DTYPES[precision], enabled=precision != "fp32")


def base_dtype(precision: Precision) -> torch.dtype:
    """What the weights of a frozen base model are kept in: fp32 on a CPU, where 16 bits are slow."""
    return _DTYPES[precision] if torch.cuda.is_available() else torch.float32


def quantization_config_for(quantization: Quantization, precision: Precision, keep: list[str] | None = None) -> Any:
    """transformers' settings of nf4 with double quantisation, or None.

    Args:
        quantization: of the base model.
        precision: that it computes in.
        keep: patterns of the modules that stay as they are; transformers' own choice, the output layer, when None.
    """
    if quantization == "none":
        return None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=_DTYPES[precision],
        llm_int8_skip_modules=keep,
    )


def prepare_frozen_base(model: Any) -> None:
    """Switch off what a frozen base model must not do under an adapter: its own dropout, and the repacking by which
    bitsandbytes on a CPU leaves weights without a gradient."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def free_memory() -> None:
    """Give back the memory of models that nothing refers to any more, on the GPU too."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
