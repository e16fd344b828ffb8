"""The memory that a training step can use."""

from __future__ import annotations

import os

from kubernetes.utils.quantity import parse_quantity

from clinadapt.config.base import Resources


def capacity(resources: Resources) -> tuple[str, float]:
    """The device that trains and its memory in bytes: of the GPU if there is one; else on a cluster the memory limit of
    the train step (preflight's own is lower), elsewhere the machine's memory."""
    if resources.gpu:
        return "cuda", resources.gpu_memory
    return "cpu", float(parse_quantity(resources.memory)) if on_cluster() else machine_memory()


def on_cluster() -> bool:
    """Whether this process runs in a pod."""
    return "KUBERNETES_SERVICE_HOST" in os.environ


def machine_memory() -> int:
    """Memory of this machine in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
