"""Train a LoRA adapter with a classification head over label sets (transformers Trainer + peft)."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from peft import TaskType
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from clinadapt.artifacts.hashing import read_json, write_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.artifacts.step_record import log
from clinadapt.config.base import Precision, decisive
from clinadapt.config.classify import Pooling, Train
from clinadapt.data.tables import label_counts, read_split
from clinadapt.models.adapter_card import ClassifyCard
from clinadapt.models.base_model import describe, fetch
from clinadapt.models.calibration import temperature
from clinadapt.models.classifier import Prepared, load_base, load_tokenizer, pad_batch, pool, predict_logits, prepare
from clinadapt.models.devices import device, resolve_precision
from clinadapt.models.label_sets import find_sets, label_logits, set_targets
from clinadapt.storage.object_store import Store
from components.train.checkpoints import Checkpoints, training_inputs
from components.train.early_stopping import EarlyStoppingTrainer, check_finite
from components.train.linear_probe import Probe, note_states, out_of_fold, soft_cross_entropy
from components.train.lora import add_adapter, save_adapter, train_in_fp32
from components.train.progress import Progress, costs
from components.train.training_arguments import VALIDATED, arguments

MOVED = 0.5  # of the way from the linear probe to the trained weights is gone (Wortsman et al. 2022, arXiv:2109.01903)


def run(splits: Path, output: Path, settings: Train, store: Store | None = None) -> dict[str, Any]:
    """Train and write adapter_model.safetensors, adapter_config.json, the tokenizer, clinadapt.json, training.json
    (loss curves and costs) and the manifest; return training.json's content.

    With a store, the state of training is kept there, and an interrupted training of the same data, settings and code
    goes on where it stopped, to the same bytes on a CPU. One that is done is not done again: its result is kept too.

    Raises:
        UserError: the base model or a LoRA target cannot be found, the loss is no longer a number, or the checkpoint
            found is of a training by another number of processes.
        KeyboardInterrupt: a signal asked to stop; the state is saved.
    """
    precision = resolve_precision(settings.precision)
    base = describe(settings.base_model)
    settings = settings.model_copy(update={"base_model": base.pinned_uri()})
    data = read_json(splits / MANIFEST)
    decided = training_inputs("classify", data["digest"], base.digest, settings, precision)
    checkpoints = Checkpoints(store, decided, processes=1) if store else None
    digests = {"splits": data["digest"], "base_model": base.digest}
    sealed = partial(
        write_manifest, output, {"splits_digest": data["digest"], "base_digest": base.digest}, "train", digests, [data]
    )
    if checkpoints and (done := checkpoints.result(output)):
        sealed()  # it came of these very splits
        return done
    tokenizer = load_tokenizer(fetch(settings.base_model))
    log("train", f"tokenising, {precision}, quantisation {settings.quantization}, on {device().type}")
    labels = data["labels"]
    tables = {name: read_split(splits, name) for name in ("train", "validation")}
    sets = find_sets(label_counts(tables["train"], labels), settings.min_notes_per_label_set)
    parts = {name: _Part(table, labels, sets, tokenizer, settings) for name, table in tables.items()}
    card = ClassifyCard(
        labels=labels,
        label_sets=sets,
        windows=settings.windows,
        pooling=settings.pooling,
        base_model=settings.base_model,
        base_digest=base.digest,
        quantization=settings.quantization,
        precision=precision,
        seed=settings.seed,
    )
    model = _adapted(settings, card.set_names(), precision, tokenizer.pad_token_id)
    weights = _class_weights(parts["train"].counts, sets, settings.class_weights)
    trainer = _Trainer(
        settings.pooling, parts["validation"], weights, tokenizer.pad_token_id, precision,
        checkpoints=checkpoints,
        minutes=settings.checkpoint_minutes,
        patience=settings.early_stopping_patience,
        model=model,
        args=TrainingArguments(**arguments(settings, precision, output), **VALIDATED),
        train_dataset=parts["train"],
        eval_dataset=parts["validation"],
        data_collator=_Collator(tokenizer.pad_token_id),
        callbacks=[Progress("train")],
    )  # fmt: skip
    trainer.add_callback(_Averaging(trainer))
    trainer.remove_callback(PrinterCallback)
    seconds = trainer.train_or_resume()
    trainer.use_best()

    output.mkdir(parents=True, exist_ok=True)
    model.peft_config["default"].base_model_name_or_path = card.base_model  # not the folder it was loaded from
    save_adapter(model, output)
    tokenizer.save_pretrained(output)
    card.model_copy(update={"temperature_ratio": trainer.temperature_ratio}).write(output)
    facts = _facts(trainer, parts, seconds, settings, precision) | {"total_parameters": base.parameters()}
    write_json(output / "training.json", facts)
    sealed()
    if checkpoints:
        checkpoints.finish(output)
    return facts


def _adapted(settings: Train, outputs: list[str], precision: Precision, pad: int) -> Any:
    base = load_base(
        settings.base_model, outputs, settings.quantization, precision, settings.pooling, pad, settings.seed
    )
    model = add_adapter(base, settings.lora, TaskType.SEQ_CLS)
    train_in_fp32(model)
    return model


class _Part(torch.utils.data.Dataset):
    """Notes of one split. Training reads a note's first window and draws others anew in each epoch; seed, epoch and
    note decide which, so that it does not matter what was drawn before."""

    def __init__(
        self, table: pa.Table, labels: list[str], sets: list[list[int]], tokenizer: Any, settings: Train
    ) -> None:
        self.counts = label_counts(table, labels)
        self.clusters = table["cluster"].to_numpy()
        self.sets = sets
        self.targets = torch.tensor(set_targets(self.counts, sets), dtype=torch.float32)
        self.prepared: Prepared = prepare(tokenizer, table["text"].to_pylist(), settings.windows)
        self._drawn = settings.train_windows
        self._seed, self.epoch = settings.seed, 0

    def __len__(self) -> int:
        return len(self.targets)

    def over_labels(self, logits: np.ndarray) -> np.ndarray:
        """Log probabilities of the labels, shape (notes, labels), from logits over label sets, shape (notes, sets)."""
        return label_logits(logits, self.sets, self.counts.shape[1])

    def temperature(self, logits: torch.Tensor) -> float:
        """The best temperature for logits over label sets, shape (notes, sets)."""
        return temperature(self.over_labels(logits.double().numpy()), self.counts)

    def __getitem__(self, index: int) -> tuple[list[list[int]], torch.Tensor]:
        windows = self.prepared.windows[index]
        random = np.random.default_rng((self._seed, self.epoch, index))
        later = random.choice(range(1, len(windows)), min(self._drawn, len(windows)) - 1, replace=False)
        return [windows[i] for i in (0, *sorted(later))], self.targets[index]


class _Collator:
    """Notes -> one batch of windows with their owners. `labels` are target distributions, shape (notes, sets)."""

    def __init__(self, pad: int) -> None:
        self._pad = pad

    def __call__(self, notes: list[tuple[list[list[int]], torch.Tensor]]) -> dict[str, torch.Tensor]:
        windows = [window for cut, _ in notes for window in cut]
        return {
            **pad_batch(windows, self._pad),
            "owner": torch.tensor([i for i, (cut, _) in enumerate(notes) for _ in cut]),
            "labels": torch.stack([target for _, target in notes]),
        }


class _Trainer(EarlyStoppingTrainer):
    """Cross-entropy of the pooled logits over label sets; validation is the log loss of single labels over rows."""

    loss_is_scaled_for_ga = False  # compute_loss averages over its own batch, whatever the model's forward accepts

    def __init__(
        self, pooling: Pooling, held: _Part, weights: torch.Tensor, pad: int, precision: Precision, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._pooling = pooling
        self._held, self._weights, self._pad, self._precision = held, weights, pad, precision
        self.tokens = 0
        self._trained = [p for p in self.model.parameters() if p.requires_grad]
        self._average = [p.detach().clone() for p in self._trained]
        self._start = [p.detach().clone() for p in self._trained] if pooling == "mean" else []
        self.temperature_ratio = 1.0

    def begin(self) -> None:
        """Put a linear probe into the head of mean pooling, and learn from it how far off the temperature of the
        validation notes is."""
        if self._pooling == "mean":
            log("train", f"fitting a linear probe on the states of {len(self.train_dataset)} notes")
            train, held = self.train_dataset, self._held
            states, of_held = (
                note_states(self.model, part.prepared, self._pad, self._precision) for part in (train, held)
            )
            probe = Probe(states, train.targets, self._weights)
            probe.put_into_head(self.model)
            many = out_of_fold(states, train.targets, self._weights, train.clusters)
            ratio = train.temperature(many) / held.temperature(probe.logits(of_held))
            self.temperature_ratio = float(np.clip(ratio, 0.5, 2))  # further off, they err on other notes
            _copy(self._trained, self._average)
            _copy(self._trained, self._start)

    def own_state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Where training began, the moving average, the best so far, how often validation was worse since, the tokens
        seen and what the probe taught."""
        tensors, facts = super().own_state()
        tensors |= {f"start.{i}": first for i, first in enumerate(self._start)}
        tensors |= {f"average.{i}": mean for i, mean in enumerate(self._average)}
        return tensors, facts | {"tokens": self.tokens, "temperature_ratio": self.temperature_ratio}

    def load_own_state(self, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
        """Take back what own_state gave."""
        super().load_own_state(tensors, facts)
        for name, own in (("start", self._start), ("average", self._average)):
            _copy([tensors[f"{name}.{i}"] for i in range(len(own))], own)
        self.tokens, self.temperature_ratio = facts["tokens"], facts["temperature_ratio"]

    def average(self, step: int) -> None:
        """Follow the trained weights with an exponential moving average (Polyak averaging; the decay grows to 0.98)."""
        decay = min(0.98, (1 + step) / (10 + step))
        for mean, now in zip(self._average, self._trained, strict=True):
            mean.lerp_(now.detach(), 1 - decay)

    def judged(self) -> list[torch.Tensor]:
        """The weights that are validated and published: the averaged ones; with a linear probe, half-way back to it.

        Of LoRA only B goes back, which began at zero: half of B is half of the update B A.
        """
        if self._pooling != "mean":
            return [mean.clone() for mean in self._average]
        names = (name for name, _ in self._trained_parameters())
        return [
            mean.clone() if "lora_A" in name else torch.lerp(first, mean, MOVED)
            for name, first, mean in zip(names, self._start, self._average, strict=True)
        ]

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        labels, owner = inputs.pop("labels"), inputs.pop("owner")
        lengths = inputs["attention_mask"].sum(1)
        self.tokens += int(lengths.sum())
        logits = pool(model(**inputs).logits, owner, lengths, labels.shape[1])
        loss = soft_cross_entropy(logits, labels, self._weights.to(labels.device))
        check_finite("training", torch.isfinite(loss))
        return loss

    def held_out_loss(self) -> float:
        """Log loss of single labels over the held-out rows."""
        now = [p.detach().clone() for p in self._trained]
        _copy(self.judged(), self._trained)
        logits = predict_logits(self.model, self._held.prepared, self._pad, self._precision)
        _copy(now, self._trained)
        counts = self._held.counts
        return float(-(counts * self._held.over_labels(logits)).sum() / counts.sum())


def _copy(source: list[torch.Tensor], target: list[torch.Tensor]) -> None:
    for new, old in zip(source, target, strict=True):
        old.data.copy_(new)


class _Averaging(TrainerCallback):
    """Tells the trainer of every step of the optimiser, and its notes of every epoch."""

    def __init__(self, trainer: _Trainer) -> None:
        self._trainer = trainer

    def on_epoch_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._trainer.train_dataset.epoch = int(state.epoch)

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._trainer.average(state.global_step)


def _class_weights(counts: np.ndarray, sets: list[list[int]], how: str) -> torch.Tensor:
    """Weight of each set, the mean of those of its labels; shape (sets,)."""
    share = counts.sum(axis=0) / counts.sum()
    weights = 1 / (len(share) * share) if how == "balanced" else np.ones_like(share)
    return torch.tensor([weights[members].mean() for members in sets], dtype=torch.float32)


def _facts(
    trainer: _Trainer, parts: dict[str, _Part], seconds: float, settings: Train, precision: Precision
) -> dict[str, Any]:
    """What the report and the manifest tell about training: curves, costs, tokens not seen."""
    train = parts["train"].prepared
    drawn = sum(sum(map(len, cut)) * min(1.0, settings.train_windows / len(cut)) for cut in train.windows)
    return {
        **costs(trainer, seconds),
        "tokens_per_second": trainer.tokens / seconds,
        "tokens_per_epoch_share": drawn / sum(sum(map(len, cut)) for cut in train.windows),
        "unseen_token_share": train.unseen_share(),
        "precision": precision,
        "quantization": settings.quantization,
        "settings": decisive(settings),
    }
