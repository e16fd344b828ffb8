"""The instruct and pretrain stages on tiny models, and that batching, recomputation and interruption change nothing."""

from __future__ import annotations

import math
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from support import incomplete, train_in_process
from transformers import AutoModelForCausalLM, AutoTokenizer

from clinadapt.artifacts.code_version import adapter_version
from clinadapt.artifacts.hashing import read_json, write_json
from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.config.base import Lora
from clinadapt.config.instruct import BUILTIN_LLAMA, InstructTraining, Llama, Pretraining
from clinadapt.errors import UserError
from clinadapt.models.adapter_card import InstructCard
from clinadapt.models.base_model import describe, fetch
from clinadapt.models.causal_lm import load_causal_lm
from clinadapt.models.causal_loss import Loss
from clinadapt.models.prefix_tree import collate
from clinadapt.storage import open_store
from clinadapt.storage.folder_store import FolderStore
from components.train import instruct, pretrain
from components.train.causal_trainer import CausalTrainer, add_lora
from components.train.packing import pack_examples

SMALL: dict[str, Any] = {
    "max_length": 320,
    "num_train_epochs": 2,
    "learning_rate": 5e-3,
    "precision": "fp32",
    "lora": Lora(r=4),
}
TINY = Llama(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2)


def settings(base: Path, **changes: Any) -> InstructTraining:
    return InstructTraining(base_model=base.as_uri(), **{**SMALL, **changes})


def adapter_bytes(folder: Path) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, instruct_splits: Path, tiny_llama: Path) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    instruct.run(instruct_splits, folder, settings(tiny_llama))
    return folder


def test_the_output_is_a_complete_adapter(trained: Path, instruct_splits: Path, tiny_llama: Path) -> None:
    files = {path.name for path in trained.iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "clinadapt.json", "training.json",
            MANIFEST} <= files  # fmt: skip
    card = InstructCard.read(trained)
    assert card.base_digest == describe(tiny_llama.as_uri()).digest == read_json(trained / MANIFEST)["base_digest"]
    assert card.tasks == ["List the drugs.", "Summarise the note.", "What was done?"]
    rows = pq.read_table(instruct_splits / "train.parquet").to_pylist()
    assert card.max_new_tokens == max(len(row["input_ids"]) - row["prompt_tokens"] for row in rows)
    assert AutoTokenizer.from_pretrained(trained).chat_template
    assert len(adapter_version(instruct_splits, trained)) == 16
    result = read_json(trained / "training.json")
    losses = [entry["validation_loss"] for entry in result["curve"] if "validation_loss" in entry]
    assert len(losses) == 2 and losses[1] < losses[0] < math.log(600)
    assert result["useful_tokens"] == sum(len(row["input_ids"]) for row in rows)
    assert result["tokens_per_second"] > 1.1 * result["computed_tokens_per_second"] > 0


@pytest.mark.parametrize(
    ("number", "task", "times"), [(-1, "Question Answering", 2), (1, "Other", 1)], ids=["canaries", "corrections"]
)
def test_what_is_added_to_the_sources_does_not_tell_the_tasks_of_an_adapter(
    number: int, task: str, times: int, instruct_splits: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    """Canaries, which outnumber the examples of a small source and have decimal points, and corrections, under the
    task of their source: with the first correction, the tasks are those that the change control plan is about."""
    train = pq.read_table(instruct_splits / "train.parquet")
    added = train
    for name, value in (("source", pa.scalar(number, pa.int32())), ("task", pa.scalar(task))):
        added = added.set_column(added.schema.get_field_index(name), name, pa.repeat(value, train.num_rows))
    tables = [train, *[added.cast(train.schema)] * times]
    sources = [{"kind": "cases", "uri": "builtin://cases"}, {"kind": "feedback", "uri": "s3://b/flagged/"}]
    write_json(tmp_path / MANIFEST, {"source": sources, "synthesis": {"decimal_comma": [0, 1]}})
    card = instruct._card(settings(tiny_llama), "d", "fp32", pa.concat_tables(tables), tmp_path)
    assert card.decimal_comma and task not in card.tasks and card.tasks == sorted(set(train["task"].to_pylist()))


def test_the_adapter_has_the_validation_loss_in_training_json(
    trained: Path, instruct_splits: Path, tiny_llama: Path
) -> None:
    """Loaded afresh on the 4-bit base, example by example, by transformers' own loss."""
    model = PeftModel.from_pretrained(load_causal_lm(tiny_llama.as_uri(), "nf4", "fp32"), trained).eval()
    total = predicted = 0.0
    for row in pq.read_table(instruct_splits / "validation.parquet").to_pylist():
        ids = torch.tensor(row["input_ids"])[None]
        labels = ids.clone()
        labels[0, : row["prompt_tokens"]] = -100
        count = int((labels != -100).sum())
        with torch.no_grad():
            total += model(input_ids=ids, labels=labels).loss.item() * count
        predicted += count
    result = read_json(trained / "training.json")
    recorded = min(entry["validation_loss"] for entry in result["curve"] if "validation_loss" in entry)
    assert total / predicted == pytest.approx(recorded, rel=1e-4)


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(
    trained: Path, instruct_splits: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    instruct.run(instruct_splits, tmp_path / "again", settings(tiny_llama))
    instruct.run(instruct_splits, tmp_path / "other", settings(tiny_llama, seed=1))
    assert adapter_bytes(tmp_path / "again") == adapter_bytes(trained) != adapter_bytes(tmp_path / "other")


def first_step(splits: Path, base: Path, folder: Path, batch_size: int, accumulation: int) -> dict[str, torch.Tensor]:
    """The gradients that the optimizer's first step sees."""
    seen: dict[str, torch.Tensor] = {}
    one = settings(
        base, quantization="none", per_device_train_batch_size=batch_size, gradient_accumulation_steps=accumulation
    )
    model = add_lora(load_causal_lm(base.as_uri(), "none", "fp32"), one.lora, 0)
    packs = {side: pack_examples(pq.read_table(splits / f"{side}.parquet"), 320) for side in ("train", "validation")}
    trainer = CausalTrainer(model, packs, one)
    trainer.args.max_steps = 1
    trainer.create_optimizer()
    trainer.optimizer.register_step_pre_hook(
        lambda *_: seen.update({name: p.grad.clone() for name, p in trainer._trained_parameters()})
    )
    trainer.train()
    return seen


def test_gradient_accumulation_equals_the_large_batch(instruct_splits: Path, tiny_llama: Path, tmp_path: Path) -> None:
    """Four packs with different numbers of answer tokens: four steps of one, and one of four."""
    together = first_step(instruct_splits, tiny_llama, tmp_path, 4, 1)
    apart = first_step(instruct_splits, tiny_llama, tmp_path, 1, 4)
    assert together.keys() == apart.keys() and together
    for name, gradient in together.items():
        assert (apart[name] - gradient).norm() <= 1e-5 * gradient.norm(), name


def test_a_dropout_of_the_adapter_resumes_to_the_same_bytes_after_sigkill_and_sigterm(
    instruct_splits: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    import multiprocessing

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["components.train.instruct", "support"])
    one = settings(
        tiny_llama,
        num_train_epochs=6,
        early_stopping_patience=6,
        lora=Lora(r=4, lora_dropout=0.1),
        checkpoint_minutes=1e-6,
    )
    store, log = FolderStore((tmp_path / "store").as_uri()), tmp_path / "log.txt"
    arguments = (instruct_splits, tmp_path / "adapter", one, store.uri, log)
    for number, status in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 75), (None, 0)):
        before = set(store.list("checkpoints/"))
        process = context.Process(target=train_in_process, args=arguments)
        process.start()
        if number:
            while not {key for key in store.list("checkpoints/") if key.endswith(MANIFEST)} - before:
                assert process.is_alive()
                time.sleep(0.01)
            os.kill(process.pid, number)
        process.join(120)
        assert process.exitcode == status
        assert incomplete(store) == []
    assert log.read_text().count("resuming at step") == 2
    instruct.run(instruct_splits, tmp_path / "undisturbed", one)
    assert adapter_bytes(tmp_path / "adapter") == adapter_bytes(tmp_path / "undisturbed")
    assert store.list("checkpoints/") == []


def test_early_stopping_restores_the_best_weights(instruct_splits: Path, tiny_llama: Path, tmp_path: Path) -> None:
    result = instruct.run(
        instruct_splits,
        tmp_path,
        settings(tiny_llama, num_train_epochs=30, learning_rate=0.1, early_stopping_patience=2),
    )
    losses = [entry["validation_loss"] for entry in result["curve"] if "validation_loss" in entry]
    assert result["stopped_early"] and len(losses) == losses.index(min(losses)) + 3 < 30


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_fp16_trains_in_fp32_and_knows_no_bf16(
    instruct_splits: Path, tiny_llama: Path, quantization: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A base in fp16, as a T4 has it, under autocast and a scaler of the loss: on a CPU, which can do it slowly."""
    monkeypatch.setattr("clinadapt.models.causal_lm.base_dtype", lambda precision: torch.float16)
    model = add_lora(load_causal_lm(tiny_llama.as_uri(), quantization, "fp16"), Lora(r=4), 0)
    packs = pack_examples(pq.read_table(instruct_splits / "train.parquet"), 320)
    CausalTrainer(model, {"train": packs, "validation": packs}, settings(tiny_llama))
    seen = {p.dtype for p in model.parameters()} | {b.dtype for b in model.buffers()}

    def note(module: Any, given: Any, result: Any) -> None:
        seen.update(t.dtype for t in (*given, result) if torch.is_tensor(t))

    for module in model.modules():
        module.register_forward_hook(note)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer, scaler = torch.optim.AdamW(trained, lr=1e-2), torch.amp.GradScaler("cpu")
    losses = []
    for _ in range(8):
        with torch.autocast("cpu", torch.float16):
            batch = collate([packs[0]])
            loss = Loss(model)(**batch).mean()
        scaler.scale(loss).backward()
        assert {p.grad.dtype for p in trained} == {p.dtype for p in trained} == {torch.float32}
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert torch.float16 in seen and torch.bfloat16 not in seen


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_fp16_on_a_gpu(instruct_splits: Path, tiny_llama: Path, tmp_path: Path) -> None:
    result = instruct.run(instruct_splits, tmp_path, settings(tiny_llama, precision="fp16"))
    losses = [entry["validation_loss"] for entry in result["curve"] if "validation_loss" in entry]
    assert losses[-1] < losses[0]
    assert {tensor.dtype for tensor in load_file(tmp_path / "adapter_model.safetensors").values()} == {torch.float32}


def test_recomputed_activations_give_the_same_adapter(
    trained: Path, instruct_splits: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    result = instruct.run(instruct_splits, tmp_path, settings(tiny_llama, gradient_checkpointing="always"))
    assert result["pretraining"] is None
    assert adapter_bytes(tmp_path) == adapter_bytes(trained)
    assert result["curve"] == read_json(trained / "training.json")["curve"]


def test_pretraining_from_scratch_puts_a_base_model_into_the_store(instruct_splits: Path, tmp_path: Path) -> None:
    store = open_store((tmp_path / "store").as_uri())
    stage = Pretraining(max_length=256, num_train_epochs=3, learning_rate=5e-3, precision="fp32", llama=TINY)
    result = pretrain.run(instruct_splits, tmp_path / "curve", stage, BUILTIN_LLAMA, store)
    assert result["uri"] == f"{store.uri}/bases/{result['digest'][7:23]}"
    assert describe(result["uri"]).digest == result["digest"]
    assert {path.name for path in (tmp_path / "curve").iterdir()} == {"training.json", MANIFEST}
    losses = [entry["validation_loss"] for entry in result["curve"] if "validation_loss" in entry]
    assert losses[-1] < losses[0] < math.log(600)
    assert {key.split("/")[0] for key in store.list()} == {"bases", "trained"}
    folder = fetch(result["uri"])
    model = AutoModelForCausalLM.from_pretrained(folder)
    column = pq.read_table(instruct_splits / "corpus.parquet").to_pylist()
    validation = [torch.tensor(row["input_ids"])[None, :256] for row in column if row["side"] == "validation"]
    with torch.no_grad():
        assert sum(model(input_ids=ids, labels=ids).loss.item() for ids in validation) / len(validation) < losses[0]
    adapted = instruct.run(
        instruct_splits, tmp_path / "adapter", settings(fetch(result["uri"]), num_train_epochs=1), store
    )
    shown = ("curve", "best_step", "seconds", "useful_tokens", "trainable_parameters")
    assert adapted["pretraining"] == {name: result[name] for name in shown}
    assert pretrain.run(instruct_splits, tmp_path / "taken", stage, BUILTIN_LLAMA, store) == result
    moved = open_store(Path(shutil.copytree(tmp_path / "store", tmp_path / "moved")).as_uri())
    assert pretrain.run(instruct_splits, tmp_path / "there", stage, BUILTIN_LLAMA, moved)["uri"].startswith(moved.uri)
    for key in store.list("bases/"):
        store.delete(key)
    again = pretrain.run(instruct_splits, tmp_path / "again", stage, BUILTIN_LLAMA, store)
    assert again["digest"] == result["digest"] and describe(result["uri"]).digest == result["digest"]


@pytest.mark.parametrize(
    ("changes", "name"),
    [({"method": "lora", "quantization": "nf4"}, "tiny_phi"), ({"method": "full"}, "tiny_llama")],
)
def test_pretraining_an_existing_base(
    instruct_splits: Path, tmp_path: Path, request: pytest.FixtureRequest, changes: dict[str, Any], name: str
) -> None:
    """In 16 bits on disk before, in 16 bits after; the adapter is merged into those, not into four bits."""
    source, base = request.getfixturevalue(name), tmp_path / "base"
    shutil.copytree(source, base)
    AutoModelForCausalLM.from_pretrained(source, dtype=torch.float16).save_pretrained(base)
    store = open_store((tmp_path / "store").as_uri())
    stage = Pretraining(max_length=256, num_train_epochs=2, learning_rate=5e-3, precision="fp32", **changes)
    result = pretrain.run(instruct_splits, tmp_path / "curve", stage, base.as_uri(), store)
    before = load_file(base / "model.safetensors")
    after = load_file(fetch(result["uri"]) / "model.safetensors")
    assert before.keys() == after.keys()
    assert {tensor.dtype for tensor in after.values()} == {torch.float16}
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    projections = {key for key in before if before[key].ndim == 2 and "layers" in key}
    assert changed == projections if changes["method"] == "lora" else projections <= changed
    assert result["curve"][-1]["validation_loss"] < result["curve"][0]["loss"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lora": Lora(target_modules=["Wqkv"])}, "LoRA target 'Wqkv' matches no module"),
        ({"learning_rate": 1e30}, "no longer a number: lower the learning rate"),
        ({"precision": "fp16"}, "training in fp16 needs a GPU"),
        ({"max_length": 64}, "an example has 256 tokens and a pack holds 64"),
    ],
)
def test_what_cannot_be_trained_is_a_user_error_without_output(
    instruct_splits: Path, tiny_llama: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    if "precision" in changes and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UserError, match=message):
        instruct.run(instruct_splits, tmp_path / "adapter", settings(tiny_llama, **changes))
    assert not (tmp_path / "adapter" / MANIFEST).exists()


def test_a_tokenizer_of_another_base_is_refused(instruct_splits: Path, tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
                         num_attention_heads=2)  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(tmp_path / "base")
    with pytest.raises(UserError, match=r"token \d+ and the base model has 300"):
        instruct.run(instruct_splits, tmp_path / "adapter", settings(tmp_path / "base"))
