"""The trainer of prefer: DPO (Rafailov et al. 2023, arXiv:2305.18290) on packs of preference pairs.

The two answers to a question share its prompt, and the questions about a note share the note: each is computed once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from peft import PeftModel
from torch.nn.functional import logsigmoid
from transformers import TrainingArguments

from clinadapt.config.base import Precision
from clinadapt.config.instruct import PreferenceTraining
from clinadapt.models.causal_loss import Loss, unwrap
from clinadapt.models.devices import autocast
from components.train.causal_trainer import gradient_checkpointing
from components.train.checkpoints import Checkpoints
from components.train.early_stopping import check_finite
from components.train.lora import train_in_fp32
from components.train.preference_packs import PackedPairs, collate_pairs
from components.train.progress import Progress
from components.train.resumable_trainer import ResumableTrainer
from components.train.training_arguments import arguments, optimizer


class PreferenceTrainer(ResumableTrainer):
    """DPO on packs of pairs, in one process: minimises the mean of -log sigmoid(reward margin) over the pairs of an
    optimizer step. The reference is the adapter before the first step; its log-probabilities are computed once, before
    training."""

    loss_is_scaled_for_ga = True

    def __init__(
        self,
        model: PeftModel,
        pairs: PackedPairs,
        settings: PreferenceTraining,
        precision: Precision,
        checkpoints: Checkpoints | None,
    ) -> None:
        """
        Args:
            model: with the initial adapter, whose parameters become fp32.
            pairs: to train on.
            settings: of the stage.
            precision: that it computes in.
            checkpoints: where the state is saved; None: it is not saved.
        """
        train_in_fp32(model)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0  # the reference is computed without
        if gradient_checkpointing(settings, None):
            unwrap(model).activation_checkpointing_enable()
        self._beta, self._precision = settings.beta, precision
        args = TrainingArguments(
            **arguments(settings, precision),
            optim=optimizer(),
            label_names=["labels"],
            remove_unused_columns=False,
        )
        if args.n_gpu > 1:
            args._n_gpu = 1  # else the Trainer cuts a batch into one part a GPU (DataParallel), which no pack survives
        super().__init__(
            checkpoints,
            settings.checkpoint_minutes,
            step="prefer",
            model=Loss(model, pairs.tree),
            args=args,
            train_dataset=pairs,
            data_collator=collate_pairs,
            callbacks=[Progress("prefer")],
        )
        pairs.reference = self._reference(pairs)
        self._margins: list[float] = []  # of the pairs of this step

    @torch.no_grad()
    def _reference(self, pairs: PackedPairs) -> list[torch.Tensor]:
        """Log-probabilities of the answers under the model as it is, of each pack, shape (its pairs, 2)."""
        self.model.eval()
        reference = []
        for i in range(len(pairs)):
            batch = self._prepare_inputs(collate_pairs([pairs[i]]))
            with autocast(self._precision):
                reference.append(self._log_probabilities(self.model, batch).cpu())
        return reference

    @staticmethod
    def _log_probabilities(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Of the chosen and the rejected answer of each pair, shape (pairs, 2)."""
        inputs = {name: tensor for name, tensor in batch.items() if name not in ("answer_tokens", "reference")}
        losses = model(**inputs).split(batch["answer_tokens"].tolist())
        return -torch.stack([each.sum() for each in losses]).view(-1, 2)

    def get_batch_samples(self, *args: Any) -> tuple[list[Any], int]:
        """The batches of an optimizer step, and how many pairs are in them."""
        batches, _ = super().get_batch_samples(*args)
        return batches, sum(len(batch["reference"]) for batch in batches)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        gains = self._log_probabilities(model, inputs) - inputs["reference"]
        margins = self._beta * (gains[:, 0] - gains[:, 1])
        check_finite("training", torch.isfinite(margins).all())
        self._margins += margins.tolist()
        return -logsigmoid(margins).sum() / num_items_in_batch

    def log(self, logs: dict[str, float], *args: Any) -> None:
        """Log an optimizer step with the accuracy and the mean margin of its pairs, see `curve`."""
        if "loss" in logs:
            right = sum(margin > 0 for margin in self._margins)
            logs |= {"accuracy": right / len(self._margins), "margin": float(np.mean(self._margins))}
            self._margins.clear()
        super().log(logs, *args)

    def curve(self) -> list[dict[str, float]]:
        """Loss, accuracy (share of pairs whose chosen answer has the higher reward) and reward margin by step."""
        names = ("step", "loss", "accuracy", "margin")
        return [{name: entry[name] for name in names} for entry in self.state.log_history if "loss" in entry]
