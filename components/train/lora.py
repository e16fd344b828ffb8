"""LoRA adapters: added to a base model, trained in fp32, saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, TaskType, get_peft_model
from transformers.pytorch_utils import Conv1D

from clinadapt.config.base import Lora
from clinadapt.models.adapter_card import AdapterCard
from clinadapt.models.lora_targets import check_targets, excluded_layers


def add_adapter(model: Any, lora: Lora, task: TaskType) -> Any:
    """Wrap a model with a new adapter; `all-linear` leaves the output layer out.

    Raises:
        UserError: a target matches no module.
    """
    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear | Conv1D)]
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
        exclude_modules=[*excluded_layers(model.config.model_type)] or None,
        modules_to_save=[*lora.modules_to_save] or None,  # peft appends a classifier's head to the list it is given
    )
    return get_peft_model(model, config)


def train_in_fp32(model: Any) -> None:
    """Convert the trainable parameters to fp32, which the gradient scaler of fp16 and small updates need."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def save_adapter(model: Any, output: Path, **kwargs: Any) -> None:
    """Save the adapter alone; `kwargs` of save_pretrained. Removes peft's empty model card: publish writes the real
    one."""
    model.save_pretrained(output, **kwargs)
    (output / "README.md").unlink()


def save_new_adapter(model: Any, tokenizer: Any, card: AdapterCard, output: Path, **kwargs: Any) -> None:
    """Save a newly trained adapter with its tokenizer and its card; `kwargs` as in save_adapter."""
    output.mkdir(parents=True, exist_ok=True)
    model.peft_config["default"].base_model_name_or_path = card.base_model  # not the folder that it was loaded from
    save_adapter(model, output, **kwargs)
    tokenizer.save_pretrained(output)
    card.write(output)
