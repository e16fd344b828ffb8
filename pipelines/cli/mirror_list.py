"""What a site without a way out has to mirror: images and base models."""

from __future__ import annotations

from collections.abc import Iterator

from clinadapt.config.classify import ClassifyProfile
from clinadapt.config.image import IMAGE
from clinadapt.kubernetes.cluster import Cluster
from pipelines.named_settings import load_profile, profile_names

PYTHON = "python:3.11-slim-bookworm"  # of images/Containerfile
VLLM = "vllm/vllm-openai:v0.26.0"  # of manifests/components/serving


def needed(cluster: Cluster) -> Iterator[tuple[str, str, str]]:
    """(kind, name, used by) of everything; an image by digest where the cluster's settings name one.

    The images of Kubeflow Pipelines itself belong to its installation: `kubectl -n kubeflow get pods` tells them.
    """
    yield "image", cluster.cpu.image, "steps without a GPU"
    yield "image", cluster.gpu.image, "train, evaluate and publish on a GPU"
    yield "image", IMAGE.replace("/cpu:", "/review:"), "review page; its digest stands in manifests/overlays/airgap"
    yield "image", VLLM, "manifests/components/serving, where you use it"
    yield "image", PYTHON, "builds of the images above"
    for name in profile_names():
        profile = load_profile(name)
        base_model = (profile.train if isinstance(profile, ClassifyProfile) else profile.instruct).base_model
        if base_model.startswith("hf://"):
            yield "model", base_model, f"profile {name}"
        elif base_model.startswith("builtin://"):
            yield "model", base_model, f"profile {name}; comes with the images"
