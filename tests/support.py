"""What fixtures and tests share by name."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MTSAMPLES = ROOT.parent / "shared/data/mtsamples/mtsamples.csv.xz"
SOURCE = "builtin://cases?rows=240&seed=7"
LENIENT = {"gain_over_before": -1.0, "gain_over_majority": -1.0}  # lets a barely trained adapter through

Clinadapt = Callable[..., subprocess.CompletedProcess[str]]
WriteProfile = Callable[..., Path]


def quiet_environment() -> dict[str, str]:
    """This process's environment without the settings of a user of Clinadapt."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CLINADAPT_")}


@dataclass(frozen=True)
class Run:
    """A finished `clinadapt run`: how to run it again, its JSON, its home and its store."""

    command: list[str]
    result: dict[str, Any]
    home: Path
    store: Path

    @property
    def outputs(self) -> Path:
        """The folder of the pipeline's outputs, one folder a step below it. Later runs in this home follow it."""
        return min((self.home / "outputs").iterdir())

    @property
    def version(self) -> Path:
        """The folder of the published version."""
        return self.store / "adapters/specialty" / self.result["run_key"]
