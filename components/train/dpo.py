"""Preference pairs after instruction tuning: DPO (Rafailov et al. 2023, arXiv:2305.18290) by trl's DPOTrainer."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import PrinterCallback
from trl.trainer import DPOConfig, DPOTrainer

from clinadapt.artifacts.hashing import read_json, write_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.artifacts.step_record import log
from clinadapt.config.base import decisive
from clinadapt.config.instruct import Preference
from clinadapt.errors import UserError
from clinadapt.models.adapter_card import InstructCard
from clinadapt.models.causal_lm import load_causal
from clinadapt.models.chat_template import load_tokenizer
from clinadapt.storage.object_store import Store
from components.train.causal_trainer import gradient_checkpointing, processes, read_table
from components.train.checkpoints import Checkpoints, training_inputs
from components.train.lora import save_adapter, train_in_fp32
from components.train.progress import Progress
from components.train.resumable_trainer import ResumableTrainer
from components.train.training_arguments import arguments, optimiser

COLUMNS = ["prompt_ids", "chosen_ids", "rejected_ids"]


def run(splits: Path, adapter: Path, output: Path, settings: Preference, store: Store | None = None) -> dict[str, Any]:
    """Train an adapter on from preferences.parquet; write the same files as instruct, with what became of the
    preferences under `preference` in training.json; return its content.

    The adapter as it came is the reference. With a store, an interrupted training goes on where it stopped, as that of
    instruct does.

    Args:
        splits: the folder that format wrote.
        adapter: the folder that instruct wrote.
        output: where the new one goes.
        settings: how it is trained; a batch is `per_device_train_batch_size` pairs.

    Raises:
        UserError: there are no pairs, the base model is another one now, or the loss is no longer a number.
        KeyboardInterrupt: a signal asked to stop; the state is saved.
    """
    card = InstructCard.read(adapter)
    card.check_base()
    before, data = read_json(adapter / MANIFEST), read_json(splits / MANIFEST)["digest"]
    decided = training_inputs("prefer", data, before["digest"], settings, card.precision)
    checkpoints = Checkpoints(store, decided, processes()) if store else None
    inputs = {"splits": data, "adapter": before["digest"], "base_model": before["base_digest"]}
    digests = {name: before[name] for name in ("splits_digest", "base_digest")}
    sealed = partial(write_manifest, output, digests, "prefer", inputs, [before])
    if checkpoints and (done := checkpoints.result(output)):
        sealed()  # it came of this very adapter
        return done
    rows = read_table(splits, "preferences.parquet").select(COLUMNS)
    if not len(rows):
        raise UserError("there is no preference pair to train on: look at what format dropped, and why")
    base = load_causal(card.base_model, card.quantization, card.precision)
    model = PeftModel.from_pretrained(base, adapter, is_trainable=True)
    trainer = _Trainer(
        checkpoints,
        settings.checkpoint_minutes,
        step="prefer",
        model=model,
        args=DPOConfig(
            **arguments(settings, card.precision, output),
            beta=settings.beta,
            max_length=settings.max_length,
            optim=optimiser(),
            gradient_checkpointing=gradient_checkpointing(settings, None),
        ),
        train_dataset=Dataset.from_dict(rows.to_pydict()),
        processing_class=load_tokenizer(adapter),
        callbacks=[Progress("prefer")],
    )
    trainer.remove_callback(PrinterCallback)
    train_in_fp32(model)  # trl has made those of a quantised model bf16, which a scaler of fp16 refuses
    log("prefer", f"{len(rows):,} pairs, {card.precision}, quantisation {card.quantization}")
    seconds = trainer.train_or_resume()
    curve = [
        {"step": e["step"], "loss": e["loss"], "accuracy": e["rewards/accuracies"], "margin": e["rewards/margins"]}
        for e in trainer.state.log_history
        if "loss" in e
    ]
    if not all(torch.isfinite(p).all() for p in model.parameters() if p.requires_grad):
        raise UserError("the weights are no longer numbers: lower the learning rate of preference")
    preference = {"pairs": len(rows), "curve": curve, "seconds": seconds}

    shutil.copytree(adapter, output, ignore=shutil.ignore_patterns(MANIFEST), dirs_exist_ok=True)
    save_adapter(model, output, selected_adapters=["default"], save_embedding_layers=False)
    facts = read_json(adapter / "training.json") | {"preference": preference, "processes": processes()}
    facts["settings"] |= {"preference": decisive(settings)}
    write_json(output / "training.json", facts)
    sealed()
    if checkpoints:
        checkpoints.finish(output)
    return facts


class _Trainer(ResumableTrainer, DPOTrainer):
    """For pairs that are tokens already. The reference is made anew of the adapter as it came."""

    def _prepare_dataset(self, dataset: Dataset, *args: Any) -> Dataset:
        return dataset
