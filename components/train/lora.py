"""LoRA adapters: added to a base model, trained in fp32, saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, TaskType, get_peft_model
from peft.utils.constants import SEQ_CLS_HEAD_NAMES
from transformers.pytorch_utils import Conv1D

from clinadapt.config.base import Lora
from clinadapt.models.adapter_card import AdapterCard
from clinadapt.models.base_model import BaseModel
from clinadapt.models.lora_targets import check_targets, excluded_layers


def add_adapter(model: Any, lora: Lora, task: TaskType, base: BaseModel | None = None) -> Any:
    """Wrap a model with a new adapter; `all-linear` leaves the output layer out.

    Args:
        model: the loaded model.
        lora: its settings.
        task: what the adapter is for.
        base: of a sequence classifier, as `checked_classifier` returns it: LoRA adapts its `modules` only, and the
            modules that it lacks are trained and saved.

    Raises:
        UserError: a target matches no module.
    """
    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear | Conv1D)]
    if lora.target_modules != "all-linear":
        check_targets(linear, lora.target_modules)
    check_targets([name for name, _ in model.named_modules()], lora.modules_to_save)
    excluded = [*excluded_layers(model.config.model_type)]
    saved = [*lora.modules_to_save]  # peft appends the output layer of a classifier
    if base:
        excluded += [name for name in linear if name not in base.linear_layers()]
        saved += [name for name in base.drawn if name not in SEQ_CLS_HEAD_NAMES]
    config = LoraConfig(
        task_type=task,
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        bias="none",
        target_modules=lora.target_modules,
        exclude_modules=excluded or None,
        modules_to_save=saved or None,
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
