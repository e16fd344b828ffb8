"""What a step's pod asks the scheduler for, and how many threads it starts. Its limits are the profile's resources.

A pod without requests is taken to ask for its limits: a small step would wait for a node with room for a large one.
The figures are what the steps were measured to need, rounded up (docs/requests.md).
"""

from __future__ import annotations

from kubernetes.utils.quantity import parse_quantity

from clinadapt.config.base import Resources
from clinadapt.config.profile import AnyProfile
from clinadapt.config.steps import Step
from clinadapt.errors import UserError
from clinadapt.kubernetes.cluster import WITH_BASE_MODEL

_CPU = "100m"
_MEMORY: dict[Step, str] = {
    "preflight": "768Mi",
    "download": "512Mi",
    "screen": "1Gi",
    "synthesize": "1Gi",
    "format": "2Gi",
    "lookup": "256Mi",
    "gate": "512Mi",
    "summarise": "256Mi",
    "monitor": "512Mi",
}


def limits(profile: AnyProfile, step: Step) -> Resources:
    """The resources of the profile that limit a step; prefer trains in one process, on one GPU."""
    if step not in WITH_BASE_MODEL:
        return profile.resources
    resources = profile.train_resources
    return resources.model_copy(update={"gpu": min(1, resources.gpu)}) if step == "prefer" else resources


def threads(profile: AnyProfile, step: Step) -> dict[str, str]:
    """Variables for OpenMP and BLAS: a thread for each CPU of a step's limit, shared by its processes, one a GPU.

    Left alone, torch starts a thread for each CPU of the node, and Kubernetes stops them all once they have used up the
    limit. A thread that waits sleeps; one that spins would use it up too.
    """
    resources = limits(profile, step)
    cpus = int(parse_quantity(resources.cpu)) // max(1, resources.gpu)
    return {"OMP_NUM_THREADS": str(max(1, cpus)), "OMP_WAIT_POLICY": "PASSIVE"}


def requests(profile: AnyProfile, step: Step) -> tuple[str, str]:
    """(CPU, memory) that a step's pod asks for: those of the profile, else the table's. Steps that load the base model
    ask for their limits unless the profile says otherwise.

    Raises:
        UserError: a request is larger than its limit, which Kubernetes would refuse.
    """
    resources = limits(profile, step)
    if step in WITH_BASE_MODEL:
        asked = resources.cpu_request or resources.cpu, resources.memory_request or resources.memory
    else:
        asked = resources.cpu_request or _CPU, resources.memory_request or _MEMORY[step]
    for name, value, limit in zip(("cpu", "memory"), asked, (resources.cpu, resources.memory), strict=True):
        if parse_quantity(value) > parse_quantity(limit):
            raise UserError(f"profile '{profile.name}': {step} asks for {value} of {name}, its limit is {limit}")
    return asked
