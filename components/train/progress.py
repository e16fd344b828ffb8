"""Progress of a training while it runs, and its metrics when it is done."""

from __future__ import annotations

import math
import os
import resource
import time
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState

from clinadapt.artifacts.step_record import log
from clinadapt.errors import UserError
from clinadapt.models.devices import device
from components.train.resumable_trainer import ResumableTrainer


def check_gpu() -> None:
    """Raise a UserError when this step was given a GPU (CLINADAPT_GPU, set by the pipeline) that torch cannot use."""
    if os.environ.get("CLINADAPT_GPU") and not torch.cuda.is_available():
        raise UserError(
            "this profile trains on a GPU and torch finds none: build the image with the CUDA build of torch"
        )


def gpus() -> int:
    """Number of GPUs that torch sees."""
    return torch.cuda.device_count()


class Progress(TrainerCallback):
    """Logs the validation loss of each epoch, and training loss and remaining time at most every five seconds."""

    def __init__(self, step: str) -> None:
        """`step` is the prefix of each line."""
        self._step = step

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._start = self._last = time.monotonic()
        self._first_step = state.global_step
        if self._first_step and state.is_world_process_zero:
            log(self._step, f"resuming at step {self._first_step} of {state.max_steps}")

    def on_log(
        self,
        args: Any,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        logs = logs if logs and state.is_world_process_zero else {}
        now = time.monotonic()
        if "eval_loss" in logs:
            log(
                self._step,
                f"epoch {state.epoch:.0f}/{args.num_train_epochs:.0f}  validation loss {logs['eval_loss']:.4f}",
            )
        elif "loss" in logs and now - self._last > 5:
            self._last = now
            seconds_per_step = (now - self._start) / (state.global_step - self._first_step)
            remaining = seconds_per_step * (state.max_steps - state.global_step)
            log(
                self._step,
                f"step {state.global_step}/{state.max_steps}  epoch {state.epoch:.1f}  loss {logs['loss']:.4f}"
                f"  {remaining // 60:.0f} min {remaining % 60:02.0f} s left",
            )


def training_metrics(trainer: ResumableTrainer, seconds: float) -> dict[str, Any]:
    """Loss curve, best step and costs of a training, for training.json.

    Args:
        trainer: after training.
        seconds: duration, including what came before an interruption. The peak of memory is of the last process alone.
    """
    curve = [
        {"step": e["step"], "epoch": e["epoch"], "loss": e["loss"], "learning_rate": e["learning_rate"]}
        if "loss" in e
        else {"step": e["step"], "epoch": e["epoch"], "validation_loss": e["eval_loss"]}
        for e in trainer.state.log_history
        if "loss" in e or "eval_loss" in e
    ]
    peak = (
        torch.cuda.max_memory_allocated()
        if torch.cuda.is_available()
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    best = min((e for e in curve if "validation_loss" in e), key=lambda e: e["validation_loss"])
    return {
        "curve": curve,
        "best_step": best["step"],
        "stopped_early": trainer.state.global_step < math.ceil(trainer.state.max_steps),
        "seconds": seconds,
        "peak_memory_bytes": peak,
        "checkpoints": len(trainer.blocking_ms),
        "checkpoint_blocking_ms": float(np.mean(trainer.blocking_ms or [0.0])),
        "trainable_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        "device": device().type,
        "processes": trainer.args.world_size,
    }
