"""Train a LoRA adapter with a classification head over label sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peft import TaskType

from clinadapt.artifacts.code_version import code_version
from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.artifacts.step_record import log
from clinadapt.config.base import Precision, outcome_settings
from clinadapt.config.classify import ClassifyTraining
from clinadapt.data.tables import label_counts, read_split
from clinadapt.models.adapter_card import ClassifyCard
from clinadapt.models.base_model import BaseModel, describe, fetch
from clinadapt.models.classifier import load_sequence_classifier, load_tokenizer
from clinadapt.models.devices import device, resolve_precision
from clinadapt.models.label_sets import find_label_sets
from clinadapt.models.meta_check import checked_classifier
from clinadapt.storage.object_store import Store
from components.train.classifier_trainer import ClassifierTrainer, NotesDataset
from components.train.lora import add_adapter, save_new_adapter, train_in_fp32
from components.train.stage import Stage


def run(splits: Path, output: Path, settings: ClassifyTraining, store: Store | None = None) -> dict[str, Any]:
    """Train an adapter and write it to `output`: adapter_model.safetensors, adapter_config.json, the tokenizer,
    clinadapt.json, training.json (loss curve and costs) and the manifest.

    With a store, an interrupted training of the same data, settings and code resumes, to the same bytes on a CPU, and
    the result of a finished one is reused.

    Returns:
        The content of training.json.

    Raises:
        UserError: the base model or a LoRA target does not exist, the loss is not finite, or the checkpoint was written
            by another number of processes.
        KeyboardInterrupt: a signal stopped the training; the state is saved.
    """
    precision = resolve_precision(settings.precision)
    base = checked_classifier(describe(settings.base_model), settings.pooling, settings.windows.max_length)
    settings = settings.model_copy(update={"base_model": base.pinned_uri()})
    stage = Stage.of_new_adapter("classify", splits, output, settings, base, store)
    if training := stage.existing_result():
        return training

    tokenizer = load_tokenizer(fetch(settings.base_model))
    log("train", f"tokenizing, {precision}, quantization {settings.quantization}, on {device().type}")
    labels = read_json(splits / MANIFEST)["labels"]
    tables = {side: read_split(splits, side) for side in ("train", "validation")}
    label_sets = find_label_sets(label_counts(tables["train"], labels), settings.min_notes_per_label_set)
    notes = {side: NotesDataset(table, labels, label_sets, tokenizer, settings) for side, table in tables.items()}
    card = ClassifyCard(
        labels=labels,
        label_sets=label_sets,
        windows=settings.windows,
        pooling=settings.pooling,
        base_model=settings.base_model,
        base_digest=base.digest,
        quantization=settings.quantization,
        precision=precision,
        seed=settings.seed,
    )
    model = load_with_adapter(base, settings, card.set_names(), precision, tokenizer.pad_token_id)
    trainer = ClassifierTrainer(model, notes, settings, tokenizer.pad_token_id, stage.checkpoints)
    seconds = trainer.train_or_resume()
    trainer.load_best_weights()

    card = card.model_copy(update={"temperature_ratio": trainer.temperature_ratio})
    save_new_adapter(model, tokenizer, card, output)
    training = trainer.metrics(seconds) | {
        "quantization": settings.quantization,
        "settings": outcome_settings(settings),
        "code_version": code_version("components.train.classify"),
        "total_parameters": base.parameters(),
    }
    stage.finish(training)
    return training


def load_with_adapter(
    base: BaseModel, settings: ClassifyTraining, outputs: Sequence[str], precision: Precision, pad: int
) -> Any:
    """Load a base model, as checked_classifier returns it, with a new head for `outputs` and a new adapter, in fp32;
    `pad` is the padding token's id."""
    model = load_sequence_classifier(
        settings.base_model, outputs, settings.quantization, precision, settings.pooling, pad, settings.seed
    )
    model = add_adapter(model, settings.lora, TaskType.SEQ_CLS, base)
    train_in_fp32(model)
    return model
