"""A training that is validated after each epoch, keeps its best weights, and stops when it gets no better."""

from __future__ import annotations

import math
from typing import Any

import torch
from transformers import TrainerControl

from clinadapt.errors import UserError
from components.train.checkpoints import Checkpoints
from components.train.resumable_trainer import ResumableTrainer


class EarlyStoppingTrainer(ResumableTrainer):
    """A subclass says by held_out_loss what validation is, and by judged which weights are validated."""

    def __init__(self, checkpoints: Checkpoints | None, minutes: float, patience: int, **kwargs: Any) -> None:
        """
        Args:
            checkpoints, minutes, kwargs: of ResumableTrainer.
            patience: epochs without a better validation loss after which training stops.
        """
        super().__init__(checkpoints, minutes, **kwargs)
        self._patience, self._worse = patience, 0
        self._best: tuple[float, list[torch.Tensor]] = (math.inf, [])

    def held_out_loss(self) -> float:
        """The loss of what is held out."""
        raise NotImplementedError

    def judged(self) -> list[torch.Tensor]:
        """A copy of the weights that are validated, in the order of the trained parameters."""
        raise NotImplementedError

    def own_state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """The best weights so far, and how often validation was worse since."""
        loss, best = self._best
        facts = {"best_loss": loss if best else None, "worse": self._worse}
        return {f"best.{i}": weight for i, weight in enumerate(best)}, facts

    def load_own_state(self, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
        """Take back what own_state gave."""
        if facts["best_loss"] is not None:
            best = [tensors[f"best.{i}"].clone() for i, _ in enumerate(self._trained_parameters())]
            self._best = facts["best_loss"], best
        self._worse = facts["worse"]

    def use_best(self) -> None:
        """Put the judged weights of the epoch with the lowest validation loss into the model."""
        for (_, parameter), best in zip(self._trained_parameters(), self._best[1], strict=True):
            parameter.data.copy_(best)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        metrics = {"eval_loss": self.held_out_loss()}
        check_finite("validation", math.isfinite(metrics["eval_loss"]))
        if metrics["eval_loss"] < self._best[0]:
            self._best, self._worse = (metrics["eval_loss"], self.judged()), 0
        else:
            self._worse += 1
        self.log(metrics)
        self.control: TrainerControl = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self.control.should_training_stop |= self._worse >= self._patience
        return metrics


def check_finite(what: str, finite: bool | torch.Tensor) -> None:
    """Raises UserError when the `training` or `validation` loss is no longer a number."""
    if not finite:
        raise UserError(f"the {what} loss is no longer a number: lower the learning rate")
