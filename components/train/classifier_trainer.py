"""The trainer of classify: windows of notes through a sequence classifier (transformers Trainer + peft)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from clinadapt.artifacts.step_record import log
from clinadapt.config.classify import ClassifyTraining
from clinadapt.data.tables import label_counts
from clinadapt.models.calibration import fit_temperature
from clinadapt.models.classifier import TokenizedNotes, pad_batch, pool, predict_logits, tokenize_notes
from clinadapt.models.devices import resolve_precision
from clinadapt.models.label_sets import label_logits, label_set_targets
from components.train.checkpoints import Checkpoints
from components.train.early_stopping import EarlyStoppingTrainer, check_finite
from components.train.linear_probe import Probe, note_states, out_of_fold, soft_cross_entropy
from components.train.progress import Progress, training_metrics
from components.train.training_arguments import EARLY_STOPPING, arguments

MAX_DECAY = 0.98  # of the moving average of the weights
# between the linear probe (0) and the trained weights (1); Wortsman et al. 2022, arXiv:2109.01903
FINETUNED_SHARE = 0.5


class NotesDataset(torch.utils.data.Dataset):
    """Notes of one split. A training example is the first window of a note and others drawn anew for each epoch; seed,
    epoch and index determine them, so that a resumed training draws the same.

    Attributes:
        counts: rows of each note by label, shape (notes, labels).
        clusters: cluster of near duplicates of each note, shape (notes,).
        targets: distribution of each note over label sets, shape (notes, sets).
        prepared: the notes as token windows.
        epoch: that windows are drawn for.
    """

    def __init__(
        self,
        table: pa.Table,
        labels: list[str],
        label_sets: list[list[int]],
        tokenizer: Any,
        settings: ClassifyTraining,
    ) -> None:
        self.counts = label_counts(table, labels)
        self.clusters = table["cluster"].to_numpy()
        self._label_sets = label_sets
        self.targets = torch.tensor(label_set_targets(self.counts, label_sets), dtype=torch.float32)
        self.prepared: TokenizedNotes = tokenize_notes(tokenizer, table["text"].to_pylist(), settings.windows)
        self._windows_per_epoch, self._seed = settings.train_windows, settings.seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[list[list[int]], torch.Tensor]:
        """Windows as lists of token ids, and the target, shape (sets,)."""
        windows = self.prepared.windows[index]
        random = np.random.default_rng((self._seed, self.epoch, index))
        later = random.choice(range(1, len(windows)), min(self._windows_per_epoch, len(windows)) - 1, replace=False)
        return [windows[i] for i in (0, *sorted(later))], self.targets[index]

    def label_log_probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Log probabilities of labels, shape (notes, labels), from logits over label sets, shape (notes, sets)."""
        return label_logits(logits, self._label_sets, self.counts.shape[1])

    def fit_temperature(self, logits: torch.Tensor) -> float:
        """The temperature that fits logits over label sets, shape (notes, sets), best."""
        return fit_temperature(self.label_log_probabilities(logits.double().numpy()), self.counts)

    def log_loss(self, logits: np.ndarray) -> float:
        """Log loss of single labels over rows, from logits over label sets, shape (notes, sets)."""
        return float(-(self.counts * self.label_log_probabilities(logits)).sum() / self.counts.sum())

    def class_weights(self, how: str) -> torch.Tensor:
        """Weight of each label set in the loss, shape (sets,): the mean of those of its labels, which are the inverse
        of their share of rows where `balanced`."""
        share = self.counts.sum(axis=0) / self.counts.sum()
        weights = 1 / (len(share) * share) if how == "balanced" else np.ones_like(share)
        return torch.tensor([weights[labels].mean() for labels in self._label_sets], dtype=torch.float32)

    def token_share_per_epoch(self) -> float:
        """Expected share of the tokens in windows that an epoch of training reads."""
        lengths = [(sum(map(len, windows)), len(windows)) for windows in self.prepared.windows]
        read = sum(tokens * min(1.0, self._windows_per_epoch / windows) for tokens, windows in lengths)
        return read / sum(tokens for tokens, _ in lengths)


class WindowCollator:
    """Makes a batch of the windows of some notes: input_ids and attention_mask, shape (windows, longest), `owner`, the
    index of each window's note, shape (windows,), and `labels`, target distributions, shape (notes, sets)."""

    def __init__(self, pad: int) -> None:
        """`pad` is the id of the padding token."""
        self._pad = pad

    def __call__(self, notes: list[tuple[list[list[int]], torch.Tensor]]) -> dict[str, torch.Tensor]:
        return {
            **pad_batch([window for windows, _ in notes for window in windows], self._pad),
            "owner": torch.tensor([i for i, (windows, _) in enumerate(notes) for _ in windows]),
            "labels": torch.stack([target for _, target in notes]),
        }


class ClassifierTrainer(EarlyStoppingTrainer):
    """Minimises the cross-entropy of pooled logits over label sets; validation is the log loss of labels over rows.

    Evaluated and published is a moving average of the weights. With mean pooling the head starts as a linear probe, and
    the weights half-way between the start and the average are evaluated and published.
    """

    loss_is_scaled_for_ga = False  # compute_loss averages over its own batch, whatever the model's forward accepts

    def __init__(
        self,
        model: Any,
        notes: dict[str, NotesDataset],
        settings: ClassifyTraining,
        pad: int,
        checkpoints: Checkpoints | None,
    ) -> None:
        """
        Args:
            model: a PeftModel of a sequence classifier over label sets; its trainable parameters are fp32.
            notes: of `train` and `validation`.
            settings: of the stage.
            pad: id of the padding token.
            checkpoints: where the state is saved; None: it is not saved.
        """
        self._precision = resolve_precision(settings.precision)
        super().__init__(
            checkpoints,
            settings.checkpoint_minutes,
            settings.early_stopping_patience,
            model=model,
            args=TrainingArguments(**arguments(settings, self._precision), **EARLY_STOPPING),
            train_dataset=notes["train"],
            eval_dataset=notes["validation"],
            data_collator=WindowCollator(pad),
            callbacks=[Progress("train")],
        )
        self.add_callback(_StepCallback(self))
        self._pad, self._probed = pad, settings.pooling == "mean"
        self._class_weights = notes["train"].class_weights(settings.class_weights)
        self._trained = [p for p in self.model.parameters() if p.requires_grad]
        self._average = [p.detach().clone() for p in self._trained]
        self._initial = [p.detach().clone() for p in self._trained] if self._probed else []
        self._tokens = 0
        self.temperature_ratio = 1.0

    def before_training(self) -> None:
        """With mean pooling, initialize the head as a linear probe, and estimate from it by how much a temperature
        fitted on the validation notes is off."""
        if not self._probed:
            return
        train, validation = self.train_dataset, self.eval_dataset
        log("train", f"fitting a linear probe on the states of {len(train)} notes")
        states, validation_states = (
            note_states(self.model, notes.prepared, self._pad, self._precision) for notes in (train, validation)
        )
        probe = Probe(states, train.targets, self._class_weights)
        probe.initialize_head(self.model)
        cross_validated = out_of_fold(states, train.targets, self._class_weights, train.clusters)
        ratio = train.fit_temperature(cross_validated) / validation.fit_temperature(probe.logits(validation_states))
        self.temperature_ratio = float(np.clip(ratio, 0.5, 2))  # beyond this the validation notes are of another kind
        _copy(self._trained, self._average)
        _copy(self._trained, self._initial)

    def extra_state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Besides the best weights: the initial and the averaged ones, tokens so far and the temperature ratio."""
        tensors, values = super().extra_state()
        tensors |= {f"initial.{i}": weight for i, weight in enumerate(self._initial)}
        tensors |= {f"average.{i}": weight for i, weight in enumerate(self._average)}
        return tensors, values | {"tokens": self._tokens, "temperature_ratio": self.temperature_ratio}

    def load_extra_state(self, tensors: dict[str, torch.Tensor], values: dict[str, Any]) -> None:
        super().load_extra_state(tensors, values)
        for name, weights in (("initial", self._initial), ("average", self._average)):
            _copy([tensors[f"{name}.{i}"] for i in range(len(weights))], weights)
        self._tokens, self.temperature_ratio = values["tokens"], values["temperature_ratio"]

    def update_average(self, step: int) -> None:
        """Update the exponential moving average of the weights (Polyak averaging); its decay grows to MAX_DECAY."""
        decay = min(MAX_DECAY, (1 + step) / (10 + step))
        for average, trained in zip(self._average, self._trained, strict=True):
            average.lerp_(trained.detach(), 1 - decay)

    def evaluated_weights(self) -> list[torch.Tensor]:
        """The averaged weights; with a linear probe, those half-way back to it. Of LoRA only B goes back, which starts
        at zero: half of B is half of the update B A."""
        if not self._probed:
            return [average.clone() for average in self._average]
        names = (name for name, _ in self._trained_parameters())
        return [
            average.clone() if "lora_A" in name else torch.lerp(initial, average, FINETUNED_SHARE)
            for name, initial, average in zip(names, self._initial, self._average, strict=True)
        ]

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        labels, owner = inputs.pop("labels"), inputs.pop("owner")
        lengths = inputs["attention_mask"].sum(1)
        self._tokens += int(lengths.sum())
        logits = pool(model(**inputs).logits, owner, lengths, labels.shape[1])
        loss = soft_cross_entropy(logits, labels, self._class_weights.to(labels.device))
        check_finite("training", torch.isfinite(loss))
        return loss

    def validation_loss(self) -> float:
        """Log loss of single labels over the validation rows, with the evaluated weights."""
        trained = [p.detach().clone() for p in self._trained]
        _copy(self.evaluated_weights(), self._trained)
        logits = predict_logits(self.model, self.eval_dataset.prepared, self._pad, self._precision)
        _copy(trained, self._trained)
        return self.eval_dataset.log_loss(logits)

    def metrics(self, seconds: float) -> dict[str, Any]:
        """Loss curve, costs and shares of tokens, for training.json."""
        return {
            **training_metrics(self, seconds),
            "tokens_per_second": self._tokens / seconds,
            "token_share_per_epoch": self.train_dataset.token_share_per_epoch(),
            "unseen_token_share": self.train_dataset.prepared.unseen_token_share(),
            "precision": self._precision,
        }


def _copy(source: list[torch.Tensor], target: list[torch.Tensor]) -> None:
    for new, old in zip(source, target, strict=True):
        old.data.copy_(new)


class _StepCallback(TrainerCallback):
    """Averages the weights after each optimizer step, and draws windows anew for each epoch."""

    def __init__(self, trainer: ClassifierTrainer) -> None:
        self._trainer = trainer

    def on_epoch_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._trainer.train_dataset.epoch = int(state.epoch)

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._trainer.update_average(state.global_step)
