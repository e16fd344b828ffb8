"""A Trainer that validates after each epoch, restores its best weights at the end, and stops early."""

from __future__ import annotations

import math
from typing import Any

import torch
from transformers import TrainerControl

from clinadapt.errors import UserError
from components.train.checkpoints import Checkpoints
from components.train.resumable_trainer import ResumableTrainer


class EarlyStoppingTrainer(ResumableTrainer):
    """A subclass defines validation_loss, and by evaluated_weights which weights it is computed with."""

    def __init__(self, checkpoints: Checkpoints | None, minutes: float, patience: float, **kwargs: Any) -> None:
        """
        Args:
            checkpoints, minutes, kwargs: see ResumableTrainer.
            patience: epochs without a better validation loss after which training stops; never where infinite.
        """
        super().__init__(checkpoints, minutes, **kwargs)
        self._patience, self._epochs_without_improvement = patience, 0
        self._best_loss = math.inf
        self._best_weights: list[torch.Tensor] = []

    def validation_loss(self) -> float:
        """The loss on the validation split."""
        raise NotImplementedError

    def evaluated_weights(self) -> list[torch.Tensor]:
        """A copy of the weights that validation_loss evaluates, in the order of the trained parameters."""
        raise NotImplementedError

    def extra_state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """The best weights so far, their loss, and the epochs since."""
        values = {
            "best_loss": self._best_loss if self._best_weights else None,
            "epochs_without_improvement": self._epochs_without_improvement,
        }
        return {f"best.{i}": weight for i, weight in enumerate(self._best_weights)}, values

    def load_extra_state(self, tensors: dict[str, torch.Tensor], values: dict[str, Any]) -> None:
        if values["best_loss"] is not None:
            self._best_loss = values["best_loss"]
            self._best_weights = [tensors[f"best.{i}"].clone() for i, _ in enumerate(self._trained_parameters())]
        self._epochs_without_improvement = values["epochs_without_improvement"]

    def load_best_weights(self) -> None:
        """Load the evaluated weights of the epoch with the lowest validation loss into the model."""
        for (_, parameter), best in zip(self._trained_parameters(), self._best_weights, strict=True):
            parameter.data.copy_(best)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        metrics = {"eval_loss": self.validation_loss()}
        check_finite("validation", math.isfinite(metrics["eval_loss"]))
        if metrics["eval_loss"] < self._best_loss:
            self._best_loss, self._best_weights = metrics["eval_loss"], self.evaluated_weights()
            self._epochs_without_improvement = 0
        else:
            self._epochs_without_improvement += 1
        self.log(metrics)
        self.control: TrainerControl = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self.control.should_training_stop |= self._epochs_without_improvement >= self._patience
        return metrics


def check_finite(name: str, finite: bool | torch.Tensor) -> None:
    """Raise a UserError where the `training` or `validation` loss is not finite."""
    if not finite:
        raise UserError(f"the {name} loss is no longer a number: lower the learning rate")
