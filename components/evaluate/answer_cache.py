"""What models have answered already, kept in the store piece by piece: an evaluation that was cut goes on, and what
another run asked the same model the same way is not asked again.

evaluations/<key>/<piece>    JSON

The key is a digest of all that decides the answers to their last bit, the processor included: publish asks again and
wants the same bits.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from clinadapt.artifacts.artifact_cache import load, save
from clinadapt.artifacts.code_version import code_version, libraries
from clinadapt.artifacts.hashing import sha256_file, sha256_json
from clinadapt.models.adapter_card import AdapterCard
from clinadapt.storage.object_store import Store


class Kept:
    """The pieces of what one model answers."""

    def __init__(self, store: Store, folder: Path, card: AdapterCard, adapted: bool, asked: Any) -> None:
        """
        Args:
            store: where they are kept.
            folder, card: the adapter and what it says of itself.
            adapted: whether the adapter answers, or its base model without it.
            asked: all that is asked of it, as JSON.
        """
        facts = card.model_dump(exclude={"temperature", "temperature_ratio"})
        decides = {
            "weights": sha256_file(folder / "adapter_model.safetensors") if adapted else None,
            "card": facts if adapted else {key: facts.get(key) for key in _OF_BASE},
            "asked": asked,
            "processor": _processor(),
            "code": code_version(),
            "libraries": libraries(),
        }
        self._store, self.prefix = store, f"evaluations/{sha256_json(decides)[7:23]}"

    def piece(self, name: str, make: Callable[[], Any]) -> Any:
        """A piece as JSON gives it back: from the store, or what `make` makes, which goes there."""
        key = f"{self.prefix}/{name}"
        data = load(self._store, key)
        if data is None:
            data = json.dumps(make()).encode()
            save(self._store, key, data, "evaluate")
        return json.loads(data)


# Of an adapter's card, what decides the answers of its base model; those of a classifier come from an untrained head
_OF_BASE = ("recipe", "base_digest", "quantization", "precision", "length", "seed", "label_sets", "windows", "pooling")


def _processor() -> list[Any]:
    if torch.cuda.is_available():
        return [torch.cuda.get_device_name()]
    return [torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()]
