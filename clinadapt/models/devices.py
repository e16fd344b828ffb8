"""Device, precision and quantization that a model is loaded and computed with."""

from __future__ import annotations

import gc
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from transformers import BitsAndBytesConfig

from clinadapt.config.base import Precision, Quantization
from clinadapt.models.memory.sizes import held_dequantized

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def resolve_precision(precision: Precision) -> Precision:
    """Resolve `auto`: bf16 where the hardware multiplies it (Ampere and later; AMX or AVX512-BF16), else fp16 on a GPU
    and fp32 on a CPU."""
    if precision != "auto":
        return precision
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.get_device_capability()[0] >= 8 else "fp16"
    flags = Path("/proc/cpuinfo").read_text() if os.path.exists("/proc/cpuinfo") else ""  # noqa: PTH110
    return "bf16" if "avx512_bf16" in flags or "amx_bf16" in flags else "fp32"


def autocast(precision: Precision) -> AbstractContextManager[Any]:
    """Mixed precision for forward passes; does nothing for fp32."""
    return torch.autocast(device().type, dtype=_DTYPES[precision], enabled=precision != "fp32")


def base_dtype(precision: Precision) -> torch.dtype:
    """The dtype of a frozen base model's weights: fp32 on a CPU, where 16 bits are slow."""
    return _DTYPES[precision] if torch.cuda.is_available() else torch.float32


def quantization_config(
    quantization: Quantization, precision: Precision, skip_modules: list[str] | None = None
) -> BitsAndBytesConfig | None:
    """transformers' settings for nf4 with double quantization (Dettmers et al. 2023, arXiv:2305.14314); None for
    `none`.

    Args:
        quantization: of the base model.
        precision: of the computation, resolved (not `auto`).
        skip_modules: patterns of modules that are not quantized; by default the output layer, as transformers chooses.
    """
    if quantization == "none":
        return None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=_DTYPES[precision],
        llm_int8_skip_modules=skip_modules,
    )


def dequantize(model: Any, precision: Precision) -> None:
    """Hold the values of a model's nf4 weights in the dtype of the computation, where `held_dequantized` says so.

    Args:
        model: of transformers, quantized or not.
        precision: of the computation, resolved (not `auto`).
    """
    quantized = sum(2 * p.numel() for p in model.parameters() if getattr(p, "quant_state", None) is not None)
    if quantized and held_dequantized(quantized, _DTYPES[precision].itemsize, device().type):
        model.dequantize(_DTYPES[precision])


def prepare_frozen_base(model: Any) -> None:
    """Switch off dropout and the noise of routers in a frozen base model, and the repacking in bitsandbytes' CPU
    kernels after which 4-bit weights pass no gradient."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for name, value in vars(module).items():
            if isinstance(value, float) and name.endswith(("dropout", "jitter_noise")):  # of attention, of experts
                setattr(module, name, 0.0)
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def free_memory() -> None:
    """Release the memory of models that are no longer referenced, on the GPU too."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
