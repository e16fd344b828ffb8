"""A LoRA adapter on a base model: put on, kept in fp32, saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, TaskType, get_peft_model

from clinadapt.config.base import Lora
from clinadapt.models.lora_targets import check_targets


def add_adapter(model: Any, lora: Lora, task: TaskType) -> Any:
    """The model with a new adapter; `all-linear` leaves the output layer out.

    Raises:
        UserError: a target matches no module.
    """
    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    if lora.target_modules != "all-linear":
        check_targets(linear, lora.target_modules)
    check_targets([name for name, _ in model.named_modules()], lora.modules_to_save)
    config = LoraConfig(
        task_type=task,
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        bias="none",
        target_modules=lora.target_modules,
        modules_to_save=[*lora.modules_to_save] or None,  # of a classifier peft adds the head to the list it is given
    )
    return get_peft_model(model, config)


def train_in_fp32(model: Any) -> None:
    """Make the parameters that are trained fp32, as a scaler of fp16 and small updates ask for."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def save_adapter(model: Any, output: Path, **how: Any) -> None:
    """Save an adapter alone, as peft does with `how`. Peft's empty model card goes; publish writes the real one."""
    model.save_pretrained(output, **how)
    (output / "README.md").unlink()
