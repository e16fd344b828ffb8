"""The memory that a training step can have."""

from __future__ import annotations

import os

from kubernetes.utils.quantity import parse_quantity

from clinadapt.config.base import Resources


def capacity(resources: Resources) -> tuple[str, float]:
    """The device that trains, and its bytes of memory: without a GPU, on a cluster what the train step is given, for
    this step has less; elsewhere what the machine has."""
    if resources.gpu:
        return "cuda", resources.gpu_memory_gib * 2**30
    return "cpu", float(parse_quantity(resources.memory)) if on_cluster() else machine_memory()


def on_cluster() -> bool:
    """Whether this is a pod."""
    return "KUBERNETES_SERVICE_HOST" in os.environ


def machine_memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
