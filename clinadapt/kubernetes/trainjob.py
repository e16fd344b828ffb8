"""A TrainJob of Kubeflow Trainer (2.2 or later): the pretrain or instruct stage of a profile on several nodes.

The profile gives the training settings and the resources of a node, the cluster image, nodes and volumes. The runtime
must have a torch policy and a container `node`, as Kubeflow's torch-distributed has: it sets rank and rendezvous of
each pod.
"""

from __future__ import annotations

import re
from typing import Any

from clinadapt.artifacts.code_version import step_code_version
from clinadapt.artifacts.manifest import IMAGE as IMAGE_VARIABLE
from clinadapt.config.instruct import InstructProfile, Stage
from clinadapt.config.nodes_task import NodesTask
from clinadapt.config.profile import AnyProfile
from clinadapt.config.resolve import resolve
from clinadapt.config.steps import Step
from clinadapt.errors import UserError
from clinadapt.kubernetes.cluster import CA, DIGEST, MODELS, SCRATCH, Affinity, Cluster, Nodes, scratch_size
from clinadapt.kubernetes.requests import limits, requests, threads
from clinadapt.kubernetes.trainjobs import fill

RUNTIME = "torch-distributed"
COMPONENT = "trainjob"  # pod label that manifests/base/networkpolicy.yaml selects
_MANAGER = "clinadapt.io/trainjob"  # Kubeflow Trainer refuses one that is not a path with a domain
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
        if not uri.startswith(("s3://", "minio://") if name == "--splits" else "s3://"):
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
            "code_version": step_code_version("pretrain" if stage == "pretrain" else "train", profile.recipe),
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
    runtime: str | None = None,
) -> dict[str, Any]:
    """The TrainJob manifest of a training stage. The training steps of a pipeline create the same one.

    Args:
        profile, cluster, nodes, runtime: as of `template`.
        splits: URI of the output of format.
        store: URI of the store of the pipeline's runs, for checkpoints and training outputs.
        stage: the training stage.
        base_model: replaces the profile's; after pretrain, the base model that it made.

    Raises:
        UserError: as task_of.
    """
    task = task_of(profile, stage, splits, store, base_model)
    step: Step = "pretrain" if stage == "pretrain" else "train"
    return fill(template(profile, cluster, nodes, step, runtime), task)


def template(
    profile: AnyProfile, cluster: Cluster, nodes: int, step: Step, runtime: str | None = None
) -> dict[str, Any]:
    """The TrainJob manifest without its task; `metadata.name` is a prefix (see clinadapt.kubernetes.trainjobs.fill).

    Args:
        profile, cluster: settings of the run and of the cluster.
        nodes: number of nodes, each with the profile's `train_resources`.
        step: pretrain, train or prefer, which trains in one process, on one GPU.
        runtime: name of a ClusterTrainingRuntime; None: the TrainingRuntime of the cluster's settings, or
            Kubeflow's torch-distributed where they name no trainer.
    """
    nodes_settings = cluster.gpu if profile.train_resources.gpu else cluster.cpu
    stem = re.sub("[^a-z0-9]+", "-", profile.name.lower()).strip("-")[:30]
    labels = cluster.pod_labels(COMPONENT)
    pod = {"metadata": {"labels": labels}, "spec": _pod(profile, cluster, nodes_settings)}
    job = {"name": _NODE, "template": {"spec": {"template": pod}}}
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": f"{step}-{stem}", "labels": {**labels, **cluster.queue_labels()}},
        "spec": {
            "runtimeRef": _runtime_ref(cluster, runtime),
            "activeDeadlineSeconds": cluster.timeouts.model_dump()[step],
            "trainer": {
                "image": nodes_settings.image,
                "command": ["python", "-m", "components.train.multi_node"],
                "args": [],
                "env": _environment(profile, cluster, step, nodes_settings.image),
                "numNodes": nodes,
                "numProcPerNode": max(1, limits(profile, step).gpu),
                "resourcesPerNode": _resources(profile, cluster, step),
            },
            "runtimePatches": [
                {
                    "manager": _MANAGER,
                    "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [job]}}},
                }
            ],
        },
    }


def _runtime_ref(cluster: Cluster, runtime: str | None) -> dict[str, str]:
    if runtime or not cluster.trainer:
        return {"name": runtime or RUNTIME}
    return {"apiGroup": "trainer.kubeflow.org", "kind": "TrainingRuntime", "name": cluster.trainer.runtime}


def packs_per_step(manifest: dict[str, Any]) -> int:
    """Packs in one optimizer step, over all processes."""
    trainer = manifest["spec"]["trainer"]
    settings = NodesTask.model_validate_json(trainer["args"][0]).settings
    each = settings.per_device_train_batch_size * settings.gradient_accumulation_steps
    return each * trainer["numNodes"] * trainer["numProcPerNode"]


def _resources(profile: AnyProfile, cluster: Cluster, step: Step) -> dict[str, Any]:
    resources = limits(profile, step)
    bounds: dict[str, Any] = {"cpu": resources.cpu, "memory": resources.memory}
    if resources.gpu:
        bounds[cluster.gpu.resource or resources.gpu_type] = str(resources.gpu)
    return {"requests": dict(zip(("cpu", "memory"), requests(profile, step), strict=True)), "limits": bounds}


def _environment(profile: AnyProfile, cluster: Cluster, step: Step, image: str) -> list[dict[str, Any]]:
    """Secrets by reference, and the paths of scratch space, base models and certificates."""
    gpu = {"CLINADAPT_GPU": "1"} if profile.train_resources.gpu else {}
    digest = {IMAGE_VARIABLE: image} if re.search(DIGEST, image) else {}
    values = gpu | digest | cluster.environment(loads_model=True) | threads(profile, step)
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
        "serviceAccountName": "" if cluster.trainer else cluster.service_account,
        "terminationGracePeriodSeconds": cluster.trainer.grace_seconds if cluster.trainer else None,
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
