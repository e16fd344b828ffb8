"""Preference pairs after instruction tuning, by DPO."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from clinadapt.artifacts.code_version import training_code_version
from clinadapt.artifacts.hashing import read_json, sha256_json
from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.artifacts.step_record import log
from clinadapt.config.base import outcome_settings
from clinadapt.config.instruct import PreferenceTraining
from clinadapt.errors import UserError
from clinadapt.models.adapter_card import InstructCard
from clinadapt.models.adapter_weights import load_adapter
from clinadapt.models.base_model import describe
from clinadapt.models.causal_lm import load_causal_lm
from clinadapt.models.tree_check import tree_fault
from clinadapt.storage.object_store import Store
from components.train.causal_trainer import check_precision
from components.train.checkpoints import Checkpoints, training_inputs
from components.train.lora import save_adapter
from components.train.own_answers import own_mistakes
from components.train.preference_packs import PackedPairs
from components.train.preference_trainer import PreferenceTrainer
from components.train.stage import Stage, processes, read_table

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
        settings: of the stage; a batch is `per_device_train_batch_size` packs of pairs.
        store: where the state and the result are stored.

    Returns:
        The content of training.json.

    Raises:
        UserError: there are no pairs, and not because nobody has corrected an answer yet; the base model has changed,
            its precision needs a GPU, or the loss is not finite.
        KeyboardInterrupt: a signal stopped the training; the state is saved.
    """
    card = InstructCard.read(adapter)
    card.check_base()
    check_precision(card.precision)
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
    model = load_adapter(base, adapter, is_trainable=True)
    packs = PackedPairs(pairs, settings.max_length, not tree_fault(describe(card.base_model)))
    log("prefer", f"{len(pairs):,} pairs as {len(packs):,} packs, {card.precision}, quantization {card.quantization}")
    trainer = PreferenceTrainer(model, packs, settings, card.precision, stage.checkpoints)
    seconds = trainer.train_or_resume()
    if not all(torch.isfinite(p).all() for p in model.parameters() if p.requires_grad):
        raise UserError("the weights are no longer numbers: lower the learning rate of preference")

    shutil.copytree(adapter, output, ignore=shutil.ignore_patterns(MANIFEST), dirs_exist_ok=True)
    save_adapter(model, output, save_embedding_layers=False)
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
