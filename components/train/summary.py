"""The part of training.json that goes into the record of a training step."""

from typing import Any

_FIELDS = (
    "seconds",
    "peak_memory_bytes",
    "tokens_per_second",
    "trainable_parameters",
    "checkpoints",
    "checkpoint_blocking_ms",
)


def step_summary(training: dict[str, Any]) -> dict[str, Any]:
    """Costs and validation loss of a training, from the content of its training.json."""
    best = min(entry["validation_loss"] for entry in training["curve"] if "validation_loss" in entry)
    return {"best_validation_loss": best} | {name: training[name] for name in _FIELDS}
