"""The engine of pretrain and instruct: packs through a causal language model (transformers Trainer + peft)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from peft import PeftModel, TaskType
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint
from transformers import PrinterCallback, TrainingArguments

from clinadapt.config.base import Lora, Precision
from clinadapt.config.instruct import Instruct, Pretrain, TrainingSettings
from clinadapt.errors import UserError
from clinadapt.models.base_model import BaseModel
from clinadapt.models.devices import autocast
from clinadapt.models.memory.instruct import TILE, checkpointing_needed
from components.train.checkpoints import Checkpoints
from components.train.early_stopping import EarlyStoppingTrainer, check_finite
from components.train.lora import add_adapter, train_in_fp32
from components.train.packing import Packed, attention_mask, collate
from components.train.progress import Progress, costs
from components.train.training_arguments import VALIDATED, arguments, optimiser

TOKENIZER = "tokenizer"  # the folder of the splits that holds it, with its chat template


class Loss(torch.nn.Module):
    """A causal language model that gives a batch's loss: the sum over what is predicted of -log p."""

    accepts_loss_kwargs = True  # the Trainer then counts the labels of a whole step of the optimiser

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        ends: torch.Tensor,
        sources: torch.Tensor,
        labels: torch.Tensor,
    ) -> torch.Tensor:
        """A batch as packing.collate makes it -> a scalar.

        Logits are computed of predicting tokens alone, in tiles that are computed again in the backward pass, so that
        those of a pack never exist together (as in Liger Kernel, Hsu et al. 2024, arXiv:2410.10989).
        """
        causal = base_of(self.model)
        states = causal.base_model(
            input_ids=input_ids, position_ids=position_ids, attention_mask=attention_mask(ends), use_cache=False
        ).last_hidden_state.flatten(0, 1)[sources]
        if len(labels) <= TILE:
            return self._tile(causal, states, labels)
        tiles = zip(states.split(TILE), labels.split(TILE), strict=True)
        return torch.stack([checkpoint(self._tile, causal, *tile, use_reentrant=False) for tile in tiles]).sum()

    @staticmethod
    def _tile(causal: Any, states: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return cross_entropy(causal.get_output_embeddings()(states).float(), labels, reduction="sum")


def base_of(model: Any) -> Any:
    """The transformers model, without its adapter's wrapper."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


class CausalTrainer(EarlyStoppingTrainer):
    """The loss is the mean over all that a step of the optimiser predicts, however it is cut into batches. Validation
    is the same mean over the held-out packs; the weights of its best epoch are kept."""

    loss_is_scaled_for_ga = True

    def __init__(
        self, step: str, model: Any, packs: dict[str, Packed], settings: TrainingSettings, precision: Precision,
        patience: int, scratch: Path, checkpoints: Checkpoints | None, base: BaseModel | None,
    ) -> None:  # fmt: skip
        """
        Args:
            step: begins the lines of progress.
            model: a causal language model, with an adapter or without; its trainable parameters become fp32.
            packs: of `train` and `validation`.
            settings: how it is trained.
            precision: that it computes in.
            patience: epochs without a better validation loss after which training stops.
            scratch: a folder that the Trainer wants; nothing is written to it.
            checkpoints: where the state is kept.
            base: what the estimate of memory goes by; None where pretrain makes the model.
        """
        train_in_fp32(model)
        if gradient_checkpointing(settings, base):
            base_of(model).activation_checkpointing_enable()
        super().__init__(
            checkpoints,
            settings.checkpoint_minutes,
            patience,
            step=step,
            model=Loss(model),
            args=TrainingArguments(
                **arguments(settings, precision, scratch),
                **VALIDATED,
                adam_beta2=0.95,  # short runs; as in Touvron et al. 2023, arXiv:2302.13971
                optim=optimiser(),
                ddp_find_unused_parameters=False,
            ),
            train_dataset=packs["train"],
            eval_dataset=packs["validation"],
            data_collator=collate,
            callbacks=[Progress(step)],
        )
        self.remove_callback(PrinterCallback)
        self._precision = precision

    def judged(self) -> list[torch.Tensor]:
        """The trained weights, in main memory."""
        return [parameter.detach().to("cpu", copy=True) for _, parameter in self._trained_parameters()]

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        loss = model(**inputs) / num_items_in_batch * self.accelerator.num_processes  # whose gradients are averaged
        check_finite("training", torch.isfinite(loss))
        return loss

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """Mean over all that the held-out packs predict. Each process computes its share of them."""
        self.model.eval()
        total = torch.zeros(2, dtype=torch.float64, device=self.args.device)
        packs, size = self.eval_dataset, self.args.per_device_train_batch_size
        mine = range(self.args.process_index, len(packs), self.args.world_size)
        for start in range(0, len(mine), size):
            batch = self._prepare_inputs(collate([packs[i] for i in mine[start : start + size]]))
            with autocast(self._precision):
                total += torch.stack([self.model(**batch), torch.tensor(len(batch["labels"]), device=total.device)])
        loss, predicted = self.accelerator.reduce(total, reduction="sum").tolist()
        return loss / predicted

    def facts(self, seconds: float, precision: Precision) -> dict[str, Any]:
        """Curve and costs, for training.json. `tokens_per_second` counts the tokens of every example as if it stood
        alone, `computed_tokens_per_second` those that the model was given; seconds of validation count too."""
        packs: Packed = self.train_dataset
        passes = self.state.epoch / seconds
        return {
            **costs(self, seconds),
            "tokens_per_second": packs.useful_tokens * passes,
            "computed_tokens_per_second": packs.computed_tokens * passes,
            "packs": len(packs),
            "packing_efficiency": packs.computed_tokens / (len(packs) * packs.length),
            "useful_tokens": packs.useful_tokens,
            "computed_tokens": packs.computed_tokens,
            "precision": precision,
        }


def processes() -> int:
    """How many train together, as torchrun says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def first_process() -> bool:
    """Whether this is the one that tells and writes."""
    return os.environ.get("RANK", "0") == "0"


def add_lora(model: Any, lora: Lora, seed: int) -> Any:
    """The model with a new adapter, drawn from `seed`. Raises UserError as `add_adapter`."""
    torch.manual_seed(seed)
    return add_adapter(model, lora, TaskType.CAUSAL_LM)


def gradient_checkpointing(settings: TrainingSettings, base: BaseModel | None) -> bool:
    """Whether activations are computed again in the backward pass instead of kept. `auto` is: on a GPU, where the
    estimate for `base` says that they do not fit; where no base is described, always there."""
    if settings.gradient_checkpointing != "auto" or not torch.cuda.is_available():
        return settings.gradient_checkpointing == "always"
    if base is None or not isinstance(settings, Instruct | Pretrain):
        return True
    return checkpointing_needed(base, settings, torch.cuda.get_device_properties(0).total_memory, "cuda")


def check_precision(precision: Precision) -> None:
    """Raises UserError where it cannot be trained in here."""
    if precision == "fp16" and not torch.cuda.is_available():
        raise UserError("training in fp16 needs a GPU: set precision to auto, fp32 or bf16")


def check_vocabulary(model: Any, packs: dict[str, Packed]) -> None:
    """Raises UserError when the splits hold a token that the model does not know."""
    known = model.get_input_embeddings().num_embeddings
    highest = max(part.highest_token for part in packs.values())
    if highest >= known:
        raise UserError(
            f"the splits hold token {highest} and the base model knows {known}: "
            "format with the tokenizer of this very base model"
        )


def read_table(splits: Path, name: str) -> Any:
    """A Parquet file of the folder that format wrote. Raises UserError when it is not there."""
    try:
        return pq.read_table(splits / name)
    except OSError as error:
        raise UserError(f"the splits have no readable {name}: run format again") from error
