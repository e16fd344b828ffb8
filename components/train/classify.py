"""Train a LoRA adapter with a classification head over label sets (transformers Trainer + peft)."""

from __future__ import annotations

import math
import os
import resource
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from peft import LoraConfig, TaskType, get_peft_model
from transformers import (
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from components.common.adapter import Card
from components.common.base_model import describe, fetch
from components.common.calibration import temperature
from components.common.classifier import (
    Prepared,
    device,
    load_base,
    load_tokenizer,
    pad_batch,
    pool,
    predict_logits,
    prepare,
    resolve_precision,
)
from components.common.dataset import label_counts, read_split
from components.common.errors import UserError
from components.common.label_sets import find_sets, label_logits, set_targets
from components.common.provenance import MANIFEST, code_version, read_json, write_json, write_manifest
from components.common.recipe import Pooling, Precision, Train
from components.common.steps import say
from components.common.store import Store
from components.common.targets import check_targets
from components.train.checkpoints import Checkpoints
from components.train.probe import Probe, note_states, out_of_fold, soft_cross_entropy
from components.train.resumable import Resumable

MOVED = 0.5  # of the way from the linear probe to the trained weights is gone (Wortsman et al. 2022, arXiv:2109.01903)


def run(splits: Path, output: Path, settings: Train, store: Store | None = None) -> dict[str, Any]:
    """Train and write adapter_model.safetensors, adapter_config.json, the tokenizer, clinadapt.json, training.json
    (loss curves and costs) and the manifest; return training.json's content.

    With a store, the state of training is kept there until the adapter is written, and an interrupted training of the
    same data, settings and code goes on where it stopped, to the same bytes on a CPU.

    Raises:
        UserError: the base model or a LoRA target cannot be found, the loss is no longer a number, or the checkpoint
            found is of a training by another number of processes.
        KeyboardInterrupt: a signal asked to stop; the state is saved.
    """
    labels = read_json(splits / MANIFEST)["labels"]
    precision = resolve_precision(settings.precision)
    base = describe(settings.base_model)
    settings = settings.model_copy(update={"base_model": base.pinned()})
    tokenizer = load_tokenizer(fetch(settings.base_model))
    say("train", f"tokenising, {precision}, quantisation {settings.quantization}, on {device().type}")
    tables = {name: read_split(splits, name) for name in ("train", "validation")}
    sets = find_sets(label_counts(tables["train"], labels), settings.smallest_label_set)
    parts = {name: _Part(table, labels, sets, tokenizer, settings) for name, table in tables.items()}
    card = Card(
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
    arguments = _arguments(settings, precision, output)
    splits_digest = read_json(splits / MANIFEST)["digest"]
    decides = _decides(splits_digest, base.digest, settings, precision)
    checkpoints = Checkpoints(store, decides, arguments.world_size) if store else None
    trainer = _Trainer(
        settings.pooling, parts["validation"], weights, tokenizer.pad_token_id, precision, settings.patience,
        checkpoints=checkpoints,
        minutes=settings.checkpoint_minutes,
        model=model,
        args=arguments,
        train_dataset=parts["train"],
        eval_dataset=parts["validation"],
        data_collator=_Collator(tokenizer.pad_token_id),
        callbacks=[_Progress()],
    )  # fmt: skip
    trainer.add_callback(_Averaging(trainer))
    trainer.remove_callback(PrinterCallback)
    seconds = trainer.train_or_resume()
    trainer.use_best()

    output.mkdir(parents=True, exist_ok=True)
    model.peft_config["default"].base_model_name_or_path = card.base_model  # not the folder it was loaded from
    model.save_pretrained(output)
    (output / "README.md").unlink()  # peft's empty model card; publish writes the real one
    tokenizer.save_pretrained(output)
    card.model_copy(update={"temperature_ratio": trainer.temperature_ratio}).write(output)
    facts = _facts(trainer, parts, seconds, settings, precision) | {"total_parameters": base.parameters()}
    write_json(output / "training.json", facts)
    write_manifest(output, {"splits_digest": splits_digest, "base_digest": card.base_digest})
    if checkpoints:
        checkpoints.remove()
    return facts


def check_gpu() -> None:
    """Raises UserError when this step was given a GPU (CLINADAPT_GPU, set by the pipeline) that torch cannot use."""
    if os.environ.get("CLINADAPT_GPU") and not torch.cuda.is_available():
        raise UserError(
            "this profile trains on a GPU and torch finds none: build the image with the CUDA build of torch"
        )


def _decides(splits_digest: str, base_digest: str, settings: Train, precision: Precision) -> dict[str, Any]:
    """All that decides the bytes of the adapter, on the same processor with as many threads."""
    return {
        "splits": splits_digest,
        "base": base_digest,
        "settings": settings.model_dump(exclude={"checkpoint_minutes"}),
        "precision": precision,
        "device": device().type,
        "code": code_version(),
        "libraries": {name: version(name) for name in ("torch", "transformers", "peft", "bitsandbytes")},
    }


def _adapted(settings: Train, outputs: list[str], precision: Precision, pad: int) -> Any:
    base = load_base(
        settings.base_model, outputs, settings.quantization, precision, settings.pooling, pad, settings.seed
    )
    lora = settings.lora
    linear = [name for name, module in base.named_modules() if isinstance(module, torch.nn.Linear)]
    if lora.target_modules != "all-linear":
        check_targets(linear, lora.target_modules)
    check_targets([name for name, _ in base.named_modules()], lora.modules_to_save)
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        bias="none",
        target_modules=lora.target_modules,
        modules_to_save=[*lora.modules_to_save] or None,  # peft adds the head to the list that it is given
    )
    model = get_peft_model(base, config)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
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


class _Trainer(Resumable):
    """Cross-entropy of the pooled logits over label sets; validation is the log loss of single labels over rows."""

    loss_is_scaled_for_ga = False  # compute_loss averages over its own batch, whatever the model's forward accepts

    def __init__(
        self, pooling: Pooling, held: _Part, weights: torch.Tensor, pad: int, precision: Precision, patience: int,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        self._pooling = pooling
        self._held, self._weights, self._pad, self._precision = held, weights, pad, precision
        self._patience, self._worse = patience, 0
        self.tokens = 0
        self._trained = [p for p in self.model.parameters() if p.requires_grad]
        self._average = [p.detach().clone() for p in self._trained]
        self._start = [p.detach().clone() for p in self._trained] if pooling == "mean" else []
        self.temperature_ratio = 1.0
        self._best: tuple[float, list[torch.Tensor]] = (math.inf, [])

    def begin(self) -> None:
        """Put a linear probe into the head of mean pooling, and learn from it how far off the temperature of the
        validation notes is."""
        if self._pooling == "mean":
            say("train", f"fitting a linear probe on the states of {len(self.train_dataset)} notes")
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
        loss, best = self._best
        tensors = {f"start.{i}": first for i, first in enumerate(self._start)}
        tensors |= {f"average.{i}": mean for i, mean in enumerate(self._average)}
        tensors |= {f"best.{i}": mean for i, mean in enumerate(best)}
        facts = {"best_loss": loss if best else None, "worse": self._worse, "tokens": self.tokens}
        return tensors, facts | {"temperature_ratio": self.temperature_ratio}

    def load_own_state(self, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
        """Take back what own_state gave."""
        for name, own in (("start", self._start), ("average", self._average)):
            _copy([tensors[f"{name}.{i}"] for i in range(len(own))], own)
        if facts["best_loss"] is not None:
            best = [torch.empty_like(p) for p in self._trained]
            _copy([tensors[f"best.{i}"] for i in range(len(best))], best)
            self._best = facts["best_loss"], best
        self._worse, self.tokens = facts["worse"], facts["tokens"]
        self.temperature_ratio = facts["temperature_ratio"]

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

    def use_best(self) -> None:
        """Put the judged weights of the epoch with the lowest validation loss into the model."""
        _copy(self._best[1], self._trained)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        labels, owner = inputs.pop("labels"), inputs.pop("owner")
        lengths = inputs["attention_mask"].sum(1)
        self.tokens += int(lengths.sum())
        logits = pool(model(**inputs).logits, owner, lengths, labels.shape[1])
        loss = soft_cross_entropy(logits, labels, self._weights.to(labels.device))
        if not torch.isfinite(loss):
            raise UserError("the training loss is no longer a number: lower the learning rate")
        return loss

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        now, judged = [p.detach().clone() for p in self._trained], self.judged()
        _copy(judged, self._trained)
        logits = predict_logits(self.model, self._held.prepared, self._pad, self._precision)
        _copy(now, self._trained)
        counts = self._held.counts
        metrics = {"eval_loss": float(-(counts * self._held.over_labels(logits)).sum() / counts.sum())}
        if not math.isfinite(metrics["eval_loss"]):
            raise UserError("the validation loss is no longer a number: lower the learning rate")
        if metrics["eval_loss"] < self._best[0]:
            self._best, self._worse = (metrics["eval_loss"], judged), 0
        else:
            self._worse += 1
        self.log(metrics)
        self.control: TrainerControl = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self.control.should_training_stop |= self._worse >= self._patience
        return metrics


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


class _Progress(TrainerCallback):
    """A line with loss and time left, at most every five seconds."""

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._start = self._last = time.monotonic()
        self._first = state.global_step
        if self._first:
            say("train", f"resuming at step {self._first} of {state.max_steps}")

    def on_log(
        self,
        args: Any,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        logs = logs or {}
        now = time.monotonic()
        if "eval_loss" in logs:
            say(
                "train",
                f"epoch {state.epoch:.0f}/{args.num_train_epochs:.0f}  validation loss {logs['eval_loss']:.4f}",
            )
        elif "loss" in logs and now - self._last > 5:
            self._last = now
            a_step = (now - self._start) / (state.global_step - self._first)
            left = a_step * (state.max_steps - state.global_step)
            say(
                "train",
                f"step {state.global_step}/{state.max_steps}  epoch {state.epoch:.1f}  loss {logs['loss']:.4f}"
                f"  {left // 60:.0f} min {left % 60:02.0f} s left",
            )


def _arguments(settings: Train, precision: Precision, scratch: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(scratch),
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=settings.warmup,
        lr_scheduler_type="cosine",
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        use_cpu=not torch.cuda.is_available(),
        seed=settings.seed,
        data_seed=settings.seed,
        logging_steps=1,
        logging_nan_inf_filter=False,
        eval_strategy="epoch",
        save_strategy="no",
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=True,
        report_to="none",
    )


def _class_weights(counts: np.ndarray, sets: list[list[int]], how: str) -> torch.Tensor:
    """Weight of each set, the mean of those of its labels; shape (sets,)."""
    share = counts.sum(axis=0) / counts.sum()
    weights = 1 / (len(share) * share) if how == "balanced" else np.ones_like(share)
    return torch.tensor([weights[members].mean() for members in sets], dtype=torch.float32)


def _facts(
    trainer: _Trainer, parts: dict[str, _Part], seconds: float, settings: Train, precision: Precision
) -> dict[str, Any]:
    """What the report and the manifest tell about training: curves, costs, tokens not seen. An interrupted training
    counts as one; only the peak of memory is that of its last process."""
    curve = [
        {"step": e["step"], "epoch": e["epoch"], "loss": e["loss"], "learning_rate": e["learning_rate"]}
        if "loss" in e
        else {"step": e["step"], "epoch": e["epoch"], "validation_loss": e["eval_loss"]}
        for e in trainer.state.log_history
        if "loss" in e or "eval_loss" in e
    ]
    train = parts["train"].prepared
    drawn = sum(sum(map(len, cut)) * min(1.0, settings.train_windows / len(cut)) for cut in train.windows)
    peak = (
        torch.cuda.max_memory_allocated()
        if torch.cuda.is_available()
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    parameters = list(trainer.model.parameters())
    best = min((e for e in curve if "validation_loss" in e), key=lambda e: e["validation_loss"])
    return {
        "curve": curve,
        "best_step": best["step"],
        "stopped_early": trainer.state.global_step < math.ceil(trainer.state.max_steps),
        "seconds": seconds,
        "peak_memory_bytes": peak,
        "tokens_per_second": trainer.tokens / seconds,
        "checkpoints": len(trainer.blocked_ms),
        "checkpoint_blocked_ms": float(np.mean(trainer.blocked_ms or [0.0])),
        "tokens_per_epoch_share": drawn / sum(sum(map(len, cut)) for cut in train.windows),
        "unseen_token_share": train.unseen_share(),
        "trainable_parameters": sum(p.numel() for p in parameters if p.requires_grad),
        "precision": precision,
        "quantization": settings.quantization,
        "device": device().type,
        "settings": settings.model_dump(exclude={"checkpoint_minutes"}),  # it decides nothing
    }
