"""Model outputs cached in the store, batch by batch: an interrupted evaluation resumes, and a later run reuses what the
same model answered to the same prompts.

evaluations/<key>/<batch>    JSON

The key is a hash of every input that affects the outputs bit by bit, the processor included, because publish generates
a sample again and compares it bit by bit.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from clinadapt.artifacts.artifact_cache import load, save
from clinadapt.artifacts.code_version import code_version, library_versions
from clinadapt.artifacts.hashing import sha256_file, sha256_json
from clinadapt.models.adapter_card import AdapterCard
from clinadapt.storage.object_store import Store

# Fields of an adapter card that determine the outputs of its base model without the adapter. A classifier's base has an
# untrained head drawn from the seed.
_BASE_FIELDS = ("recipe", "base_digest", "quantization", "precision", "max_length", "seed", "label_sets", "windows",
                "pooling")  # fmt: skip


class AnswerCache:
    """Cached outputs of one model for one set of prompts."""

    def __init__(self, store: Store, folder: Path, card: AdapterCard, use_adapter: bool, prompts: Any) -> None:
        """
        Args:
            store: where outputs are cached.
            folder: of the adapter.
            card: of the adapter.
            use_adapter: False for the outputs of the base model without the adapter.
            prompts: the texts and the generation settings, as JSON.
        """
        fields = card.model_dump(exclude={"temperature", "temperature_ratio", "unsure_below"})
        inputs = {
            "weights": sha256_file(folder / "adapter_model.safetensors") if use_adapter else None,
            "card": fields if use_adapter else {name: fields.get(name) for name in _BASE_FIELDS},
            "prompts": prompts,
            "processor": _processor(),
            "code": code_version(f"components.evaluate.{fields['recipe']}"),
            "libraries": library_versions(),
        }
        self._store, self.prefix = store, f"evaluations/{sha256_json(inputs)[7:23]}"

    def get(self, name: str, compute: Callable[[], Any]) -> Any:
        """Return the cached JSON of a batch; on a miss, call `compute` and cache its result."""
        key = f"{self.prefix}/{name}"
        data = load(self._store, key)
        if data is None:
            data = json.dumps(compute()).encode()
            save(self._store, key, data, "evaluate")
        return json.loads(data)


def _processor() -> list[Any]:
    if torch.cuda.is_available():
        return [torch.cuda.get_device_name()]
    return [torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()]
