"""The memory estimate as a table."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from clinadapt.config.instruct import InstructTraining
from clinadapt.models.memory.instruct import HEADROOM


def memory_table(estimate: dict[str, Any], available: float) -> None:
    """Print a table of memory (GiB) by part and method to standard error, and how well each fits `available` bytes."""
    methods = estimate["methods"]
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    trainable = f"{estimate['adapter_parameters'] / 1e6:,.2f} M trainable with LoRA"
    console.print(f"{estimate['parameters'] / 1e6:,.1f} M parameters, {trainable}; peak memory of a training step:")
    table = Table()
    table.add_column("GiB")
    for name in methods:
        table.add_column(name, justify="right")
    for part in next(iter(methods.values())):
        table.add_row(
            part, *(f"{parts[part] / 2**30:.2f}" for parts in methods.values()), end_section=part == "context"
        )
    if "checkpointed" in estimate:
        table.add_row(
            "activations", *("recomputed" if estimate["checkpointed"][name] else "stored" for name in methods)
        )
    margins = ((available - parts["total"]) / 2**30 for parts in methods.values())
    fits = (f"yes, {margin:.1f} free" if margin >= 0 else f"no, {-margin:.1f} short" for margin in margins)
    table.add_row(f"fits {available / 2**30:.1f} GiB", *fits, style="bold")
    console.print(table)


def fit_table(estimates: list[dict[str, Any]], settings: InstructTraining, available: float) -> None:
    """Print a table of models by method to standard error: GiB at the peak, and whether they fit `available` bytes.

    Args:
        estimates: for each model `base_model`, `parameters` and `total_bytes` by method.
        settings: of the training.
        available: memory in bytes.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(
        f"peak GiB of training, batch {settings.per_device_train_batch_size} x {settings.max_length} tokens, rank "
        f"{settings.lora.r}, on a GPU of {available / 2**30:g} GiB (tight: less than a tenth of it free)"
    )
    table = Table()
    table.add_column("base model", overflow="fold")
    for name in ("size", "full", "LoRA 16-bit", "QLoRA nf4"):
        table.add_column(name, justify="right", no_wrap=True)
    for model in estimates:
        cells = [_fit(total, available) for total in model["total_bytes"].values()]
        name = model["base_model"].removeprefix("hf://").rpartition("/")[2]
        table.add_row(name, f"{model['parameters'] / 1e9:.2f} B", *cells)
    console.print(table)


def _fit(total: float, available: float) -> Text:
    if total > available:
        return Text(f"no {total / 2**30:.1f}", "dim")
    tight = total > (1 - HEADROOM) * available
    return Text(f"{'tight' if tight else 'yes'} {total / 2**30:.1f}", "yellow" if tight else "green")
