"""The trainer of pretrain and instruct: packs through a causal language model (transformers Trainer + peft)."""

from __future__ import annotations

import math
from typing import Any

import torch
from peft import TaskType
from transformers import TrainingArguments

from clinadapt.config.base import Lora, Precision
from clinadapt.config.instruct import InstructTraining, Pretraining, TrainingSettings
from clinadapt.errors import UserError
from clinadapt.models.base_model import BaseModel
from clinadapt.models.causal_loss import Loss, unwrap
from clinadapt.models.devices import autocast, resolve_precision
from clinadapt.models.memory.instruct import checkpointing_needed
from clinadapt.models.prefix_tree import collate
from components.train.checkpoints import Checkpoints
from components.train.early_stopping import EarlyStoppingTrainer, check_finite
from components.train.lora import add_adapter, train_in_fp32
from components.train.packing import PackedDataset
from components.train.progress import Progress, training_metrics
from components.train.training_arguments import EARLY_STOPPING, arguments, optimizer


class CausalTrainer(EarlyStoppingTrainer):
    """Minimises the mean loss over all labels of an optimizer step, however it is cut into batches and processes; the
    validation loss is the same mean over the validation packs."""

    loss_is_scaled_for_ga = True

    def __init__(
        self,
        model: Any,
        packs: dict[str, PackedDataset],
        settings: TrainingSettings,
        patience: float = math.inf,
        step: str = "train",
        base: BaseModel | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        """
        Args:
            model: a causal language model, with an adapter or without; its trainable parameters become fp32.
            packs: of `train` and `validation`.
            settings: of the stage.
            patience: epochs without a better validation loss after which training stops.
            step: prefix of the lines of progress.
            base: for the memory estimate; None where pretrain makes the model.
            checkpoints: where the state is saved; None: it is not saved.
        """
        train_in_fp32(model)
        if gradient_checkpointing(settings, base):
            unwrap(model).activation_checkpointing_enable()
        self._precision = resolve_precision(settings.precision)
        super().__init__(
            checkpoints,
            settings.checkpoint_minutes,
            patience,
            step=step,
            model=Loss(model, packs["train"].tree),
            args=TrainingArguments(
                **arguments(settings, self._precision),
                **EARLY_STOPPING,
                adam_beta2=0.95,  # short runs; as in Touvron et al. 2023, arXiv:2302.13971
                optim=optimizer(),
                ddp_find_unused_parameters=False,
            ),
            train_dataset=packs["train"],
            eval_dataset=packs["validation"],
            data_collator=collate,
            callbacks=[Progress(step)],
        )

    def evaluated_weights(self) -> list[torch.Tensor]:
        """The trained weights, in main memory."""
        return [parameter.detach().to("cpu", copy=True) for _, parameter in self._trained_parameters()]

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        processes = self.accelerator.num_processes  # over which gradients are averaged
        loss = model(**inputs).sum() / num_items_in_batch * processes
        check_finite("training", torch.isfinite(loss))
        return loss

    @torch.no_grad()
    def validation_loss(self) -> float:
        """Mean loss over all labels of the validation packs, of which each process computes its share."""
        self.model.eval()
        total = torch.zeros(2, dtype=torch.float64, device=self.args.device)  # summed loss, labels
        packs, size = self.eval_dataset, self.args.per_device_train_batch_size
        share = range(self.args.process_index, len(packs), self.args.world_size)
        for start in range(0, len(share), size):
            batch = self._prepare_inputs(collate([packs[i] for i in share[start : start + size]]))
            with autocast(self._precision):
                losses = self.model(**batch)
            total += torch.stack([losses.sum(), torch.tensor(len(losses), device=total.device)])
        loss, labels = self.accelerator.reduce(total, reduction="sum").tolist()
        return loss / labels

    def metrics(self, seconds: float) -> dict[str, Any]:
        """Loss curve and costs, for training.json.

        `tokens_per_second` counts shared prefixes once for each example, `computed_tokens_per_second` once; the seconds
        include validation.
        """
        packs: PackedDataset = self.train_dataset
        epochs_per_second = self.state.epoch / seconds
        return {
            **training_metrics(self, seconds),
            "tokens_per_second": packs.useful_tokens * epochs_per_second,
            "computed_tokens_per_second": packs.computed_tokens * epochs_per_second,
            "packs": len(packs),
            "packing_efficiency": packs.computed_tokens / (len(packs) * packs.max_length),
            "useful_tokens": packs.useful_tokens,
            "computed_tokens": packs.computed_tokens,
            "precision": self._precision,
        }


def add_lora(model: Any, lora: Lora, seed: int) -> Any:
    """Add a new adapter to a causal language model, initialized from `seed`. Raises UserError as add_adapter."""
    torch.manual_seed(seed)
    return add_adapter(model, lora, TaskType.CAUSAL_LM)


def gradient_checkpointing(settings: TrainingSettings, base: BaseModel | None) -> bool:
    """Whether the backward pass recomputes activations. `auto`: on a GPU whose memory the estimate for `base` exceeds
    otherwise; always on a GPU where there is no estimate."""
    if settings.gradient_checkpointing != "auto" or not torch.cuda.is_available():
        return settings.gradient_checkpointing == "always"
    if base is None or not isinstance(settings, InstructTraining | Pretraining):
        return True
    return checkpointing_needed(base, settings, torch.cuda.get_device_properties(0).total_memory, "cuda")


def check_precision(precision: Precision) -> None:
    """Raise a UserError where this machine cannot train in a precision."""
    if precision == "fp16" and not torch.cuda.is_available():
        raise UserError("training in fp16 needs a GPU: set precision to auto, fp32 or bf16")


def check_vocabulary(model: Any, packs: dict[str, PackedDataset]) -> None:
    """Raise a UserError when the splits contain a token id beyond the model's embeddings."""
    size = model.get_input_embeddings().num_embeddings
    highest = max(part.highest_token for part in packs.values())
    if highest >= size:
        raise UserError(
            f"the splits contain token {highest} and the base model has {size}: "
            "run format with the tokenizer of this base model"
        )
