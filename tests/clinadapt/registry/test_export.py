"""Merged weights: loaded by transformers alone they answer as the published adapter does, or they are not exported."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file
from scipy.special import softmax
from support import HELD_OUT, Clinadapt, make_instruct_splits
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from clinadapt.artifacts.hashing import read_json, sha256_json, write_json
from clinadapt.artifacts.manifest import MANIFEST, list_files, write_manifest
from clinadapt.artifacts.signing import sign_manifest, verify_manifest
from clinadapt.config.base import Lora
from clinadapt.config.classify import ClassifyTraining, Windows
from clinadapt.config.instruct import InstructTraining
from clinadapt.data.tables import read_split
from clinadapt.errors import UserError
from clinadapt.models.base_model import describe
from clinadapt.models.merging import HEAD
from clinadapt.registry import export as weights
from clinadapt.registry.export import run
from clinadapt.review.classify import ClassifyService
from clinadapt.review.instruct import InstructService
from components.train.classify import run as train_classifier
from components.train.instruct import run as train_instruct

NOTE, _, ASKED = HELD_OUT[0]


@dataclass(frozen=True)
class Published:
    """A store with one version, and the splits that it was evaluated with."""

    store: Path
    splits: Path

    @property
    def version(self) -> Path:
        return self.store / "adapters/answers/v1"

    def export(self, target: Path, **options: Any) -> dict[str, Any]:
        given = {"splits": self.splits.as_uri(), "home": self.store, "tolerance": None, **options}
        return run("answers/v1", self.store.as_uri(), target.as_uri(), **given)


def publish(store: Path, adapter: Path, splits: Path) -> Published:
    """A version with a seal, as publish writes it; whether it is good enough is not asked here."""
    made = Published(store, splits)
    shutil.copytree(adapter, made.version, ignore=shutil.ignore_patterns(MANIFEST))
    ModelCard("---\nlibrary_name: peft\n---\n# answers\n\nAn adapter.\n").save(made.version / "README.md")
    seal_again(made)
    return made


def seal_again(made: Published) -> None:
    card = read_json(made.version / "clinadapt.json")
    manifest = {"name": "answers", "version": "v1", "splits_digest": read_json(made.splits / MANIFEST)["digest"]}
    manifest |= {"base_model": card["base_model"], "base_digest": card["base_digest"], "metrics": {}}
    write_json(made.version / MANIFEST, sign_manifest(write_manifest(made.version, manifest)))


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Callable[..., Published]:
    """Train an adapter for real and publish it, once for each recipe, base, quantization and pooling."""
    made: dict[tuple[str, ...], Published] = {}

    def get(recipe: str, base: str, quantization: str, pooling: str = "model") -> Published:
        key = (recipe, base, quantization, pooling)
        if key not in made:
            folder, uri = tmp_path_factory.mktemp("published"), request.getfixturevalue(base).as_uri()
            if recipe == "instruct":
                trained = InstructTraining(
                    base_model=uri, quantization=quantization, max_length=320, num_train_epochs=1, learning_rate=5e-3,
                    precision="fp32", lora=Lora(r=4),
                )  # fmt: skip
                train_instruct(request.getfixturevalue("instruct_splits"), folder / "adapter", trained)
                splits = make_instruct_splits(folder / "splits")
            else:
                splits = request.getfixturevalue("splits")
                settings = ClassifyTraining(
                    base_model=uri, quantization=quantization, pooling=pooling,
                    windows=Windows(max_length=64, max_windows=4),
                    num_train_epochs=1, precision="fp32", lora=Lora(r=4),
                )  # fmt: skip
                train_classifier(splits, folder / "adapter", settings)
            made[key] = publish(folder / "store", folder / "adapter", splits)
        return made[key]

    return get


@pytest.mark.parametrize(
    ("base", "quantization"), [("tiny_llama", "none"), ("tiny_llama", "nf4"), ("tiny_phi", "none")]
)
def test_an_instruct_model_answers_by_transformers_alone(
    make: Callable[..., Published], tmp_path: Path, base: str, quantization: str
) -> None:
    made, merged = make("instruct", base, quantization), tmp_path / "merged"
    manifest = made.export(merged)
    model = AutoModelForCausalLM.from_pretrained(merged)
    assert model.dtype == torch.float16 and manifest["dtype"] == "float16"
    assert not [name for name in load_file(merged / "model.safetensors") if "lora" in name]
    tokenizer = AutoTokenizer.from_pretrained(merged)
    model = model.float()
    asker, same = InstructService("answers/v1", made.store.as_uri()), 0
    for instruction, *_ in ASKED:
        system = {"role": "system", "content": "Answer from the clinical note alone. If it does not say, say so."}
        user = {"role": "user", "content": f"### Note\n{NOTE}\n\n### Instruction\n{instruction}"}
        inputs = tokenizer.apply_chat_template(
            [system, user], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        generated = model.generate(**inputs)[
            0, inputs["input_ids"].shape[1] :
        ]  # greedy, as its own generation config says
        same += (
            tokenizer.decode(generated, skip_special_tokens=True).strip() == asker.answer(NOTE, instruction)["answer"]
        )
    assert same == len(ASKED) or quantization == "nf4"
    assert manifest["comparison"]["difference"] < (0.001 if quantization == "none" else 0.1)


@pytest.mark.parametrize(
    ("base", "quantization"), [("tiny_bert", "none"), ("tiny_llama", "nf4"), ("tiny_llama", "none")]
)
def test_a_classifier_predicts_by_transformers_alone(
    make: Callable[..., Published], tmp_path: Path, base: str, quantization: str
) -> None:
    made, merged = make("classify", base, quantization), tmp_path / "merged"
    manifest = made.export(merged)
    model = AutoModelForSequenceClassification.from_pretrained(merged)
    assert model.dtype == torch.float16
    model, tokenizer = model.float().eval(), AutoTokenizer.from_pretrained(merged)
    card = read_json(merged / "clinadapt.json")
    outputs = [model.config.id2label[i] for i in range(len(card["label_sets"]))]
    assert outputs[: len(card["labels"])] == card["labels"]
    answerer = ClassifyService("answers/v1", made.store.as_uri())
    text = next(text for text in read_split(made.splits, "test")["text"].to_pylist())
    note = " ".join(text.split()[:12])  # one window
    with torch.no_grad():
        over_sets = softmax(model(**tokenizer(note, return_tensors="pt")).logits[0].numpy())
    shares = np.array(
        [[(i in members) / len(members) for i in range(len(card["labels"]))] for members in card["label_sets"]]
    )
    wanted = [answerer.answer(note)["probabilities"][label] for label in card["labels"]]
    assert card["temperature"] == 1
    np.testing.assert_allclose(over_sets @ shares, wanted, atol=0.002 if quantization == "none" else 0.05)
    assert manifest["comparison"]["difference"] < (0.002 if quantization == "none" else 0.1)
    assert manifest["comparison"]["equal"] == 1 or quantization == "nf4"


@pytest.mark.parametrize("base", ["tiny_bert", "tiny_llama"])
def test_a_head_on_mean_states_lies_beside_its_encoder(
    make: Callable[..., Published], tmp_path: Path, base: str
) -> None:
    made, merged = make("classify", base, "none", "mean"), tmp_path / "merged"
    assert made.export(merged)["comparison"]["difference"] < 0.01
    body = AutoModel.from_pretrained(merged).float().eval()
    tokenizer, head = AutoTokenizer.from_pretrained(merged), load_file(merged / HEAD)
    card = read_json(merged / "clinadapt.json")
    note = " ".join(read_split(made.splits, "test")["text"].to_pylist()[0].split()[:12])
    with torch.no_grad():
        states = body(**tokenizer(note, return_tensors="pt"), output_hidden_states=True).hidden_states[-4:]
        rows = torch.cat([layer.mean(1) for layer in states], dim=1) @ head["weight"].T + head["bias"]
    whole, first = rows[0].chunk(2)
    over_sets = softmax((whole + first).numpy())
    shares = np.array(
        [[(i in members) / len(members) for i in range(len(card["labels"]))] for members in card["label_sets"]]
    )
    answer = ClassifyService("answers/v1", made.store.as_uri()).answer(note)["probabilities"]
    wanted = softmax(np.log(over_sets @ shares) / card["temperature"])
    np.testing.assert_allclose(wanted, [answer[label] for label in card["labels"]], atol=0.002)


def test_what_is_written(make: Callable[..., Published], tmp_path: Path, tiny_llama: Path) -> None:
    made, merged = make("instruct", "tiny_llama", "nf4"), tmp_path / "merged"
    result = made.export(merged)
    manifest = read_json(merged / MANIFEST)
    assert manifest == sign_manifest(verify_manifest((merged / MANIFEST).read_bytes(), MANIFEST))
    assert result | {"manifest_digest": manifest["manifest_digest"]} == manifest | {"uri": merged.as_uri()}
    assert manifest["files"] == list_files(merged, (MANIFEST, ".lock"))
    assert {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "chat_template.jinja",
            "README.md", "clinadapt.json"} == manifest["files"].keys() - {"tokenizer_config.json"}  # fmt: skip
    assert (manifest["name"], manifest["version"], manifest["recipe"]) == ("answers", "v1", "instruct")
    assert manifest["base_digest"] == describe(tiny_llama.as_uri()).digest
    assert manifest["adapter_digest"] == read_json(made.version / MANIFEST)["digest"]
    assert manifest["comparison"]["examples"] == 16 == manifest["comparison"]["answers"]
    card = ModelCard.load(merged / "README.md")
    assert card.data.library_name == "transformers"
    assert "**Merged weights** (float16) of version `answers/v1`" in card.text
    for path in merged.rglob("*"):
        if path.suffix in (".json", ".md"):
            assert "secretword" not in path.read_text() and str(tiny_llama) not in path.read_text().replace(
                json.dumps(tiny_llama.as_uri()), ""
            )


def test_the_same_command_again_and_a_cut_one(make: Callable[..., Published], tmp_path: Path) -> None:
    made, merged = make("instruct", "tiny_llama", "none"), tmp_path / "merged"
    first = made.export(merged)
    times = {path: path.stat().st_mtime_ns for path in merged.iterdir()}
    assert made.export(merged) == first
    assert {path: path.stat().st_mtime_ns for path in merged.iterdir()} == times
    (merged / MANIFEST).unlink()  # as if it had been killed before its end
    (merged / ".export").write_text(first["adapter_digest"])
    (merged / "config.json").write_text("{")
    assert made.export(merged)["files"] == first["files"]
    assert read_json(merged / MANIFEST)["files"] == list_files(merged, (MANIFEST, ".lock"))


def left(folder: Path) -> list[str]:
    return (
        [path.name for path in folder.rglob("*") if path.is_file() and path.name != ".lock"] if folder.exists() else []
    )


def test_a_target_that_is_not_empty_is_left_alone(make: Callable[..., Published], tmp_path: Path) -> None:
    made = make("instruct", "tiny_llama", "none")
    (tmp_path / "config.json").write_text("someone's model")
    with pytest.raises(UserError, match="is not empty: give a new folder with --to"):
        made.export(tmp_path)
    assert left(tmp_path) == ["config.json"] and (tmp_path / "config.json").read_text() == "someone's model"


def test_beyond_the_tolerance_nothing_is_left(
    make: Callable[..., Published], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 4-bit base and no tolerance for it; then a merge that loses the adapter, whose effect is 0.09 nats."""
    made, target = make("instruct", "tiny_llama", "nf4"), tmp_path / "merged"
    with pytest.raises(
        UserError, match=r"not exported, the merged model gives other answers .* the tolerance is 1e-09"
    ):
        made.export(target, tolerance=1e-9)

    def lost(adapter: Path, output: Path) -> str:
        dtype = write(adapter, output)
        base = describe(read_json(adapter / "clinadapt.json")["base_model"]).uri.removeprefix("file://")
        shutil.copyfile(f"{base}/model.safetensors", output / "model.safetensors")
        return dtype

    write = weights.write_merged
    monkeypatch.setattr(weights, "write_merged", lost)
    with pytest.raises(UserError, match=r"the tolerance is 0\.05$"):
        made.export(target, tolerance=0.05)
    assert left(target) == []


def test_weights_that_are_no_numbers_are_refused(
    make: Callable[..., Published], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(adapter: Path, output: Path) -> str:
        dtype = write(adapter, output)
        tensors = load_file(output / "model.safetensors")
        tensors["model.norm.weight"][0] = float("nan")
        save_file(tensors, output / "model.safetensors", {"format": "pt"})
        return dtype

    write = weights.write_merged
    monkeypatch.setattr(weights, "write_merged", broken)
    with pytest.raises(UserError, match="not exported, the merged model gives other answers"):
        make("instruct", "tiny_llama", "none").export(tmp_path / "merged", tolerance=1e9)
    assert left(tmp_path) == []


def test_an_upload_that_fails_leaves_nothing(
    make: Callable[..., Published], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clinadapt.storage.folder_store import FolderStore

    put = FolderStore.put

    def full(self: FolderStore, key: str, data: bytes, **options: Any) -> str:
        if key == MANIFEST:
            raise UserError("no space left")
        return put(self, key, data, **options)

    monkeypatch.setattr(FolderStore, "put", full)
    with pytest.raises(UserError, match="no space left"):
        make("instruct", "tiny_llama", "none").export(tmp_path / "merged")
    assert left(tmp_path) == []


def test_the_splits_of_another_evaluation(make: Callable[..., Published], tmp_path: Path, splits: Path) -> None:
    made, target = make("instruct", "tiny_llama", "none"), tmp_path / "merged"
    changed = Path(shutil.copytree(made.splits, tmp_path / "changed"))
    table = pq.read_table(changed / "test.parquet")
    pq.write_table(table.slice(0, 3), changed / "test.parquet")
    for given in (splits, changed):
        with pytest.raises(UserError, match=r"is not what this version was evaluated with .* digest sha256"):
            made.export(target, splits=given.as_uri())
    with pytest.raises(UserError, match="contains no splits"):
        made.export(target, splits=tmp_path.as_uri())
    with pytest.raises(UserError, match="give them with --splits, the artifact `splits` of its run's step format"):
        made.export(target, splits=None)
    assert left(target) == []


def test_splits_of_a_local_run_are_found_by_their_digest(make: Callable[..., Published], tmp_path: Path) -> None:
    made, home = make("instruct", "tiny_llama", "none"), tmp_path / "home"
    for name, splits in (("a", make("classify", "tiny_bert", "none").splits), ("b", made.splits)):
        shutil.copytree(splits, home / "outputs" / name / "format/splits")
    assert made.export(tmp_path / "merged", splits=None, home=home)["comparison"]["examples"] == 16


def test_a_version_that_was_changed_is_not_exported(make: Callable[..., Published], tmp_path: Path) -> None:
    made = make("instruct", "tiny_llama", "none")
    copy = Published(Path(shutil.copytree(made.store, tmp_path / "store")), made.splits)
    (copy.version / "training.json").write_text("{}")
    with pytest.raises(UserError, match="training.json is not what was published"):
        copy.export(tmp_path / "merged")
    assert left(tmp_path / "merged") == []


def test_a_base_in_bf16_stays_in_bf16(make: Callable[..., Published], tmp_path: Path) -> None:
    made = make("instruct", "tiny_llama", "none")
    card = read_json(made.version / "clinadapt.json")
    AutoModelForCausalLM.from_pretrained(card["base_model"].removeprefix("file://")).bfloat16().save_pretrained(
        tmp_path / "base"
    )
    copy = Published(Path(shutil.copytree(made.store, tmp_path / "store")), made.splits)
    uri = (tmp_path / "base").as_uri()
    write_json(copy.version / "clinadapt.json", card | {"base_model": uri, "base_digest": describe(uri).digest})
    seal_again(copy)
    result = copy.export(tmp_path / "merged")
    assert result["dtype"] == "bfloat16" == str(AutoConfig.from_pretrained(tmp_path / "merged").dtype)[6:]
    assert 0 < result["comparison"]["difference"] < 0.02


def test_the_command(make: Callable[..., Published], tmp_path: Path, clinadapt: Clinadapt) -> None:
    made = make("classify", "tiny_bert", "none")
    command = ["registry", "export", "answers/v1", "--store", str(made.store), "--to", str(tmp_path / "merged")]
    done = clinadapt(*command, "--json")
    assert done.returncode == 2 and "give them with --splits" in done.stderr
    done = clinadapt(*command, "--splits", str(made.splits), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["digest"] == sha256_json(list_files(tmp_path / "merged", (MANIFEST, ".lock")))
