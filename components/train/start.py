"""Where a training step trains: in a TrainJob, or in its own pod in one process or several."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from clinadapt.config.classify import ClassifyTraining
from clinadapt.config.instruct import InstructTraining, PreferenceTraining, Pretraining
from clinadapt.kubernetes.trainjobs import TEMPLATE
from clinadapt.storage import open_store


def train(
    stage: Literal["classify", "instruct", "pretrain", "prefer"],
    splits: Path,
    output: Path,
    settings: ClassifyTraining | InstructTraining | Pretraining | PreferenceTraining,
    store_uri: str,
    base_model: str = "",
    adapter: Path | None = None,
) -> dict[str, Any]:
    """Train a stage; return the content of its training.json. What trains is imported only where it trains.

    Args:
        stage: classify, instruct, pretrain or prefer.
        splits: the folder that format wrote.
        output: folder to write to.
        settings: of the stage.
        store_uri: of the store.
        base_model: of pretrain.
        adapter: of prefer, the folder that instruct wrote.

    Raises:
        UserError: see the run function of the stage, and of components.train.in_trainjob.
        KeyboardInterrupt: a signal stopped the training; the state is saved.
    """
    if TEMPLATE in os.environ:
        from components.train import in_trainjob

        return in_trainjob.run(stage, splits, output, settings, store_uri, base_model, adapter)
    return train_here(splits, output, settings, store_uri, base_model, adapter)


def train_here(
    splits: Path,
    output: Path,
    settings: ClassifyTraining | InstructTraining | Pretraining | PreferenceTraining,
    store_uri: str,
    base_model: str = "",
    adapter: Path | None = None,
) -> dict[str, Any]:
    """Train on this machine, on each of its GPUs. Arguments as of `train`."""
    from components.train import classify, dpo, instruct, pretrain
    from components.train.distributed import train_distributed
    from components.train.progress import check_gpu, gpus

    check_gpu()
    if isinstance(settings, ClassifyTraining):
        return classify.run(splits, output, settings, open_store(store_uri))
    if isinstance(settings, PreferenceTraining):
        assert adapter is not None
        return dpo.run(splits, adapter, output, settings, open_store(store_uri))
    if (processes := gpus()) > 1:
        return train_distributed(processes, splits, output, settings, store_uri, base_model)
    if isinstance(settings, Pretraining):
        return pretrain.run(splits, output, settings, base_model, open_store(store_uri))
    return instruct.run(splits, output, settings, open_store(store_uri))
