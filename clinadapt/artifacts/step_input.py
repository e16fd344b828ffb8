"""The input folders of a step, which Kubeflow Pipelines' cache may hand out after their objects were removed."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.artifacts.step_record import RUN
from clinadapt.errors import UserError
from clinadapt.storage import open_store
from clinadapt.storage.object_store import Store

_GENERATION = "cache/generation"  # key of the store; its value is among the inputs of every step that is cached


def input_folder(artifact: Any, store_uri: str) -> Path:
    """The folder of an input artifact.

    Where its files are gone, the outputs that were cached until now are given up: the next run makes them again.

    Args:
        artifact: of KFP.
        store_uri: of the store.

    Raises:
        UserError: the files are gone.
    """
    folder = Path(artifact.path)
    if not (folder / MANIFEST).is_file():
        with suppress(UserError):
            open_store(store_uri).put(_GENERATION, os.environ.get(RUN, "").encode())
        raise UserError(
            f"the input {artifact.uri} is gone, though Kubeflow Pipelines' cache refers to it (a "
            "lifecycle rule, or another pipeline root): run again, the steps before this one then run anew"
        )
    return folder


def cache_generation(store: Store) -> str:
    """Name of the run that last found an input gone; empty if none did."""
    try:
        return store.get(_GENERATION)[0].decode()
    except KeyError:
        return ""
