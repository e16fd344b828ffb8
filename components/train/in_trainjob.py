"""A training step that hands its training to a TrainJob, whose pods come back when they are lost.

The step holds no model and imports no torch. What it needs to know lies in the store and in the TrainJob, so that
another attempt of it goes on where this one was lost.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from clinadapt.artifacts.artifact_cache import fetch_folder, load
from clinadapt.artifacts.code_version import step_code_version
from clinadapt.artifacts.hashing import read_json, sha256_json
from clinadapt.artifacts.manifest import MANIFEST, DamagedFolder, write_manifest
from clinadapt.artifacts.sealed_folder import SealedFolder
from clinadapt.artifacts.step_record import RUN, log
from clinadapt.config.nodes_task import NodesTask
from clinadapt.errors import UserError
from clinadapt.kubernetes.api import in_cluster
from clinadapt.kubernetes.trainjobs import TEMPLATE, TrainJobs, fill, result_key
from clinadapt.storage import open_store
from clinadapt.storage.object_store import CorruptObject, Store


def run(
    stage: str,
    splits: Path,
    output: Path,
    settings: Any,
    store_uri: str,
    base_model: str = "",
    adapter: Path | None = None,
) -> dict[str, Any]:
    """Train in a TrainJob, or take what one has trained already.

    Args:
        stage: classify, instruct, pretrain or prefer.
        splits: the folder that format wrote.
        output: folder for the result.
        settings: of the stage.
        store_uri: of the store; the nodes read splits and leave checkpoints and result there.
        base_model: of pretrain.
        adapter: of prefer, the folder that train wrote.

    Returns:
        The content of training.json.

    Raises:
        UserError: the TrainJob failed or was refused, or its result is not in the store.
    """
    store = open_store(store_uri)
    step = stage if stage in ("pretrain", "prefer") else "train"
    code = step_code_version(step, stage)
    inputs = [splits, adapter] if adapter else [splits]
    digests = [read_json(folder / MANIFEST)["digest"] for folder in inputs]
    prefix = f"splits/{sha256_json([digests, code, base_model, settings.model_dump()])[7:23]}"
    # Of this training, so that its end may remove them
    shared = [SealedFolder(store, f"{prefix}{suffix}") for suffix in ("", "-adapter")[: len(inputs)]]
    task = NodesTask(
        splits=f"{store.uri}/{shared[0].prefix}",
        store=store.uri,
        code_version=code,
        adapter=f"{store.uri}/{shared[1].prefix}" if adapter else "",
        digests=digests,
        base_model=base_model,
        settings=settings,
    )
    if (training := _fetch(store, task, splits, output, adapter)) is not None:
        log(step, "this training is done already, its result is taken from the store")
        _delete(shared)  # left by an attempt that was lost after it had finished
        return training
    for folder, copy in zip(inputs, shared, strict=True):
        if not copy.exists():
            copy.publish(folder)
    manifest = fill(json.loads(os.environ[TEMPLATE]), task)
    TrainJobs(in_cluster(), os.environ[RUN], lambda line: log(step, line)).train(manifest)
    training = _fetch(store, task, splits, output, adapter)
    if training is None:
        raise UserError(
            f"TrainJob {manifest['metadata']['name']} is complete and its result is not in {store.uri}, or "
            "not signed by our key: compare the store and the keys of its pods with those of this step"
        )
    _delete(shared)
    return training


def _delete(folders: list[SealedFolder]) -> None:
    for folder in folders:
        folder.delete()


def _fetch(store: Store, task: NodesTask, splits: Path, output: Path, adapter: Path | None) -> dict[str, Any] | None:
    """Download and verify a task's result; None where there is none (any more), or it is not signed by our key."""
    if (found := load(store, result_key(task))) is None:
        return None
    try:
        manifest = fetch_folder(SealedFolder(store, json.loads(found)["trained"]), output)
    except (KeyError, DamagedFolder, CorruptObject):
        return None
    digests = {name: manifest[name] for name in ("splits_digest", "base_digest")}
    inputs = {"splits": digests["splits_digest"], "base_model": digests["base_digest"]}
    previous = read_json((adapter or splits) / MANIFEST)
    if adapter:
        inputs["adapter"] = previous["digest"]
    step = task.step if manifest["chain"] else ""
    write_manifest(output, digests, step, inputs if step else {}, [previous] if step else [])
    return dict(read_json(output / "training.json"))
