"""A TrainJob of Kubeflow Trainer (2.2 or later): a profile's pretrain or instruct stage on several nodes.

The profile says what is trained and what a node has, the cluster's settings where. The runtime has to be one with torch
policy and a container `node`, as Kubeflow's own torch-distributed: it gives each pod its rank and where they meet.
"""

from __future__ import annotations

import re
from typing import Any

from clinadapt.artifacts.hashing import sha256_json
from clinadapt.config.instruct import InstructProfile, NodesTask, Stage
from clinadapt.config.profile import AnyProfile
from clinadapt.config.resolve import resolve
from clinadapt.errors import UserError
from clinadapt.kubernetes.cluster import CA, MODELS, SCRATCH, Affinity, Cluster, Nodes, Step, scratch_size

RUNTIME = "torch-distributed"
COMPONENT = "trainjob"  # label of the pods, which manifests/base/networkpolicy.yaml lets talk to each other
_NODE = "node"  # what the runtime calls its job and its container


def task_of(profile: AnyProfile, stage: Stage, splits: str, store: str, base_model: str | None) -> NodesTask:
    """What the nodes do: the stage with the very settings that a run of the pipeline gives it.

    Raises:
        UserError: the recipe trains in one process, the profile has no such stage, the base model that pretrain makes
            is not named, or a place is none that several nodes reach.
    """
    if not isinstance(profile, InstructProfile):
        raise UserError(f"profile '{profile.name}': {profile.recipe} trains on one GPU: use clinadapt submit")
    for name, uri in (("--splits", splits), ("--store", store)):
        if not uri.startswith("s3://"):
            raise UserError(f"{name} {uri}: the nodes share no folder: name it as s3://bucket/prefix")
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
    """The TrainJob. Its name follows from what is trained, where and on how many nodes.

    Args:
        profile, cluster: as elsewhere.
        nodes: how many; each has what `train_resources` of the profile says.
        splits: the folder that format wrote, by its URI.
        store: where the state of training goes, and what it comes to; that of the pipeline's runs.
        stage: what is trained.
        base_model: another one than the profile's; of instruct after pretrain the one it made.
        runtime: a ClusterTrainingRuntime.

    Raises:
        UserError: as task_of.
    """
    task = task_of(profile, stage, splits, store, base_model)
    place = cluster.gpu if profile.train_resources.gpu else cluster.cpu
    decided = [task.model_dump(), nodes, profile.train_resources.model_dump(), place.image]
    stem = re.sub("[^a-z0-9]+", "-", profile.name.lower()).strip("-")[:30]
    name = f"train-{stem}-{sha256_json(decided)[7:15]}"
    step: Step = "pretrain" if stage == "pretrain" else "train"
    labels = cluster.pod_labels(COMPONENT)
    pod = {"metadata": {"labels": labels}, "spec": _pod(profile, cluster, place)}
    job = {"name": _NODE, "template": {"spec": {"template": pod}}}
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": name, "labels": {**labels}},
        "spec": {
            "runtimeRef": {"name": runtime},
            "activeDeadlineSeconds": cluster.timeouts.model_dump()[step],
            "trainer": {
                "image": place.image,
                "command": ["python", "-m", "components.train.multi_node"],
                "args": [task.model_dump_json()],
                "env": _environment(profile, cluster, step),
                "numNodes": nodes,
                "numProcPerNode": max(1, profile.train_resources.gpu),
                "resourcesPerNode": {"limits": _limits(profile, cluster)},
            },
            "runtimePatches": [
                {
                    "manager": "clinadapt",
                    "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [job]}}},
                }
            ],
        },
    }


def packs_a_step(manifest: dict[str, Any]) -> int:
    """How many packs a step of the optimiser is over, all processes together."""
    trainer = manifest["spec"]["trainer"]
    settings = NodesTask.model_validate_json(trainer["args"][0]).settings
    each = settings.per_device_train_batch_size * settings.gradient_accumulation_steps
    return each * trainer["numNodes"] * trainer["numProcPerNode"]


def _limits(profile: AnyProfile, cluster: Cluster) -> dict[str, Any]:
    wanted = profile.train_resources
    limits: dict[str, Any] = {"cpu": wanted.cpu, "memory": wanted.memory}
    if wanted.gpu:
        limits[cluster.gpu.resource or wanted.gpu_type] = str(wanted.gpu)
    return limits


def _environment(profile: AnyProfile, cluster: Cluster, step: Step) -> list[dict[str, Any]]:
    """Secrets by reference, and where scratch, base models and certificates are."""
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


def _pod(profile: AnyProfile, cluster: Cluster, place: Nodes) -> dict[str, Any]:
    """What the pods of the runtime get beside image, command and resources; the restricted standard among it."""
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
        "nodeSelector": place.node_selector,
        "tolerations": [toleration.model_dump(exclude_none=True) for toleration in place.tolerations],
        "imagePullSecrets": [{"name": name} for name in cluster.image_pull_secrets],
        "serviceAccountName": cluster.service_account,
        "affinity": _affinity(place.affinity),
    }
    return {name: value for name, value in spec.items() if value}


def _volumes(profile: AnyProfile, cluster: Cluster) -> dict[str, tuple[str, dict[str, Any]]]:
    """Name -> (where it is mounted, what it is)."""
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


def _affinity(wanted: list[Affinity]) -> dict[str, Any]:
    """Node affinity in the words of Kubernetes; nothing where none is wanted."""
    terms = [(a.weight, {"matchExpressions": [e.model_dump() for e in a.expressions]}) for a in wanted]
    preferred = [{"weight": weight, "preference": term} for weight, term in terms if weight is not None]
    required = [term for weight, term in terms if weight is None]
    node: dict[str, Any] = {}
    if preferred:
        node["preferredDuringSchedulingIgnoredDuringExecution"] = preferred
    if required:
        node["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": required}
    return {"nodeAffinity": node} if node else {}
