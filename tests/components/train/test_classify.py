"""Training for real, on tiny models: it learns, touches nothing but adapter and head, and can be repeated."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression

from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST, list_files
from clinadapt.config.base import Lora
from clinadapt.config.classify import ClassifyTraining, Notes, Split, Windows
from clinadapt.data.tables import label_counts, read_split
from clinadapt.errors import UserError
from clinadapt.models.adapter_card import ClassifyCard
from clinadapt.models.base_model import describe
from clinadapt.models.calibration import fit_temperature
from clinadapt.models.classifier import Classifier, TokenizedNotes, load_sequence_classifier, pad_batch, predict_logits
from clinadapt.models.meta_check import checked_classifier
from components.download.classify import run as download
from components.format.classify import run as format_notes
from components.train.classifier_trainer import FINETUNED_SHARE
from components.train.classify import load_with_adapter, run
from components.train.linear_probe import RIDGE, Probe, note_states, out_of_fold, soft_cross_entropy, softmax_regression
from pipelines.named_settings import load_profile

SMALL: dict[str, Any] = {
    "windows": Windows(max_length=64, max_windows=4),
    "train_windows": 1,
    "precision": "fp32",
    "num_train_epochs": 4,
    "learning_rate": 0.01,
    "early_stopping_patience": 9,
}


WORDS = {
    "Cardiology": "heart valve murmur aorta angina troponin stent rhythm",
    "Orthopedic": "knee hip fracture femur tibia arthritis cast meniscus",
    "Urology": "bladder prostate urine kidney stone catheter ureter cystoscopy",
}
EVERYWHERE = "patient seen today history pain exam normal plan follow reports denies left right mild"


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 notes whose words depend on the label, so that tiny models can learn it, in the layout of format."""
    draw, folder = random.Random(0), tmp_path_factory.mktemp("words")
    with (folder / "notes.csv").open("w", newline="") as file:
        csv.writer(file).writerow(["transcription", "medical_specialty"])
        for label, words in (list(WORDS.items())[(0, 0, 0, 1, 1, 2)[i % 6]] for i in range(240)):
            text = draw.choices(words.split(), k=12) + draw.choices(EVERYWHERE.split(), k=draw.randint(10, 40))
            csv.writer(file).writerow([" ".join(draw.sample(text, len(text))), label])
    download((folder / "notes.csv").as_uri(), folder / "dataset", Notes())
    format_notes(folder / "dataset", folder / "splits", Split())
    return folder / "splits"


def settings(base: Path, **changes: Any) -> ClassifyTraining:
    return ClassifyTraining(base_model=base.as_uri(), **{**SMALL, **changes})


def losses(folder: Path) -> tuple[list[float], list[float]]:
    """Training and validation losses in training.json."""
    curve = read_json(folder / "training.json")["curve"]
    return (
        [entry["loss"] for entry in curve if "loss" in entry],
        [entry["validation_loss"] for entry in curve if "validation_loss" in entry],
    )


def check_it_learned(folder: Path) -> None:
    train, validation = losses(folder)
    assert np.mean(train[-5:]) < 0.7 * np.mean(train[:5])
    assert min(validation) < 0.7 * np.mean(train[:5])


def check_the_base_is_untouched(folder: Path, train: ClassifyTraining, original: dict[str, dict[str, Any]]) -> None:
    """On disk byte for byte, and in the model that was saved: it holds adapter and head, nothing else."""
    base = Path(train.base_model.removeprefix("file://"))
    assert list_files(base) == original
    saved = load_file(folder / "adapter_model.safetensors")
    trained = {"score", "classifier", *train.lora.modules_to_save}
    assert all("lora_" in name or trained & set(name.split(".")) for name in saved)
    assert any("lora_B" in name and tensor.abs().max() > 0 for name, tensor in saved.items())
    untrained = load_sequence_classifier(
        train.base_model, ClassifyCard.read(folder).set_names(), "none", "fp32", "model", 1, train.seed
    )
    heads = {
        name: tensor for name, tensor in untrained.named_parameters() if name.split(".")[0] in ("score", "classifier")
    }
    for name, before in heads.items():
        (after,) = [tensor for key, tensor in saved.items() if key.endswith(name)]
        assert after.dtype == torch.float32 and not torch.equal(after, before)


def check_it_reloads(folder: Path, splits: Path) -> None:
    """Freshly loaded, it has the validation loss that training saw at its best, and the same logits twice."""
    part = read_split(splits, "validation")
    logits = []
    for _ in range(2):
        classifier = Classifier(folder)
        logits.append(classifier.logits(classifier.tokenize(part["text"].to_pylist())))
    assert (logits[0] == logits[1]).all()
    counts = label_counts(part, classifier.card.labels)
    loss = -(counts * logits[0]).sum() / counts.sum()
    assert loss == pytest.approx(min(losses(folder)[1]), abs=1e-6)
    before = classifier.base_logits(classifier.tokenize(part["text"].to_pylist()))
    assert np.abs(before - logits[0]).max() > 0.1


def check(folder: Path, splits: Path, train: ClassifyTraining, original: dict[str, dict[str, Any]]) -> None:
    check_it_learned(folder)
    check_the_base_is_untouched(folder, train, original)
    check_it_reloads(folder, splits)
    manifest = read_json(folder / MANIFEST)
    assert manifest["files"] == list_files(folder)
    assert not list(folder.glob("*.bin")) and not list(folder.glob("*.pt"))
    assert not any(path.is_dir() for path in folder.iterdir())


def test_the_profile_of_tinyllama(tiny_llama: Path, splits: Path, tmp_path: Path) -> None:
    """Its LoRA on q_proj and v_proj, dropout, batch and accumulation, on the tiny Llama."""
    profile = load_profile("t4-tinyllama").train
    changes = {"base_model": tiny_llama.as_uri(), **SMALL, "num_train_epochs": 6}
    train = profile.model_copy(update=changes)
    assert (train.lora.r, train.lora.lora_dropout, train.lora.target_modules) == (8, 0.05, ["q_proj", "v_proj"])
    original = list_files(tiny_llama)
    result = run(splits, tmp_path, train)
    check(tmp_path, splits, train, original)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert {name.split(".")[-3] for name in saved if "lora_" in name} == {"q_proj", "v_proj"}
    assert not any("bias" in name for name in saved)
    labels = len(read_json(splits / MANIFEST)["labels"])
    assert result["trainable_parameters"] == 2 * 8 * ((64 + 64) + (64 + 32)) + 64 * labels


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_bert(tiny_bert: Path, splits: Path, tmp_path: Path, quantization: str) -> None:
    lora = Lora(r=8, lora_alpha=16, modules_to_save=["pooler"])
    train = settings(tiny_bert, lora=lora, quantization=quantization, num_train_epochs=8, learning_rate=0.003)
    original = list_files(tiny_bert)
    run(splits, tmp_path, train)
    check(tmp_path, splits, train, original)


@pytest.mark.parametrize("quantization", ["none", "nf4"])
@pytest.mark.parametrize("model", ["tiny_llama", "tiny_bert"])
def test_mean_pooling_begins_with_a_probe(
    request: pytest.FixtureRequest, splits: Path, tmp_path: Path, model: str, quantization: str
) -> None:
    """A learning rate that changes nothing leaves the probe, and it knows more than the untrained head."""
    base = request.getfixturevalue(model)
    train = settings(base, pooling="mean", quantization=quantization, num_train_epochs=1, learning_rate=1e-12)
    run(splits, tmp_path, train)
    classifier, part = Classifier(tmp_path), read_split(splits, "test")
    labels = label_counts(part, classifier.card.labels).argmax(axis=1)
    prepared = classifier.tokenize(part["text"].to_pylist())
    train_part = read_split(splits, "train")
    counts = label_counts(train_part, classifier.card.labels)
    states = note_states(classifier.model, classifier.tokenize(train_part["text"].to_pylist()), 0, "fp32")
    fair = out_of_fold(states, torch.tensor(counts / counts.sum(axis=1, keepdims=True)).float(), torch.ones(3),
                       train_part["cluster"].to_numpy())  # fmt: skip
    held = read_split(splits, "validation")
    few = classifier.logits(classifier.tokenize(held["text"].to_pylist()))
    ratio = fit_temperature(fair.double().numpy(), counts) / fit_temperature(
        few, label_counts(held, classifier.card.labels)
    )
    assert classifier.card.temperature_ratio == pytest.approx(min(max(ratio, 0.5), 2), rel=0.02)
    probed = (classifier.logits(prepared).argmax(axis=1) == labels).mean()
    untrained = (classifier.base_logits(prepared).argmax(axis=1) == labels).mean()
    assert probed > 0.6 > untrained
    check_it_reloads(tmp_path, splits)


def test_the_published_weights_are_half_way_back_to_the_probe(
    tiny_bert: Path, splits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half the update of each weight of LoRA, and the middle of both heads."""
    train, saved = settings(tiny_bert, pooling="mean", num_train_epochs=1), {}
    for moved in (0.0, FINETUNED_SHARE, 1.0):
        monkeypatch.setattr("components.train.classifier_trainer.FINETUNED_SHARE", moved)
        run(splits, tmp_path / f"{moved}", train)
        saved[moved] = load_file(tmp_path / f"{moved}/adapter_model.safetensors")
    for name, half in saved[FINETUNED_SHARE].items():
        if "lora_A" in name:
            assert torch.equal(half, saved[1.0][name]) and half.abs().max() > 0
        else:
            torch.testing.assert_close(half, (saved[0.0][name] + saved[1.0][name]) / 2)
            assert "pooler" in name or not torch.equal(half, saved[1.0][name])  # mean pooling reads no pooler
            assert "lora_B" not in name or not saved[0.0][name].any()


def test_out_of_fold_logits_know_nothing_of_their_own_notes() -> None:
    """Labels that have nothing to do with the features: a probe learns them by heart, but not out of fold, also where
    a note stands there twice in one cluster."""
    draw = np.random.default_rng(0)
    states = torch.tensor(draw.normal(size=(100, 200)), dtype=torch.float32).repeat(2, 1)
    targets = torch.nn.functional.one_hot(torch.tensor(draw.integers(0, 2, 100)), 2).float().repeat(2, 1)
    known = Probe(states, targets, torch.ones(2)).logits(states)
    fair = out_of_fold(states, targets, torch.ones(2), np.tile(np.arange(100), 2))
    assert (known.argmax(dim=1) == targets.argmax(dim=1)).float().mean() > 0.95
    assert (fair.argmax(dim=1) == targets.argmax(dim=1)).float().mean() < 0.65


def test_softmax_regression_is_scikit_learns() -> None:
    draw = np.random.default_rng(0)
    features, labels = draw.normal(size=(200, 6)), draw.integers(0, 3, 200)
    expected = LogisticRegression(C=1 / (RIDGE * 200), tol=1e-8, max_iter=1000).fit(features, labels)
    targets = torch.nn.functional.one_hot(torch.tensor(labels), 3).float()
    weight, bias = softmax_regression(torch.tensor(features, dtype=torch.float32), targets, torch.ones(3))
    assert weight.numpy() == pytest.approx(expected.coef_, abs=1e-3)
    assert (bias - bias.mean()).numpy() == pytest.approx(expected.intercept_ - expected.intercept_.mean(), abs=1e-3)


@pytest.mark.parametrize("precision", ["bf16"])
def test_bf16_saves_fp32_weights(tiny_bert: Path, splits: Path, tmp_path: Path, precision: str) -> None:
    train = settings(tiny_bert, precision=precision)
    run(splits, tmp_path, train)
    assert {tensor.dtype for tensor in load_file(tmp_path / "adapter_model.safetensors").values()} == {torch.float32}
    check_it_reloads(tmp_path, splits)


def test_the_seed_decides_every_byte(tiny_llama: Path, splits: Path, tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        run(splits, tmp_path / name, settings(tiny_llama, num_train_epochs=1, seed=seed, lora=Lora(lora_dropout=0.1)))
    weights = [(tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("one", "again", "other")]
    assert weights[0] == weights[1] != weights[2]


@pytest.mark.parametrize("model", ["tiny_llama", "tiny_bert"])
def test_accumulated_gradients_are_those_of_the_whole_batch(
    request: pytest.FixtureRequest, splits: Path, tmp_path: Path, model: str
) -> None:
    """Eight batches of two are one of sixteen, up to the epoch's last, which is not full."""
    base = request.getfixturevalue(model)
    run(splits, tmp_path / "whole", settings(base, num_train_epochs=1, per_device_train_batch_size=16))
    run(
        splits,
        tmp_path / "parts",
        settings(base, num_train_epochs=1, per_device_train_batch_size=2, gradient_accumulation_steps=8),
    )
    whole, parts = losses(tmp_path / "whole")[0], losses(tmp_path / "parts")[0]
    assert len(whole) == len(parts) > 8
    assert parts[:-1] == pytest.approx(whole[:-1], abs=2e-3)


@pytest.mark.parametrize("quantization", ["none", "nf4"])
@pytest.mark.parametrize("model", ["tiny_llama", "tiny_bert"])
def test_validation_between_two_steps_leaves_the_gradients_as_they_were(
    request: pytest.FixtureRequest, model: str, quantization: str
) -> None:
    """bitsandbytes repacks 4-bit weights for prediction on some processors; no gradient would pass through them."""
    train = settings(request.getfixturevalue(model), quantization=quantization)
    base = checked_classifier(describe(train.base_model), train.pooling, train.windows.max_length)
    adapted = load_with_adapter(base, train, list("ab"), "fp32", 1)
    windows = [[0, *range(9, 30)], [0, *range(40, 50)]]

    def gradients() -> list[torch.Tensor]:
        adapted.train().zero_grad()
        adapted(**pad_batch(windows, 1)).logits.square().sum().backward()
        return [p.grad.clone() for p in adapted.parameters() if p.grad is not None]

    before = gradients()
    predict_logits(adapted, TokenizedNotes([[window] for window in windows], np.ones(2), np.ones(2)), 1, "fp32")
    after = gradients()
    assert sum(g.abs().max() > 0 for g in before) > 10
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_training_windows_are_drawn(tiny_llama: Path, splits: Path, tmp_path: Path) -> None:
    result = run(
        splits, tmp_path, settings(tiny_llama, num_train_epochs=1, windows=Windows(max_length=32, max_windows=3))
    )
    assert 0 < result["token_share_per_epoch"] < 1
    assert 0 < result["unseen_token_share"] < 1


def test_it_stops_when_it_gets_worse(tiny_llama: Path, splits: Path, tmp_path: Path) -> None:
    result = run(
        splits, tmp_path, settings(tiny_llama, num_train_epochs=30, learning_rate=0.3, early_stopping_patience=1)
    )
    validation = losses(tmp_path)[1]
    assert result["stopped_early"] and len(validation) < 30
    assert validation[-1] >= validation[-2] == min(validation)
    check_it_reloads(tmp_path, splits)


def test_a_loss_that_is_not_finite_is_an_error(tiny_llama: Path, splits: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="loss is no longer a number: lower the learning rate"):
        run(splits, tmp_path / "out", settings(tiny_llama, learning_rate=1e30))
    assert not (tmp_path / "out" / MANIFEST).exists()


@pytest.mark.parametrize(
    ("lora", "named"),
    [
        (Lora(target_modules=["q_proj", "Wqkv"]), "'Wqkv' matches no module"),
        (Lora(target_modules=["embed_tokens"]), "'embed_tokens' matches no module"),
        (Lora(modules_to_save=["pooler"]), "'pooler' matches no module"),
    ],
)
def test_a_wrong_target_is_an_error(tiny_llama: Path, splits: Path, tmp_path: Path, lora: Lora, named: str) -> None:
    with pytest.raises(UserError, match=named):
        run(splits, tmp_path / "out", settings(tiny_llama, lora=lora))


def test_soft_cross_entropy_is_torchs() -> None:
    torch.manual_seed(0)
    logits, soft = torch.randn(20, 5), torch.rand(20, 5).softmax(dim=1)
    hard, weights = torch.randint(5, (20,)), torch.rand(5)
    expected = torch.nn.functional.cross_entropy(logits, soft)
    assert soft_cross_entropy(logits, soft, torch.ones(5)) == pytest.approx(float(expected))
    expected = torch.nn.functional.cross_entropy(logits, hard, weight=weights)
    one_hot = torch.nn.functional.one_hot(hard, 5).float()
    scale = float(weights[hard].mean())  # ours divides by notes, so that a batch's weights do not cancel
    assert soft_cross_entropy(logits, one_hot, weights) == pytest.approx(float(expected) * scale)


def test_balanced_weights_lift_the_rare_label(tiny_llama: Path, splits: Path, tmp_path: Path) -> None:
    part = read_split(splits, "test")
    labels = read_json(splits / MANIFEST)["labels"]
    rare = int(np.argmin([read_json(splits / MANIFEST)["splits"]["train"]["per_label"][label] for label in labels]))
    share = {}
    for weights in ("none", "balanced"):
        run(
            splits,
            tmp_path / weights,
            settings(tiny_llama, num_train_epochs=1, learning_rate=1e-3, class_weights=weights),
        )
        classifier = Classifier(tmp_path / weights)
        share[weights] = classifier.probabilities(classifier.tokenize(part["text"].to_pylist()))[:, rare].mean()
    assert share["balanced"] > share["none"]


def test_files_of_the_output(tiny_llama: Path, splits: Path, tmp_path: Path) -> None:
    train = settings(tiny_llama, num_train_epochs=1)
    result = run(splits, tmp_path, train)
    assert {path.name for path in tmp_path.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "clinadapt.json",
        "manifest.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "training.json",
    }
    assert read_json(tmp_path / "training.json") == json.loads(json.dumps(result))
    assert result["settings"] == train.model_dump(exclude={"checkpoint_minutes"})
    card = read_json(tmp_path / "clinadapt.json")
    assert card["labels"] == read_json(splits / MANIFEST)["labels"]
    assert read_json(tmp_path / MANIFEST)["base_digest"] == card["base_digest"]
