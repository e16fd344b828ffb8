"""Preference pairs after instruction tuning: DPO (Rafailov et al. 2023, arXiv:2305.18290) by trl's DPOTrainer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from datasets import Dataset
from peft import PeftModel
from trl.trainer import DPOConfig, DPOTrainer

from clinadapt.artifacts.code_version import training_code_version
from clinadapt.artifacts.hashing import read_json, sha256_json
from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.artifacts.step_record import log
from clinadapt.config.base import Precision, outcome_settings
from clinadapt.config.instruct import PreferenceTraining
from clinadapt.errors import UserError
from clinadapt.models.adapter_card import InstructCard
from clinadapt.models.causal_lm import load_causal_lm
from clinadapt.models.chat_template import load_tokenizer
from clinadapt.storage.object_store import Store
from components.train.causal_trainer import gradient_checkpointing
from components.train.checkpoints import Checkpoints, training_inputs
from components.train.lora import save_adapter, train_in_fp32
from components.train.own_answers import own_mistakes
from components.train.progress import Progress
from components.train.resumable_trainer import ResumableTrainer
from components.train.stage import Stage, processes, read_table
from components.train.training_arguments import arguments, optimizer

COLUMNS = ["prompt_ids", "chosen_ids", "rejected_ids"]


def run(
    splits: Path, adapter: Path, output: Path, settings: PreferenceTraining, store: Store | None = None
) -> dict[str, Any]:
    """Continue the training of an adapter on preferences.parquet, with a frozen copy of the initial adapter as the
    reference model. Writes the same files as instruct; training.json has the metrics of this stage under `preference`.

    With a store, an interrupted training resumes and the result of a finished one is reused, as in instruct.

    Args:
        splits: the folder that format wrote.
        adapter: the folder that instruct wrote.
        output: the folder of the new adapter.
        settings: of the stage; a batch is `per_device_train_batch_size` pairs.
        store: where the state and the result are stored.

    Returns:
        The content of training.json.

    Raises:
        UserError: there are no pairs, and not because nobody has corrected an answer yet; the base model has changed,
            or the loss is not finite.
        KeyboardInterrupt: a signal stopped the training; the state is saved.
    """
    card = InstructCard.read(adapter)
    card.check_base()
    pairs, mistakes = read_table(splits, "preferences.parquet").select(COLUMNS), dict[str, int]()
    if settings.own_answers:
        own, mistakes = own_mistakes(splits, adapter, settings)
        pairs = pa.concat_tables([pairs, own.cast(pairs.schema)])
    stage = _stage(splits, adapter, output, settings, card, store, pairs)
    if training := stage.existing_result():
        return training

    if not len(pairs):
        if not mistakes and not read_json(splits / MANIFEST).get("feedback"):
            raise UserError("no preference pair to train on: see what format dropped, and why")
        why = "it makes no mistake" if mistakes else "nobody has corrected an answer yet"
        log("prefer", f"{why}: the adapter stays as it is")
        shutil.copytree(adapter, output, ignore=shutil.ignore_patterns(MANIFEST), dirs_exist_ok=True)
        return _finish(stage, adapter, settings, 0, mistakes, [], 0.0)
    base = load_causal_lm(card.base_model, card.quantization, card.precision)
    model = PeftModel.from_pretrained(base, adapter, is_trainable=True)
    trainer = PreferenceTrainer(model, pairs, settings, card.precision, load_tokenizer(adapter), stage.checkpoints)
    log("prefer", f"{len(pairs):,} pairs, {card.precision}, quantization {card.quantization}")
    seconds = trainer.train_or_resume()
    if not all(torch.isfinite(p).all() for p in model.parameters() if p.requires_grad):
        raise UserError("the weights are no longer numbers: lower the learning rate of preference")

    shutil.copytree(adapter, output, ignore=shutil.ignore_patterns(MANIFEST), dirs_exist_ok=True)
    save_adapter(model, output, selected_adapters=["default"], save_embedding_layers=False)
    return _finish(stage, adapter, settings, len(pairs), mistakes, trainer.curve(), seconds)


def _finish(
    stage: Stage,
    adapter: Path,
    settings: PreferenceTraining,
    pairs: int,
    mistakes: dict[str, int],
    curve: list[dict[str, float]],
    seconds: float,
) -> dict[str, Any]:
    """Complete the output; returns the content of training.json."""
    training = read_json(adapter / "training.json") | {
        "preference": {"pairs": pairs, "mistakes": mistakes, "curve": curve, "seconds": seconds},
        "processes": processes(),
    }
    training["settings"] |= {"preference": outcome_settings(settings)}
    training["code_version"] = training_code_version("instruct", preferences=True)
    stage.finish(training)
    return training


def _stage(
    splits: Path,
    adapter: Path,
    output: Path,
    settings: PreferenceTraining,
    card: InstructCard,
    store: Store | None,
    pairs: pa.Table,
) -> Stage:
    manifest, data, checkpoints = read_json(adapter / MANIFEST), read_json(splits / MANIFEST)["digest"], None
    if store:
        trained_on = sha256_json([data, pairs.to_pydict()]) if settings.own_answers else data
        determining_inputs = training_inputs("prefer", trained_on, manifest["digest"], settings, card.precision)
        checkpoints = Checkpoints(store, determining_inputs, processes())
    inputs = {"splits": data, "adapter": manifest["digest"], "base_model": manifest["base_digest"]}
    return Stage(output, manifest["splits_digest"], manifest["base_digest"], checkpoints, "prefer", inputs, (manifest,))


class PreferenceTrainer(ResumableTrainer, DPOTrainer):
    """DPO on tokenized pairs. trl copies the adapter as the reference before the first step."""

    def __init__(
        self,
        model: PeftModel,
        pairs: pa.Table,
        settings: PreferenceTraining,
        precision: Precision,
        tokenizer: Any,
        checkpoints: Checkpoints | None,
    ) -> None:
        """
        Args:
            model: with the adapter, whose parameters become fp32.
            pairs: with the columns COLUMNS, each a list of token ids.
            settings: of the stage.
            precision: that it computes in.
            tokenizer: of the model.
            checkpoints: where the state is saved; None: it is not saved.
        """
        super().__init__(
            checkpoints,
            settings.checkpoint_minutes,
            step="prefer",
            model=model,
            args=DPOConfig(
                **arguments(settings, precision),
                beta=settings.beta,
                max_length=settings.max_length,
                optim=optimizer(),
                gradient_checkpointing=gradient_checkpointing(settings, None),
            ),
            train_dataset=Dataset.from_dict(pairs.to_pydict()),
            processing_class=tokenizer,
            callbacks=[Progress("prefer")],
        )
        train_in_fp32(model)  # trl converts those of a quantized model to bf16, which fp16's gradient scaler refuses

    def _prepare_dataset(self, dataset: Dataset, *args: Any) -> Dataset:
        return dataset

    def curve(self) -> list[dict[str, float]]:
        """Loss, accuracy (share of pairs whose chosen answer has the higher reward) and reward margin by step."""
        return [
            {"step": e["step"], "loss": e["loss"], "accuracy": e["rewards/accuracies"], "margin": e["rewards/margins"]}
            for e in self.state.log_history
            if "loss" in e
        ]
