"""Train a LoRA adapter on the answers to instructions, on a base model in 4 bits or as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from clinadapt.artifacts.hashing import read_json, write_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.artifacts.step_record import log
from clinadapt.config.base import Precision, decisive
from clinadapt.config.instruct import Instruct
from clinadapt.models.adapter_card import InstructCard
from clinadapt.models.base_model import BaseModel, describe
from clinadapt.models.causal_lm import load_causal
from clinadapt.models.chat_template import load_tokenizer
from clinadapt.models.devices import device, resolve_precision
from clinadapt.registry.pretrained_bases import pretraining_record
from clinadapt.storage.object_store import Store
from components.train.causal_trainer import (
    TOKENIZER,
    CausalTrainer,
    add_lora,
    check_precision,
    check_vocabulary,
    first_process,
    processes,
    read_table,
)
from components.train.checkpoints import Checkpoints, training_inputs
from components.train.lora import save_adapter
from components.train.packing import pack_examples


def run(splits: Path, output: Path, settings: Instruct, store: Store | None = None) -> dict[str, Any]:
    """Train and write adapter_model.safetensors, adapter_config.json, the tokenizer, clinadapt.json, training.json
    (loss curves and costs) and the manifest; return training.json's content.

    With a store, the state of training is kept there, and an interrupted training of the same data, settings and code
    goes on where it stopped, to the same bytes on a CPU. One that is done is not done again: its result is kept too.

    Raises:
        UserError: the base model or a LoRA target cannot be found, an example is longer than a pack, the loss is no
            longer a number, or the checkpoint found is of a training by another number of processes.
        KeyboardInterrupt: a signal asked to stop; the state is saved.
    """
    precision = resolve_precision(settings.precision)
    check_precision(precision)
    base = describe(settings.base_model)
    settings = settings.model_copy(update={"base_model": base.pinned_uri()})
    checkpoints = _checkpoints(splits, settings, base, store) if store else None
    if checkpoints and processes() == 1 and (done := checkpoints.result(output)):
        _seal(splits, output, base)
        return done
    before = pretraining_record(store, base.digest) if store else None
    tables = {side: read_table(splits, f"{side}.parquet") for side in ("train", "validation")}
    packs = {side: pack_examples(table, settings.max_length) for side, table in tables.items()}
    if first_process():
        train = packs["train"]
        log(
            "train",
            f"{len(tables['train']):,} examples of {train.useful_tokens:,} tokens as {len(train):,} packs of "
            f"{train.computed_tokens:,}, {precision}, quantisation {settings.quantization}, on {device().type}",
        )
    model = load_causal(settings.base_model, settings.quantization, precision)
    check_vocabulary(model, packs)
    model = add_lora(model, settings.lora, settings.seed)
    trainer = CausalTrainer(
        "train", model, packs, settings, precision, settings.early_stopping_patience, output, checkpoints, base
    )
    seconds = trainer.train_or_resume()
    trainer.use_best()
    facts = trainer.facts(seconds, precision) | {
        "quantization": settings.quantization,
        "total_parameters": base.parameters(),
        "settings": decisive(settings),
        "pretraining": before,
    }
    if first_process():
        card = _card(settings, base.digest, precision, tables["train"])
        _write(output, model, load_tokenizer(splits / TOKENIZER), card, facts)
        _seal(splits, output, base)
        if checkpoints:
            checkpoints.finish(output)
    return facts


def trained(splits: Path, output: Path, settings: Instruct, store: Store) -> dict[str, Any] | None:
    """What `run` has come to before, from the store; None where it has not been. For whoever starts several processes:
    these do not look for themselves."""
    base = describe(settings.base_model)
    if done := _checkpoints(splits, settings, base, store).result(output):
        _seal(splits, output, base)
    return done


def _seal(splits: Path, output: Path, base: BaseModel) -> None:
    """Write the manifest: what came of these very splits."""
    data = read_json(splits / MANIFEST)
    digests = {"splits": data["digest"], "base_model": base.digest}
    write_manifest(output, {"splits_digest": data["digest"], "base_digest": base.digest}, "train", digests, [data])


def _checkpoints(splits: Path, settings: Instruct, base: BaseModel, store: Store) -> Checkpoints:
    settings = settings.model_copy(update={"base_model": base.pinned_uri()})
    data = read_json(splits / MANIFEST)["digest"]
    decided = training_inputs("instruct", data, base.digest, settings, resolve_precision(settings.precision))
    return Checkpoints(store, decided, processes())


def _card(settings: Instruct, base_digest: str, precision: Precision, train: pa.Table) -> InstructCard:
    answers = pc.subtract(pc.list_value_length(train["input_ids"]), train["prompt_tokens"])
    return InstructCard(
        base_model=settings.base_model,
        base_digest=base_digest,
        quantization=settings.quantization,
        precision=precision,
        seed=settings.seed,
        max_length=settings.max_length,
        max_new_tokens=pc.max(answers).as_py(),
        tasks=sorted(train["task"].unique().to_pylist()),
    )


def _write(output: Path, model: Any, tokenizer: Any, card: InstructCard, facts: dict[str, Any]) -> None:
    output.mkdir(parents=True, exist_ok=True)
    model.peft_config["default"].base_model_name_or_path = card.base_model  # not the folder it was loaded from
    save_adapter(model, output, save_embedding_layers=False)  # they are frozen
    tokenizer.save_pretrained(output)
    card.write(output)
    write_json(output / "training.json", facts)
