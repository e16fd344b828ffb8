"""Train a LoRA adapter on the answers to instructions, on a base model in 4 bits or in its own precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from clinadapt.artifacts.code_version import code_version
from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.artifacts.step_record import log
from clinadapt.config.base import Precision, outcome_settings
from clinadapt.config.instruct import InstructTraining
from clinadapt.models.adapter_card import InstructCard
from clinadapt.models.base_model import describe
from clinadapt.models.causal_lm import load_causal_lm
from clinadapt.models.chat_template import Template, load_tokenizer
from clinadapt.models.devices import device, resolve_precision
from clinadapt.models.stopping import Stopping
from clinadapt.models.tree_check import tree_fault
from clinadapt.registry.pretrained_bases import pretraining_record
from clinadapt.storage.object_store import Store
from components.train.agreement import agreed
from components.train.causal_trainer import CausalTrainer, add_lora, check_precision, check_vocabulary
from components.train.lora import save_new_adapter
from components.train.packing import PackedDataset, pack_examples
from components.train.stage import TOKENIZER, Stage, first_process, read_table


def run(splits: Path, output: Path, settings: InstructTraining, store: Store | None = None) -> dict[str, Any]:
    """Train an adapter and write it to `output`: adapter_model.safetensors, adapter_config.json, the tokenizer,
    clinadapt.json, training.json (loss curve and costs) and the manifest.

    With a store, an interrupted training of the same data, settings and code resumes, to the same bytes on a CPU, and
    the result of a finished one is reused.

    Returns:
        The content of training.json.

    Raises:
        UserError: the base model or a LoRA target does not exist, an example is longer than a pack, the loss is not
            finite, or the checkpoint was written by another number of processes.
        KeyboardInterrupt: a signal stopped the training; the state is saved.
    """
    precision = resolve_precision(settings.precision)
    check_precision(precision)
    base = describe(settings.base_model)
    settings = settings.model_copy(update={"base_model": base.pinned_uri()})
    stage = Stage.of_new_adapter("instruct", splits, output, settings, base, store)
    if training := agreed("result", stage.existing_result):
        return dict(training)

    base_pretraining = pretraining_record(store, base.digest) if store else None
    tables = {side: read_table(splits, f"{side}.parquet") for side in ("train", "validation")}
    fault = tree_fault(base)
    packs = {side: pack_examples(table, settings.max_length, not fault) for side, table in tables.items()}
    if first_process():
        how = f"{precision}, quantization {settings.quantization}, on {device().type}"
        _log_packs(len(tables["train"]), packs["train"], how, fault)
    model = load_causal_lm(settings.base_model, settings.quantization, precision)
    check_vocabulary(model, packs)
    published = model.generation_config
    model = add_lora(model, settings.lora, settings.seed)
    trainer = CausalTrainer(
        model, packs, settings, settings.early_stopping_patience, base=base, checkpoints=stage.checkpoints
    )
    seconds = trainer.train_or_resume()
    trainer.load_best_weights()

    training = trainer.metrics(seconds) | {
        "quantization": settings.quantization,
        "total_parameters": base.parameters(),
        "settings": outcome_settings(settings),
        "code_version": code_version("components.train.instruct"),
        "pretraining": base_pretraining,
    }
    if first_process():
        card = _card(settings, base.digest, precision, tables["train"], splits)
        tokenizer = load_tokenizer(splits / TOKENIZER)
        save_new_adapter(model, tokenizer, card, output, save_embedding_layers=False)  # which are frozen
        stopping = Stopping.of(published, tokenizer, Template(tokenizer).end)
        stopping.generation_config(card.max_new_tokens).save_pretrained(output)
        stage.finish(training)
    return training


def _log_packs(examples: int, packs: PackedDataset, how: str, fault: str) -> None:
    if fault:
        log("train", f"examples are padded, not packed: {fault}")
    tokens = f"{packs.useful_tokens:,} tokens as {len(packs):,} packs of {packs.computed_tokens:,}"
    log("train", f"{examples:,} examples of {tokens}, {how}")


def existing_result(splits: Path, output: Path, settings: InstructTraining, store: Store) -> dict[str, Any] | None:
    """What `run` returned before for the same training, with its output from the store; None where there is none."""
    base = describe(settings.base_model)
    settings = settings.model_copy(update={"base_model": base.pinned_uri()})
    return Stage.of_new_adapter("instruct", splits, output, settings, base, store).existing_result()


def _card(
    settings: InstructTraining, base_digest: str, precision: Precision, train: pa.Table, splits: Path
) -> InstructCard:
    data = read_json(splits / MANIFEST)
    commas = data["synthesis"]["decimal_comma"]  # sources
    of_sources = train.filter(pc.greater_equal(train["source"], 0))  # without canaries
    # What people correct are answers to the tasks of the other sources, under a name of its own
    feedback = [number for number, source in enumerate(data.get("source", [])) if source["kind"] == "feedback"]
    with_tasks = of_sources.filter(pc.invert(pc.is_in(of_sources["source"], pa.array(feedback, pa.int32()))))
    answer_tokens = pc.subtract(pc.list_value_length(train["input_ids"]), train["prompt_tokens"])
    return InstructCard(
        base_model=settings.base_model,
        base_digest=base_digest,
        quantization=settings.quantization,
        precision=precision,
        seed=settings.seed,
        max_length=settings.max_length,
        max_new_tokens=pc.max(answer_tokens).as_py(),
        tasks=sorted(with_tasks["task"].unique().to_pylist()),
        decimal_comma=pc.mean(pc.is_in(of_sources["source"], pa.array(commas, pa.int32()))).as_py() > 0.5,
    )
