"""Flags in a store, for tests of what they teach."""

from __future__ import annotations

from typing import Any

from clinadapt.feedback.flags import flag_answer, flag_label
from clinadapt.storage.object_store import Store


def flag(store: Store, note: str, instruction: str, correction: str, who: str = "rita", **fields: Any) -> str:
    """Flag the answer of an adapter, published or made up; returns the key of the record."""
    values = {"answer": "Nothing of the kind.", "version": "answers/v1", "fault": "wrong", **fields}
    _publish(store, values["version"])
    answer = {"instruction": instruction, "answer": values["answer"], "complete": True, "trimmed_tokens": 0}
    answer["adapter"] = f"{store.uri}/adapters/{values['version']}"
    return flag_answer((note, answer), values["fault"], correction, "", who).removeprefix(f"{store.uri}/")


def flag_a_label(store: Store, note: str, label: str, correction: str, who: str = "rita") -> str:
    """Flag the label of a made-up adapter; returns the key of the record."""
    _publish(store, "labels/v1")
    answer = {"predicted_class": 0, "label": label, "probabilities": {label: 1.0}}
    answer["adapter"] = f"{store.uri}/adapters/labels/v1"
    return flag_label((note, answer), correction, "", who).removeprefix(f"{store.uri}/")


def _publish(store: Store, version: str) -> None:
    key = f"adapters/{version}/manifest.json"
    if not store.exists(key):
        store.put(key, b"{}")
