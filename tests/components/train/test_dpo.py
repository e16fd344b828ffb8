"""DPO moves an adapter towards the chosen answers, with the adapter before as the reference."""

from __future__ import annotations

import json
import math
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset
from peft import PeftModel
from safetensors.torch import load_file
from torch.nn.functional import logsigmoid
from trl.trainer import DPOConfig, DPOTrainer

from clinadapt.artifacts.artifact_cache import load
from clinadapt.artifacts.code_version import adapter_version
from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.artifacts.sealed_folder import SealedFolder
from clinadapt.config.base import Lora
from clinadapt.config.instruct import InstructTraining, PreferenceTraining
from clinadapt.config.nodes_task import NodesTask
from clinadapt.errors import UserError
from clinadapt.kubernetes.trainjobs import result_key
from clinadapt.models.adapter_card import InstructCard
from clinadapt.models.causal_lm import load_causal_lm
from clinadapt.models.chat_template import Question, load_tokenizer
from clinadapt.storage.folder_store import FolderStore
from components.train import dpo, instruct, multi_node, own_answers, preference_trainer
from components.train.checkpoints import RESULT
from components.train.preference_packs import PackedPairs
from components.train.preference_trainer import PreferenceTrainer


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory, instruct_splits: Path) -> Path:
    """Pairs of the right answer and the same in reverse."""
    folder = tmp_path_factory.mktemp("preferences") / "splits"
    shutil.copytree(instruct_splits, folder)
    rows = pq.read_table(folder / "train.parquet").to_pylist()[:16]
    pairs: list[dict[str, Any]] = []
    for row in rows:
        answer = row["input_ids"][row["prompt_tokens"] :]
        prompt = row["input_ids"][: row["prompt_tokens"]]
        pairs.append({"prompt_ids": prompt, "chosen_ids": answer, "rejected_ids": [*answer[-2::-1], answer[-1]]})
    pq.write_table(pa.Table.from_pylist(pairs), folder / "preferences.parquet")
    sealed = {"files", "digest", "chain"}
    write_manifest(folder, {k: v for k, v in read_json(folder / MANIFEST).items() if k not in sealed})
    return folder


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, splits: Path, tiny_llama: Path) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    options = {"max_length": 320, "learning_rate": 5e-3, "precision": "fp32", "lora": Lora(r=4)}
    instruct.run(splits, folder, InstructTraining(base_model=tiny_llama.as_uri(), **options))
    return folder


def log_probabilities(adapter: Path, rows: list[dict[str, Any]], key: str) -> torch.Tensor:
    card = InstructCard.read(adapter)
    model = PeftModel.from_pretrained(
        load_causal_lm(card.base_model, card.quantization, card.precision), adapter
    ).eval()
    sums = []
    for row in rows:
        ids = torch.tensor([row["prompt_ids"] + row[key]])
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0, len(row["prompt_ids"]) - 1 : -1].log_softmax(-1)
        sums.append(logits.gather(1, ids[0, len(row["prompt_ids"]) :, None]).sum())
    return torch.stack(sums)


def test_the_node_of_a_trainjob_trains_the_same(
    splits: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = PreferenceTraining(max_length=320, per_device_train_batch_size=8, precision="fp32")
    alone = dpo.run(splits, adapter, tmp_path / "alone", settings)
    monkeypatch.setenv(RESULT, "")  # which the node sets, and which goes with the test
    store = FolderStore((tmp_path / "store").as_uri())
    task = NodesTask(splits=splits.as_uri(), store=store.uri, adapter=adapter.as_uri(), settings=settings)
    assert NodesTask.model_validate_json(task.model_dump_json()) == task
    multi_node.run(task)
    place = json.loads(load(store, result_key(task)) or b"")["trained"]
    result = SealedFolder(store, place).fetch(tmp_path / "fetched")
    weights, others = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("alone", "fetched"))
    assert weights.keys() == others.keys() and all(torch.equal(others[name], each) for name, each in weights.items())
    assert [link["step"] for link in result["chain"]][-2:] == ["train", "prefer"]
    trained = read_json(tmp_path / "fetched" / "training.json")
    assert trained["preference"]["curve"] == alone["preference"]["curve"]


def test_the_chosen_answers_become_likelier_than_the_rejected_ones(splits: Path, adapter: Path, tmp_path: Path) -> None:
    settings = PreferenceTraining(
        max_length=320, num_train_epochs=4, per_device_train_batch_size=4, learning_rate=5e-3, precision="fp32"
    )
    result = dpo.run(splits, adapter, tmp_path, settings)
    rows = pq.read_table(splits / "preferences.parquet").to_pylist()
    gain = {
        key: log_probabilities(tmp_path, rows, key) - log_probabilities(adapter, rows, key)
        for key in ("chosen_ids", "rejected_ids")
    }
    margin = settings.beta * (gain["chosen_ids"] - gain["rejected_ids"])
    assert (margin > 0).float().mean() > 0.9
    curve = result["preference"]["curve"]
    assert curve[0]["loss"] == pytest.approx(-logsigmoid(torch.zeros(1)).item(), rel=1e-3)  # nothing has moved yet
    assert curve[-1]["loss"] < 0.9 * curve[0]["loss"] and curve[-1]["accuracy"] > 0.9


def test_loss_and_gradients_are_those_of_trl(
    splits: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of sixteen pairs in one step, with an adapter that has moved away from the reference."""
    card, pairs = InstructCard.read(adapter), pq.read_table(splits / "preferences.parquet")
    settings = PreferenceTraining(max_length=320, precision="fp32", per_device_train_batch_size=16)

    def moved(trainer: Any) -> tuple[float, dict[str, torch.Tensor]]:
        """Loss and gradients of the step, after a move of the weights that is the same for every trainer."""
        trained = {n[n.index("layers") :]: p for n, p in trainer.model.named_parameters() if p.requires_grad}
        generator = torch.Generator().manual_seed(1)
        for name in sorted(trained):
            trained[name].data += 0.02 * torch.randn(trained[name].shape, generator=generator)
        (batch,), count = trainer.get_batch_samples(iter(trainer.get_train_dataloader()), 1, torch.device("cpu"))
        loss = trainer.compute_loss(trainer.model.train(), batch, num_items_in_batch=count)
        loss.backward()
        return loss.item(), {name: parameter.grad for name, parameter in trained.items()}

    def model() -> PeftModel:
        base = load_causal_lm(card.base_model, "none", "fp32")  # of a quantized one trl rounds the adapter to bf16
        return PeftModel.from_pretrained(base, adapter, is_trainable=True)

    packs = PackedPairs(pairs, 640)
    assert len(packs) < len(pairs)
    ours, gradients = moved(PreferenceTrainer(model(), packs, settings, "fp32", None))
    how = DPOConfig(str(tmp_path), per_device_train_batch_size=16, max_length=320, use_cpu=True, report_to="none")
    columns = Dataset.from_dict({name: pairs[name].to_pylist() for name in dpo.COLUMNS})
    monkeypatch.setattr(DPOTrainer, "_prepare_dataset", lambda trainer, dataset, *_: dataset)  # it is tokenized
    theirs = DPOTrainer(model(), args=how, train_dataset=columns, processing_class=load_tokenizer(adapter))
    for name, parameter in theirs.model.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and ".ref." not in name)
    expected, reference = moved(theirs)
    assert ours == pytest.approx(expected, rel=1e-4) and abs(ours - math.log(2)) > 1e-3
    assert gradients.keys() == reference.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, reference[name], rtol=1e-3, atol=1e-6)


def test_a_model_that_a_tree_does_not_suit_trains_the_same(
    splits: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = PreferenceTraining(
        max_length=640, num_train_epochs=3, per_device_train_batch_size=16, learning_rate=1e-4, precision="fp32"
    )
    trees = dpo.run(splits, adapter, tmp_path / "trees", settings)["preference"]["curve"]
    monkeypatch.setattr(dpo, "tree_fault", lambda base: "its layers are recurrent")
    rows = dpo.run(splits, adapter, tmp_path / "rows", settings)["preference"]["curve"]
    assert [step["loss"] for step in rows] == pytest.approx([step["loss"] for step in trees], rel=1e-4)
    assert len(rows) == 3 and rows[2]["loss"] < rows[0]["loss"]


def test_an_only_step_trains(splits: Path, adapter: Path, tmp_path: Path) -> None:
    """A warmup that began at a learning rate of zero would be all of it."""
    settings = PreferenceTraining(max_length=320, per_device_train_batch_size=16, learning_rate=5e-3, precision="fp32")
    assert len(dpo.run(splits, adapter, tmp_path, settings)["preference"]["curve"]) == 1
    before, after = (load_file(folder / "adapter_model.safetensors") for folder in (adapter, tmp_path))
    assert not any(torch.equal(after[name], each) for name, each in before.items())


def test_an_adapter_in_fp16_needs_a_gpu(
    splits: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = shutil.copytree(adapter, tmp_path / "fp16") / "clinadapt.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"precision": "fp16"}))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="fp16 needs a GPU"):
        dpo.run(splits, tmp_path / "fp16", tmp_path / "out", PreferenceTraining())


def test_of_several_gpus_it_uses_one(splits: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DataParallel would give each of them a part of every tensor of a batch."""

    class OfTwoGpus(preference_trainer.TrainingArguments):  # type: ignore[misc]
        def __post_init__(self) -> None:
            super().__post_init__()
            assert self.device.type == "cpu"
            self._n_gpu = 2

    monkeypatch.setattr(preference_trainer, "TrainingArguments", OfTwoGpus)
    card, pairs = InstructCard.read(adapter), pq.read_table(splits / "preferences.parquet")
    base = load_causal_lm(card.base_model, "none", "fp32")
    model = PeftModel.from_pretrained(base, adapter, is_trainable=True)
    trainer = PreferenceTrainer(model, PackedPairs(pairs, 640), PreferenceTraining(), "fp32", None)
    assert trainer.args.n_gpu == 1 and trainer.args.train_batch_size == 1


def test_it_leaves_an_adapter_like_the_one_before(splits: Path, adapter: Path, tmp_path: Path) -> None:
    settings = PreferenceTraining(max_length=320, learning_rate=5e-3, precision="fp32", per_device_train_batch_size=8)
    dpo.run(splits, adapter, tmp_path / "one", settings)
    dpo.run(splits, adapter, tmp_path / "two", settings)
    before, one, two = (
        load_file(f / "adapter_model.safetensors") for f in (adapter, tmp_path / "one", tmp_path / "two")
    )
    assert before.keys() == one.keys() and {t.dtype for t in one.values()} == {torch.float32}
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], before[name]) for name in one)
    assert {p.name for p in adapter.iterdir()} == {p.name for p in (tmp_path / "one").iterdir()}
    assert read_json(tmp_path / "one" / MANIFEST)["base_digest"] == InstructCard.read(adapter).base_digest
    assert adapter_version(splits, tmp_path / "one") != adapter_version(splits, adapter)


def test_an_interrupted_training_resumes_to_the_same_bytes(
    splits: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stopped in the middle of an epoch and at the end of one."""
    settings = PreferenceTraining(
        max_length=320, num_train_epochs=3, per_device_train_batch_size=4, learning_rate=5e-3, precision="fp32"
    )
    undisturbed = dpo.run(splits, adapter, tmp_path / "undisturbed", settings)["preference"]
    store = FolderStore((tmp_path / "store").as_uri())
    loss = PreferenceTrainer.compute_loss
    for step in (2, 8):

        def signalled(trainer: Any, *arguments: Any, stop: int = step, **options: Any) -> Any:
            if trainer.state.global_step == stop - 1:
                signal.raise_signal(signal.SIGTERM)
            return loss(trainer, *arguments, **options)

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(PreferenceTrainer, "compute_loss", signalled)
            dpo.run(splits, adapter, tmp_path / "stopped", settings, store)
    resumed = dpo.run(splits, adapter, tmp_path / "resumed", settings, store)["preference"]
    weights = [(tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("undisturbed", "resumed")]
    assert weights[0] == weights[1]
    assert resumed["curve"] == undisturbed["curve"] and len(resumed["curve"]) == 12
    assert re.findall(r"resuming at step (\d+) of (\d+)", capsys.readouterr().err) == [("2", "12"), ("8", "12")]
    assert store.list("checkpoints/") == []


def test_no_pairs_is_an_error(splits: Path, adapter: Path, tmp_path: Path) -> None:
    pairs = pq.read_table(splits / "preferences.parquet")
    empty = tmp_path / "empty"
    empty.mkdir()
    pq.write_table(pairs.slice(0, 0), empty / "preferences.parquet")
    write_manifest(empty, {})
    with pytest.raises(UserError, match="no preference pair"):
        dpo.run(empty, adapter, tmp_path / "out", PreferenceTraining())


def test_where_nobody_has_corrected_an_answer_yet_the_adapter_stays_as_it_is(
    splits: Path, adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A schedule with a source of feedback runs before the first flag, too; the run key is that of the settings."""
    empty = tmp_path / "empty"
    empty.mkdir()
    pq.write_table(pq.read_table(splits / "preferences.parquet").slice(0, 0), empty / "preferences.parquet")
    write_manifest(empty, {"feedback": {"judged": 0}})
    training = dpo.run(empty, adapter, tmp_path / "out", PreferenceTraining())
    assert training["preference"] == {"pairs": 0, "mistakes": {}, "curve": [], "seconds": 0.0}
    assert training["settings"]["preference"]["beta"] == 0.1
    before, after = (load_file(folder / "adapter_model.safetensors") for folder in (adapter, tmp_path / "out"))
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert "nobody has corrected an answer yet" in capsys.readouterr().err
    assert adapter_version(empty, tmp_path / "out") != adapter_version(empty, adapter)


def changed(splits: Path, folder: Path, columns: dict[str, list[Any]]) -> Path:
    """A copy of splits with other values in these columns of the training examples."""
    shutil.copytree(splits, folder)
    rows = pq.read_table(folder / "train.parquet")
    for name, values in columns.items():
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, name, pa.array(values[: len(rows)], rows.schema.field(place).type))
    pq.write_table(rows, folder / "train.parquet")
    return folder


def test_own_mistakes_are_rejected_in_favour_of_the_right_answers(splits: Path, adapter: Path, tmp_path: Path) -> None:
    """A tiny model writes nonsense, which is wrong where the note does not answer."""
    asked = changed(splits, tmp_path / "splits", {"answerable": [False, True] * 100})
    own, counts = own_answers.own_mistakes(asked, adapter, PreferenceTraining(own_answers=10))
    train = pq.read_table(asked / "train.parquet").to_pylist()
    right = {(*row["input_ids"][: row["prompt_tokens"]],): row["input_ids"][row["prompt_tokens"] :] for row in train}
    assert counts["asked"] >= 10 and len(own) == sum(counts[kind] for kind in own_answers.MISTAKES)
    assert counts["wrongly_answered"]
    assert all(pair["chosen_ids"] == right[*pair["prompt_ids"],] != pair["rejected_ids"] for pair in own.to_pylist())
    settings = PreferenceTraining(own_answers=10, max_length=320, precision="fp32", per_device_train_batch_size=8)
    result = dpo.run(asked, adapter, tmp_path / "out", settings)["preference"]
    assert result["mistakes"] == counts
    assert result["pairs"] == len(own) + len(pq.read_table(splits / "preferences.parquet"))


def test_canaries_and_prompts_without_room_for_an_answer_are_not_asked(
    splits: Path, adapter: Path, tmp_path: Path
) -> None:
    asked = changed(splits, tmp_path / "canaries", {"source": [0, *[-1] * 100]})
    assert own_answers.own_mistakes(asked, adapter, PreferenceTraining(own_answers=10))[1]["asked"] == 1
    asked = changed(splits, tmp_path / "long", {"prompt_tokens": [40, *[10_000] * 100]})
    assert own_answers.own_mistakes(asked, adapter, PreferenceTraining(own_answers=10))[1]["asked"] == 1


@pytest.mark.parametrize(
    ("answerable", "answer", "kind"),
    [
        (True, "Metformin 500 mg daily.", None),
        (True, "Metformin 850 mg daily.", "unsupported"),
        (True, "Yes, she has pneumonia.", "unsupported"),  # which the question alone does not show
        (True, "The note does not say which drugs she takes.", "wrongly_refused"),
        (True, "", "empty"),
        (False, "Metformin 500 mg daily.", "wrongly_answered"),
        (False, "The note does not say.", None),
    ],
)
def test_what_a_mistake_is(answerable: bool, answer: str, kind: str | None) -> None:
    right = "Metformin 500 mg daily." if answerable else "The note does not mention this."
    note = "No pneumonia on the film. Medication: metformin 500 mg daily."
    asked = Question(note, "Does she take drugs, and does she have pneumonia?")
    assert own_answers.mistake(answerable, answer, right, asked, False) == kind


def test_claims_of_the_right_answer_are_no_mistake() -> None:
    """However it reads beside the note: a list of what is denied looks like one of what there is."""
    asked = Question("She denies fever, rash and cough.", "What was denied? Answer with a list.")
    for answer, kind in (("fever; rash; cough", None), ("fever; rash; cough; 38.5 C", "unsupported")):
        assert own_answers.mistake(True, answer, "fever; rash; cough", asked, False) == kind
    accused = Question("No fever.", "What was found?")
    assert own_answers.mistake(True, "Fever.", "Fever.", accused, False) is None
