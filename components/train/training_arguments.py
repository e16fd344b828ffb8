"""Training settings as arguments of transformers' Trainer."""

from __future__ import annotations

import tempfile
from typing import Any

import torch

from clinadapt.config.base import Precision
from clinadapt.config.classify import ClassifyTraining
from clinadapt.config.instruct import TrainingSettings

# for an EarlyStoppingTrainer, which overrides evaluate() and has its own collator
EARLY_STOPPING: dict[str, Any] = {
    "eval_strategy": "epoch",
    "label_names": ["labels"],
    "logging_nan_inf_filter": False,
    "remove_unused_columns": False,
}


def arguments(settings: ClassifyTraining | TrainingSettings, precision: Precision) -> dict[str, Any]:
    """Arguments of TrainingArguments: batches, schedule, precision and seed. The Trainer saves and reports nothing."""
    on_gpu = torch.cuda.is_available()
    return {
        "output_dir": tempfile.gettempdir(),  # required; nothing is written to it
        "per_device_train_batch_size": settings.per_device_train_batch_size,
        "gradient_accumulation_steps": settings.gradient_accumulation_steps,
        "num_train_epochs": settings.num_train_epochs,
        "learning_rate": settings.learning_rate,
        "weight_decay": settings.weight_decay,
        "warmup_steps": settings.warmup_steps,
        "lr_scheduler_type": "cosine",
        "bf16": precision == "bf16",
        "fp16": precision == "fp16",
        "use_cpu": not on_gpu,
        "seed": settings.seed,
        "data_seed": settings.seed,
        "logging_steps": 1,
        "save_strategy": "no",
        "dataloader_pin_memory": on_gpu,
        "disable_tqdm": True,
        "report_to": "none",
    }


def optimizer() -> str:
    """AdamW: paged on a GPU, fused on a CPU."""
    return "paged_adamw_32bit" if torch.cuda.is_available() else "adamw_torch_fused"
