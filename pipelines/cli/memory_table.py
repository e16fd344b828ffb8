"""The memory estimate as a table."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table


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
