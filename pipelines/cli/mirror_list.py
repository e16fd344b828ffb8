"""The images and base models that a site without internet access has to mirror."""

from __future__ import annotations

from collections.abc import Iterator

from clinadapt.config.classify import ClassifyProfile
from clinadapt.config.image import IMAGE
from clinadapt.kubernetes.cluster import Cluster
from pipelines.named_settings import load_profile, profile_names

PYTHON = "python:3.11-slim-bookworm"  # as in images/Containerfile
# Of Kubeflow Pipelines 2.17, started for each run only: V2_DRIVER_IMAGE and V2_LAUNCHER_IMAGE of the deployment
# ml-pipeline, --executor-image of workflow-controller
KUBEFLOW_PIPELINES = {
    "ghcr.io/kubeflow/kfp-driver:2.17.0": "driver of each step",
    "ghcr.io/kubeflow/kfp-launcher:2.17.0": "launcher in each step",
    "quay.io/argoproj/argoexec:v4.0.5": "Argo's executor in each step",
}
VLLM = "vllm/vllm-openai:v0.26.0"  # as in manifests/components/serving


def needed(cluster: Cluster) -> Iterator[tuple[str, str, str]]:
    """Yield (kind, name, used by) of every image and model; an image by digest if the cluster's settings have one.

    Of Kubeflow Pipelines itself only the images that no running pod shows: see `kubectl -n kubeflow get pods`.
    """
    yield "image", cluster.cpu.image, "steps without a GPU"
    yield "image", cluster.gpu.image, "train, evaluate and publish on a GPU"
    yield "image", IMAGE.replace("/cpu:", "/review:"), "review page; its digest is in manifests/overlays/airgap"
    yield "image", VLLM, "manifests/components/serving, if used"
    yield "image", PYTHON, "builds of the images above"
    yield from (("image", image, use) for image, use in KUBEFLOW_PIPELINES.items())
    for name in profile_names():
        profile = load_profile(name)
        base_model = (profile.train if isinstance(profile, ClassifyProfile) else profile.instruct).base_model
        if base_model.startswith("hf://"):
            yield "model", base_model, f"profile {name}"
        elif base_model.startswith("builtin://"):
            yield "model", base_model, f"profile {name}; included in the images"
