"""A TrainJob of Kubeflow Trainer (2.2 or later): the pretrain or instruct stage of a profile on several nodes.

The profile gives the training settings and the resources of a node, the cluster image, nodes and volumes. The runtime
must have a torch policy and a container `node`, as Kubeflow's torch-distributed has: it sets rank and rendezvous of
each pod.
"""

from __future__ import annotations

import re
from typing import Any

from clinadapt.artifacts.hashing import sha256_json
from clinadapt.config.instruct import InstructProfile, NodesTask, Stage
from clinadapt.config.profile import AnyProfile
from clinadapt.config.resolve import resolve
from clinadapt.config.steps import Step
from clinadapt.errors import UserError
from clinadapt.kubernetes.cluster import CA, MODELS, SCRATCH, Affinity, Cluster, Nodes, scratch_size
from clinadapt.kubernetes.requests import requests

RUNTIME = "torch-distributed"
COMPONENT = "trainjob"  # pod label that manifests/base/networkpolicy.yaml selects
_NODE = "node"  # name of the runtime's job and container


def task_of(profile: AnyProfile, stage: Stage, splits: str, store: str, base_model: str | None) -> NodesTask:
    """The task of the nodes: a training stage with the settings that a run of the pipeline would give it.

    Raises:
        UserError: the recipe trains in one process, the profile has no such stage, the base model that pretrain makes
            is missing, or a URI is not on S3.
    """
    if not isinstance(profile, InstructProfile):
        raise UserError(f"profile '{profile.name}': {profile.recipe} trains on one GPU: use clinadapt submit")
    for name, uri in (("--splits", splits), ("--store", store)):
        if not uri.startswith("s3://"):
            raise UserError(f"{name} {uri}: nodes share no folder: give an s3:// URI")
    if stage == "pretrain" and profile.pretrain is None:
        raise UserError(f"profile '{profile.name}' has no section pretrain: leave --stage out")
    if stage == "instruct" and profile.pretrain and base_model is None:
        raise UserError(
            f"profile '{profile.name}' trains on the base model that pretrain makes: run --stage pretrain first and "
            "give the --base-model that its log prints"
        )
    steps = resolve(profile, {"base_model": base_model.rstrip("/")} if base_model else {})
    settings = steps["pretrain" if stage == "pretrain" else "train"]
    return NodesTask.model_validate(
        {
            "splits": splits.rstrip("/"),
            "store": store.rstrip("/"),
            "settings": settings["training"],
            "base_model": settings["base_model"] if stage == "pretrain" else "",
        }
    )


def render(
    profile: AnyProfile,
    cluster: Cluster,
    nodes: int,
    splits: str,
    store: str,
    stage: Stage = "instruct",
    base_model: str | None = None,
    runtime: str = RUNTIME,
) -> dict[str, Any]:
    """The TrainJob manifest; its name is derived from task, image, resources and number of nodes.

    Args:
        profile, cluster: settings of the run and of the cluster.
        nodes: number of nodes, each with the profile's `train_resources`.
        splits: URI of the output of format.
        store: URI of the store of the pipeline's runs, for checkpoints and training outputs.
        stage: the training stage.
        base_model: replaces the profile's; after pretrain, the base model that it made.
        runtime: name of a ClusterTrainingRuntime.

    Raises:
        UserError: as task_of.
    """
    task = task_of(profile, stage, splits, store, base_model)
    nodes_settings = cluster.gpu if profile.train_resources.gpu else cluster.cpu
    identity = [task.model_dump(), nodes, profile.train_resources.model_dump(), nodes_settings.image]
    stem = re.sub("[^a-z0-9]+", "-", profile.name.lower()).strip("-")[:30]
    name = f"train-{stem}-{sha256_json(identity)[7:15]}"
    step: Step = "pretrain" if stage == "pretrain" else "train"
    labels = cluster.pod_labels(COMPONENT)
    pod = {"metadata": {"labels": labels}, "spec": _pod(profile, cluster, nodes_settings)}
    job = {"name": _NODE, "template": {"spec": {"template": pod}}}
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": name, "labels": {**labels}},
        "spec": {
            "runtimeRef": {"name": runtime},
            "activeDeadlineSeconds": cluster.timeouts.model_dump()[step],
            "trainer": {
                "image": nodes_settings.image,
                "command": ["python", "-m", "components.train.multi_node"],
                "args": [task.model_dump_json()],
                "env": _environment(profile, cluster, step),
                "numNodes": nodes,
                "numProcPerNode": max(1, profile.train_resources.gpu),
                "resourcesPerNode": _resources(profile, cluster, step),
            },
            "runtimePatches": [
                {
                    "manager": "clinadapt",
                    "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [job]}}},
                }
            ],
        },
    }


def packs_per_step(manifest: dict[str, Any]) -> int:
    """Packs in one optimizer step, over all processes."""
    trainer = manifest["spec"]["trainer"]
    settings = NodesTask.model_validate_json(trainer["args"][0]).settings
    each = settings.per_device_train_batch_size * settings.gradient_accumulation_steps
    return each * trainer["numNodes"] * trainer["numProcPerNode"]


def _resources(profile: AnyProfile, cluster: Cluster, step: Step) -> dict[str, Any]:
    resources = profile.train_resources
    limits: dict[str, Any] = {"cpu": resources.cpu, "memory": resources.memory}
    if resources.gpu:
        limits[cluster.gpu.resource or resources.gpu_type] = str(resources.gpu)
    return {"requests": dict(zip(("cpu", "memory"), requests(profile, step), strict=True)), "limits": limits}


def _environment(profile: AnyProfile, cluster: Cluster, step: Step) -> list[dict[str, Any]]:
    """Secrets by reference, and the paths of scratch space, base models and certificates."""
    gpu = {"CLINADAPT_GPU": "1"} if profile.train_resources.gpu else {}
    values = gpu | cluster.environment(step)
    return [
        *({"name": name, "value": value} for name, value in values.items()),
        *(
            {
                "name": key,
                "valueFrom": {"secretKeyRef": {"name": secret.name, "key": key, "optional": secret.optional}},
            }
            for secret in cluster.secrets_of(step)
            for key in secret.keys
        ),
    ]


def _pod(profile: AnyProfile, cluster: Cluster, nodes: Nodes) -> dict[str, Any]:
    """Patch for the runtime's pods: volumes, scheduling, and the restricted Pod Security Standard."""
    volumes = _volumes(profile, cluster)
    user = {"runAsUser": cluster.user, "runAsGroup": cluster.group, "fsGroup": cluster.group}
    container = {
        "name": _NODE,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": name, "mountPath": path} | ({"readOnly": True} if name == "ca" else {})
            for name, (path, _) in volumes.items()
        ],
    }
    spec = {
        "securityContext": {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
            **{name: number for name, number in user.items() if number is not None},
        },
        "containers": [container],
        "volumes": [{"name": name, **source} for name, (_, source) in volumes.items()],
        "nodeSelector": nodes.node_selector,
        "tolerations": [toleration.model_dump(exclude_none=True) for toleration in nodes.tolerations],
        "imagePullSecrets": [{"name": name} for name in cluster.image_pull_secrets],
        "serviceAccountName": cluster.service_account,
        "affinity": _affinity(nodes.affinity),
    }
    return {name: value for name, value in spec.items() if value}


def _volumes(profile: AnyProfile, cluster: Cluster) -> dict[str, tuple[str, dict[str, Any]]]:
    """Name -> (mount path, volume source)."""
    size = scratch_size(profile, cluster)
    claim: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size}},
        "storageClassName": cluster.scratch.storage_class,
    }
    scratch = (
        {"ephemeral": {"volumeClaimTemplate": {"spec": claim}}}
        if cluster.scratch.storage_class
        else {"emptyDir": {"sizeLimit": size}}
    )
    volumes: dict[str, tuple[str, dict[str, Any]]] = {
        "tmp": ("/tmp", {"emptyDir": {}}),
        "shared-memory": ("/dev/shm", {"emptyDir": {"medium": "Memory", "sizeLimit": cluster.shared_memory}}),
        "scratch": (SCRATCH, scratch),
    }
    if cluster.model_cache:
        volumes["models"] = (MODELS, {"persistentVolumeClaim": {"claimName": cluster.model_cache}})
    if ca := cluster.ca_bundle:
        volumes["ca"] = (CA, {"configMap": {"name": ca.config_map}})
    return volumes


def _affinity(affinity: list[Affinity]) -> dict[str, Any]:
    """Node affinity of a pod spec; empty without terms."""
    terms = [(a.weight, {"matchExpressions": [e.model_dump() for e in a.expressions]}) for a in affinity]
    preferred = [{"weight": weight, "preference": term} for weight, term in terms if weight is not None]
    required = [term for weight, term in terms if weight is None]
    node: dict[str, Any] = {}
    if preferred:
        node["preferredDuringSchedulingIgnoredDuringExecution"] = preferred
    if required:
        node["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": required}
    return {"nodeAffinity": node} if node else {}
