"""Next-token training on notes: a base model adapted to the domain, or a small Llama from scratch."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import torch
from peft import PeftModel
from transformers import AutoConfig, LlamaConfig, LlamaForCausalLM

from clinadapt.artifacts.code_version import code_version
from clinadapt.artifacts.hashing import read_json, write_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.artifacts.sealed_folder import SealedFolder
from clinadapt.artifacts.step_record import log
from clinadapt.config.base import Precision, outcome_settings
from clinadapt.config.instruct import BUILTIN_LLAMA, Llama, Pretraining
from clinadapt.errors import UserError
from clinadapt.models.base_model import BaseModel, describe, fetch
from clinadapt.models.causal_lm import load_causal_lm
from clinadapt.models.chat_template import load_tokenizer
from clinadapt.models.devices import device, resolve_precision
from clinadapt.models.merging import merge_causal_lm
from clinadapt.models.tree_check import tree_fault
from clinadapt.registry.pretrained_bases import PRETRAINING_FIELDS, base_inputs, base_prefix
from clinadapt.storage.object_store import Store
from components.train.agreement import agreed
from components.train.causal_trainer import CausalTrainer, add_lora, check_precision, check_vocabulary
from components.train.checkpoints import Checkpoints, training_inputs
from components.train.packing import PackedDataset, pack_documents
from components.train.stage import TOKENIZER, Stage, first_process, processes, read_table


def run(splits: Path, output: Path, settings: Pretraining, base_model: str, store: Store) -> dict[str, Any]:
    """Train a base model on the notes of the side `train`. It goes to the store at `bases/<digest>/`, a Hugging Face
    folder in safetensors; training.json (loss curve, costs, URI and digest) and a manifest go to `output`.

    An interrupted training resumes from its state in the store, and the result of a finished one is reused.

    Returns:
        The content of training.json.

    Raises:
        UserError: the base model or a LoRA target does not exist, there are no notes, the loss is not finite, or the
            checkpoint was written by another number of processes.
        KeyboardInterrupt: a signal stopped the training; the state is saved.
    """
    precision = resolve_precision(settings.precision)
    check_precision(precision)
    base = _describe(base_model)
    checkpoints = _checkpoints(splits, settings, base, store)
    if training := agreed("result", lambda: _result(checkpoints, output, store)):
        return dict(training)

    tokenizer = load_tokenizer(splits / TOKENIZER)
    if base is None:
        settings = settings.model_copy(update={"method": "full"})
        source, model = BUILTIN_LLAMA, _new_llama(settings.llama, tokenizer, settings)
    else:
        base_model, source = base.pinned_uri(), base.digest
        model = _load_base(base_model, settings, precision)
    fault = tree_fault(base) if base else ""
    packs = _pack_corpus(splits, settings, tree=not fault)
    check_vocabulary(model, packs)
    if first_process():
        if fault:
            log("pretrain", f"notes are padded, not packed: {fault}")
        log(
            "pretrain",
            f"{packs['train'].computed_tokens:,} tokens in {len(packs['train']):,} packs, "
            f"{sum(p.numel() for p in model.parameters() if p.requires_grad):,} parameters trained, {precision}, "
            f"on {device().type}",
        )
    trainer = CausalTrainer(model, packs, settings, step="pretrain", base=base, checkpoints=checkpoints)
    seconds = trainer.train_or_resume()
    trainer.load_best_weights()

    data = read_json(splits / MANIFEST)
    made_from = base_inputs(
        source,
        data["digest"],
        outcome_settings(settings) | {"base_model": base_model},
        code_version("components.train.pretrain"),
    )
    training = trainer.metrics(seconds) | {"quantization": settings.quantization, "settings": made_from["settings"]}
    if first_process():
        provenance = made_from | {"pretraining": {name: training[name] for name in PRETRAINING_FIELDS}}
        digest = _publish(model, tokenizer, base_model, store, provenance, data)
        training |= {"uri": f"{store.uri}/{base_prefix(digest)}", "digest": digest}
        Stage(output, data["digest"], source, checkpoints).finish(training)
    return training


def existing_result(
    splits: Path, output: Path, settings: Pretraining, base_model: str, store: Store
) -> dict[str, Any] | None:
    """What `run` returned before for the same training, with its output from the store; None where there is none."""
    return _result(_checkpoints(splits, settings, _describe(base_model), store), output, store)


def _describe(base_model: str) -> BaseModel | None:
    return None if base_model == BUILTIN_LLAMA else describe(base_model)


def _checkpoints(splits: Path, settings: Pretraining, base: BaseModel | None, store: Store) -> Checkpoints:
    source = base.digest if base else BUILTIN_LLAMA
    data = read_json(splits / MANIFEST)["digest"]
    determining_inputs = training_inputs("pretrain", data, source, settings, resolve_precision(settings.precision))
    return Checkpoints(store, determining_inputs | {"base_model": base.pinned_uri() if base else source}, processes())


def _pack_corpus(splits: Path, settings: Pretraining, tree: bool) -> dict[str, PackedDataset]:
    """Packs of the notes of each side."""
    corpus = read_table(splits, "corpus.parquet")
    return {
        side: pack_documents(
            corpus.filter(pc.equal(corpus["side"], side))["input_ids"], settings.max_length, settings.seed, tree
        )
        for side in ("train", "validation")
    }


def _result(checkpoints: Checkpoints, output: Path, store: Store) -> dict[str, Any] | None:
    """The cached output, where its base model is still in the store, with that model's present URI."""
    record = checkpoints.result(output, lambda record: SealedFolder(store, base_prefix(record["digest"])).exists())
    if record:
        record["uri"] = f"{store.uri}/{base_prefix(record['digest'])}"
        write_json(output / "training.json", record)
        manifest = read_json(output / MANIFEST)
        write_manifest(output, {name: manifest[name] for name in ("splits_digest", "base_digest")})
    return record


def _new_llama(shape: Llama, tokenizer: Any, settings: Pretraining) -> Any:
    """A Llama with random weights and the vocabulary of a tokenizer. Raises UserError where its shape is invalid."""
    torch.manual_seed(settings.seed)
    try:
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            **shape.model_dump(exclude={"vocab_size"}),
            max_position_embeddings=max(2048, settings.max_length),
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            attn_implementation="sdpa",
        )
        return LlamaForCausalLM(config).to(device())
    except ValueError as error:
        raise UserError(f"the settings in pretrain.llama are no valid Llama: {str(error).splitlines()[0]}") from error


def _load_base(base_model: str, settings: Pretraining, precision: Precision) -> Any:
    """An existing base model, with all of its weights trainable or with a new adapter."""
    if settings.method == "full":
        if settings.quantization != "none":
            raise UserError("a 4-bit model cannot be trained in full: set method to lora, or quantization to none")
        return load_causal_lm(base_model, "none", precision).requires_grad_(True)
    return add_lora(load_causal_lm(base_model, settings.quantization, precision), settings.lora, settings.seed)


def _save(model: Any, base_model: str, folder: Path) -> None:
    """Save a base model as safetensors, in its original precision; an adapter is merged into it first."""
    if isinstance(model, PeftModel):
        with tempfile.TemporaryDirectory(prefix="clinadapt-merge-") as name:
            model.save_pretrained(name, save_embedding_layers=False)
            model = merge_causal_lm(base_model, Path(name))
    elif base_model != BUILTIN_LLAMA:
        model.to(AutoConfig.from_pretrained(fetch(base_model), trust_remote_code=False).dtype or torch.float32)
    model.save_pretrained(folder)


def _publish(
    model: Any, tokenizer: Any, base_model: str, store: Store, fields: dict[str, Any], splits: dict[str, Any]
) -> str:
    """Put a base model into the store by its content; return its digest, as `base_model.describe` computes it.

    Args:
        model, tokenizer: what to save.
        base_model: the base model that the training started from.
        store: to publish in.
        fields: of the manifest: `base_inputs` and the pretraining record.
        splits: manifest of the splits.
    """
    with tempfile.TemporaryDirectory(prefix="clinadapt-base-") as name:
        folder = Path(name)
        _save(model, base_model, folder)
        tokenizer.save_pretrained(folder)
        inputs = {"splits": splits["digest"], "base_model": fields["source"]}
        digest = str(write_manifest(folder, fields, "pretrain", inputs, [splits])["digest"])
        base = SealedFolder(store, base_prefix(digest))
        if not base.exists():
            base.publish(folder, if_absent=True)
    return digest
