"""The cache of model outputs: which inputs make another key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clinadapt.models.adapter_card import ClassifyCard, InstructCard
from clinadapt.storage import open_store
from components.evaluate.answer_cache import _BASE_FIELDS, AnswerCache

FIELDS: dict[str, Any] = {
    "base_model": "builtin://llama", "base_digest": "sha256:0", "quantization": "none", "precision": "fp32", "seed": 1,
    "max_length": 512, "max_new_tokens": 32, "tasks": ["Summarization"],
}  # fmt: skip


def prefix(folder: Path, weights: bytes = b"weights", use_adapter: bool = True, prompts: Any = 1, **fields: Any) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "adapter_model.safetensors").write_bytes(weights)
    store = open_store((folder / "store").as_uri())
    return AnswerCache(store, folder, InstructCard(**{**FIELDS, **fields}), use_adapter, prompts).prefix


@pytest.mark.parametrize("use_adapter", [True, False])
@pytest.mark.parametrize(
    "changed", [{"prompts": 2}, {"max_length": 256}, {"base_digest": "sha256:1"}, {"precision": "bf16"}]
)
def test_what_changes_the_answers_changes_the_key(tmp_path: Path, use_adapter: bool, changed: dict[str, Any]) -> None:
    assert prefix(tmp_path, use_adapter=use_adapter) != prefix(tmp_path, use_adapter=use_adapter, **changed)


def test_adapters_of_one_base_model_share_its_answers(tmp_path: Path) -> None:
    assert prefix(tmp_path, b"a", use_adapter=False) == prefix(tmp_path, b"b", use_adapter=False)
    assert prefix(tmp_path, b"a") != prefix(tmp_path, b"b")


def test_fields_of_the_base_are_fields_of_a_card() -> None:
    assert set(_BASE_FIELDS) <= InstructCard.model_fields.keys() | ClassifyCard.model_fields.keys()


def test_a_batch_is_computed_once(tmp_path: Path) -> None:
    cache = AnswerCache(open_store(tmp_path.as_uri()), tmp_path, InstructCard(**FIELDS), False, 1)
    assert cache.get("batch", lambda: [1, 2]) == [1, 2]
    assert cache.get("batch", lambda: pytest.fail("computed again")) == [1, 2]
