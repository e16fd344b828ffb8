"""What fixtures and tests share by name."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
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


def train_in_process(splits: Path, output: Path, settings: Any, store_uri: str, log: Path) -> None:
    """What the train step does, as the target of a process of its own; its lines are appended to `log`."""
    from components.common.steps import step
    from components.common.store import open_store
    from components.train.classify import run

    with log.open("a", buffering=1) as sys.stderr, step("train", store_uri):
        run(splits, output, settings, open_store(store_uri))


def incomplete(store: Any) -> list[str]:
    """Files of checkpoints that are not what a manifest in the store says they are. What is removed while this
    looks is none."""
    keys = [key for key in store.list("checkpoints/") if key.endswith("/manifest.json")]
    return [name for key in keys for name in _differing(store, key)]


def _differing(store: Any, key: str) -> list[str]:
    try:
        manifest = json.loads(store.get(key)[0])
    except KeyError:
        return []
    wrong = []
    for name, wanted in manifest["files"].items():
        place = f"{key.rpartition('/')[0]}/{name}"
        try:
            found = "sha256:" + hashlib.sha256(store.get(place)[0]).hexdigest()
        except KeyError:
            found = "missing"
        if found != wanted["sha256"]:
            wrong.append(f"{place} is {found}")
    return wrong if wrong and store.exists(key) else []
