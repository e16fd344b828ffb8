"""Next-token training on notes: a base model adapted to the domain, or a small Llama from nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import torch
from peft import PeftModel
from transformers import AutoConfig, LlamaConfig, LlamaForCausalLM

from clinadapt.artifacts.hashing import read_json, write_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.artifacts.sealed_folder import SealedFolder
from clinadapt.artifacts.step_record import log
from clinadapt.config.base import decisive
from clinadapt.config.instruct import BUILTIN_LLAMA, Llama, Pretrain
from clinadapt.errors import UserError
from clinadapt.models.base_model import BaseModel, describe, fetch
from clinadapt.models.causal_lm import load_causal
from clinadapt.models.chat_template import load_tokenizer
from clinadapt.models.devices import device, resolve_precision
from clinadapt.models.merging import merge_causal
from clinadapt.registry.pretrained_bases import PRETRAINING_FIELDS, base_inputs, base_prefix
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
from components.train.packing import pack_documents


def run(splits: Path, output: Path, settings: Pretrain, base_model: str, store: Store) -> dict[str, Any]:
    """Train on the notes of the side `train`; put the base model that comes of it, a Hugging Face folder in
    safetensors, into the store at `bases/<digest>/` (manifest last). Write training.json (loss curves, costs, uri and
    digest) and the manifest to `output`; return training.json's content.

    An interrupted training goes on where it stopped, from its state in the store; one that is done is not done again.

    Raises:
        UserError: the base model or a LoRA target cannot be found, there are no notes, the loss is no longer a number,
            or the checkpoint found is of a training by another number of processes.
        KeyboardInterrupt: a signal asked to stop; the state is saved.
    """
    precision = resolve_precision(settings.precision)
    check_precision(precision)
    base = None if base_model == BUILTIN_LLAMA else describe(base_model)
    checkpoints = _checkpoints(splits, settings, base, store)
    if processes() == 1 and (done := _result(checkpoints, output, store)):
        return done
    tokenizer = load_tokenizer(splits / TOKENIZER)
    if base is None:
        settings = settings.model_copy(update={"method": "full"})
        source, model = BUILTIN_LLAMA, _new_llama(settings.llama, tokenizer, settings)
    else:
        base_model, source = base.pinned_uri(), base.digest
        model = _existing(base_model, settings, precision)
    corpus = read_table(splits, "corpus.parquet")
    packs = {
        side: pack_documents(
            corpus.filter(pc.equal(corpus["side"], side))["input_ids"], settings.max_length, settings.seed
        )
        for side in ("train", "validation")
    }
    check_vocabulary(model, packs)
    if first_process():
        log(
            "pretrain",
            f"{packs['train'].computed_tokens:,} tokens in {len(packs['train']):,} packs, "
            f"{sum(p.numel() for p in model.parameters() if p.requires_grad):,} parameters trained, {precision}, "
            f"on {device().type}",
        )
    trainer = CausalTrainer(
        "pretrain", model, packs, settings, precision, settings.num_train_epochs, output, checkpoints, base
    )
    seconds = trainer.train_or_resume()
    trainer.use_best()
    data = read_json(splits / MANIFEST)
    made_from = base_inputs(source, data["digest"], decisive(settings) | {"base_model": base_model})
    facts = trainer.facts(seconds, precision) | {
        "quantization": settings.quantization,
        "settings": made_from["settings"],
    }
    if first_process():
        told = made_from | {"pretraining": {name: facts[name] for name in PRETRAINING_FIELDS}}
        digest = _publish(model, tokenizer, base_model, store, told, data)
        facts |= {"uri": f"{store.uri}/{base_prefix(digest)}", "digest": digest}
        output.mkdir(parents=True, exist_ok=True)
        write_json(output / "training.json", facts)
        write_manifest(output, {"splits_digest": data["digest"], "base_digest": source})
        checkpoints.finish(output)
    return facts


def trained(splits: Path, output: Path, settings: Pretrain, base_model: str, store: Store) -> dict[str, Any] | None:
    """What `run` has come to before, from the store; None where it has not been. For whoever starts several processes:
    these do not look for themselves."""
    base = None if base_model == BUILTIN_LLAMA else describe(base_model)
    return _result(_checkpoints(splits, settings, base, store), output, store)


def _checkpoints(splits: Path, settings: Pretrain, base: BaseModel | None, store: Store) -> Checkpoints:
    source = base.digest if base else BUILTIN_LLAMA
    data = read_json(splits / MANIFEST)["digest"]
    decided = training_inputs("pretrain", data, source, settings, resolve_precision(settings.precision))
    return Checkpoints(store, decided | {"base_model": base.pinned_uri() if base else source}, processes())


def _result(checkpoints: Checkpoints, output: Path, store: Store) -> dict[str, Any] | None:
    """The cached output, where its base model is still in the store, with that model's present URI."""
    record = checkpoints.result(output, lambda record: SealedFolder(store, base_prefix(record["digest"])).exists())
    if record:
        record["uri"] = f"{store.uri}/{base_prefix(record['digest'])}"
        write_json(output / "training.json", record)
        manifest = read_json(output / MANIFEST)
        write_manifest(output, {name: manifest[name] for name in ("splits_digest", "base_digest")})
    return record


def _new_llama(shape: Llama, tokenizer: Any, settings: Pretrain) -> Any:
    """A Llama with random weights for a tokenizer. Raises UserError when its shape is none."""
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
        raise UserError(f"the section llama is no Llama: {str(error).splitlines()[0]}") from error


def _existing(base_model: str, settings: Pretrain, precision: Any) -> Any:
    if settings.method == "full":
        if settings.quantization != "none":
            raise UserError("a model in 4 bits cannot be trained in full: set method to lora, or quantization to none")
        return load_causal(base_model, "none", precision).requires_grad_(True)
    return add_lora(load_causal(base_model, settings.quantization, precision), settings.lora, settings.seed)


def _save(model: Any, base_model: str, folder: Path) -> None:
    """Save a base model as safetensors, in the precision that it came in; an adapter is merged into it first."""
    if isinstance(model, PeftModel):
        with tempfile.TemporaryDirectory(prefix="clinadapt-merge-") as name:
            model.save_pretrained(name, save_embedding_layers=False)
            model = merge_causal(base_model, Path(name))
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
