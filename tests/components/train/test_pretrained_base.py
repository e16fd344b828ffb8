"""A base model of pretrain that was removed from the store, though the cached output of a step refers to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clinadapt.artifacts.hashing import read_json, write_json
from clinadapt.artifacts.manifest import write_manifest
from clinadapt.artifacts.sealed_folder import SealedFolder
from clinadapt.artifacts.step_input import cache_generation, current_generation
from clinadapt.artifacts.step_record import RUN
from clinadapt.config.instruct import BUILTIN_LLAMA, Llama, Pretraining
from clinadapt.models.adapter_card import CARD, InstructCard
from clinadapt.registry.pretrained_bases import base_prefix
from clinadapt.storage import open_store
from clinadapt.storage.object_store import Store
from components.evaluate.component import evaluate_instruct
from components.train.component import prefer, pretrain, train_instruct

TINY = Llama(hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2)
TRAINING = Pretraining(max_length=128, num_train_epochs=1, precision="fp32", llama=TINY)
SETTINGS = {
    "training": TRAINING.model_dump(mode="json"), "base_model": BUILTIN_LLAMA, "base_digest": BUILTIN_LLAMA,
    "code_version": "1", "cache_generation": "",
}  # fmt: skip


def artifact(path: Path) -> Any:
    return SimpleNamespace(path=str(path), uri=str(path), metadata={}, log_metric=lambda *metric: None)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv(RUN, "run-7")
    return open_store((tmp_path / "store").as_uri())


def test_preflight_notices_it(instruct_splits: Path, tmp_path: Path, store: Store) -> None:
    base = pretrain.python_func(
        settings=SETTINGS, splits=artifact(instruct_splits), store=store.uri, curve=artifact(tmp_path / "curve")
    )
    assert base.uri == f"{store.uri}/{base_prefix(base.digest)}"
    assert current_generation(store, {"pretrain": SETTINGS}) == ("", [])
    SealedFolder(store, base_prefix(base.digest)).delete()
    assert current_generation(store, {"pretrain": SETTINGS}) == ("run-7", ["pretrain"])


def train(splits: Any, adapter: Any, store: str, base: dict[str, str], output: Any) -> None:
    given = {"base_model": base["uri"], "base_digest": base["digest"]}
    train_instruct.python_func(settings={}, splits=splits, store=store, adapter=output, metrics=output, **given)


def train_on(splits: Any, adapter: Any, store: str, base: dict[str, str], output: Any) -> None:
    settings = {"training": {}}
    prefer.python_func(
        settings=settings, splits=splits, sft_adapter=adapter, store=store, adapter=output, metrics=output
    )


def evaluate(splits: Any, adapter: Any, store: str, base: dict[str, str], output: Any) -> None:
    settings = {"adapter_name": "a", "champion_version": "", "champion_etag": ""}
    evaluate_instruct.python_func(
        settings=settings, splits=splits, adapter=adapter, store=store, evaluation=output, metrics=output
    )


@pytest.mark.parametrize(("step", "run"), [("train", train), ("prefer", train_on), ("evaluate", evaluate)])
def test_a_step_that_needs_it_has_it_made_anew_by_the_next_run(
    tmp_path: Path, instruct_splits: Path, store: Store, step: str, run: Callable[..., None]
) -> None:
    """As another run may have left the record that preflight reads."""
    digest = "sha256:" + "0" * 64
    base = {"uri": f"{store.uri}/{base_prefix(digest)}", "digest": digest}
    card = InstructCard(
        base_model=base["uri"], base_digest=digest, quantization="none", precision="fp32", seed=1, max_length=128,
        max_new_tokens=8, tasks=["extraction"],
    )  # fmt: skip
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    write_json(adapter / CARD, card.model_dump())
    write_manifest(adapter, {})
    with pytest.raises(SystemExit) as ended:
        run(artifact(instruct_splits), artifact(adapter), store.uri, base, artifact(tmp_path / "output"))
    assert ended.value.code == 2
    record = read_json(tmp_path / f"store/runs/run-7/{step}.json")
    assert record["error"].startswith(f"the base model {base['uri']}, which pretrain made, is gone")
    assert cache_generation(store) == "run-7"
