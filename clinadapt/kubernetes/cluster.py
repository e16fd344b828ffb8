"""Settings of a cluster: images, nodes, secrets by name, volumes and limits."""

from __future__ import annotations

import math
import re
from typing import Literal

from kubernetes.utils.quantity import parse_quantity
from pydantic import Field, field_validator, model_validator

from clinadapt.config.base import Section
from clinadapt.config.image import IMAGE
from clinadapt.config.profile import AnyProfile
from clinadapt.config.steps import Step

WITH_BASE_MODEL: tuple[Step, ...] = (
    "pretrain",
    "train",
    "prefer",
    "evaluate",
    "publish",
)  # steps that load the base model, on a GPU where the profile has one
# That hand their training to a TrainJob where a cluster has one
IN_TRAINJOB: tuple[Step, ...] = ("pretrain", "train", "prefer")
RETRIED: tuple[Step, ...] = ("download", "screen", "synthesize", "format", *WITH_BASE_MODEL)  # the others take seconds
SCRATCH, MODELS, CA = "/scratch", "/models", "/etc/clinadapt/ca"  # mount paths
_TRUST = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE")
NO_SIDECAR = "sidecar.istio.io/inject"  # a mesh's sidecar gets no way through the network policies, and never ready
DIGEST = r"@sha256:[0-9a-f]{64}$"
_NAME = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"  # of a Kubernetes object
_QUANTITY = r"^[1-9][0-9]*(Mi|Gi|Ti)$"
_ROOM = 2**30  # bytes beside the base model, as preflight asks for


class Toleration(Section):
    """A toleration of Kubernetes. No `effect` means every effect."""

    key: str
    operator: Literal["Equal", "Exists"] = "Exists"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None

    @model_validator(mode="after")
    def _value_where_equal(self) -> Toleration:
        if (self.operator == "Equal") != (self.value is not None):
            raise ValueError("operator Equal needs a value, Exists takes none")
        return self


class Expression(Section):
    """A node selector requirement of Kubernetes."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    values: list[str] = []


class Affinity(Section):
    """A node selector term: all expressions must match. Preferred with a `weight`, required without; of several
    required terms one must match."""

    expressions: list[Expression] = Field(min_length=1)
    weight: int | None = Field(default=None, ge=1, le=100)


class Nodes(Section):
    """Image and nodes of pods.

    Attributes:
        image: with its registry; by digest where the cluster requires digests.
        node_selector: required node labels.
        tolerations, affinity: as in a pod spec.
    """

    image: str = Field(default=IMAGE, min_length=1)
    node_selector: dict[str, str] = {}
    tolerations: list[Toleration] = []
    affinity: list[Affinity] = []


class GpuNodes(Nodes):
    """Image and nodes of the steps that load the base model, for profiles with a GPU.

    Attributes:
        resource: resource name of the GPUs where it differs from the profile's (nvidia.com/mig-3g.20gb, amd.com/gpu);
            the profile sets the count.
    """

    image: str = Field(default=IMAGE.replace("/cpu:", "/gpu:"), min_length=1)
    resource: str | None = Field(default=None, pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")
    tolerations: list[Toleration] = [Toleration(key="nvidia.com/gpu", effect="NoSchedule")]


class Secret(Section):
    """A Kubernetes secret by name; never its values.

    Attributes:
        keys: keys of the secret, each an environment variable of the same name.
        steps: steps that get it; all when empty.
        optional: whether a step starts without it; preflight then reports what is missing.
    """

    name: str = Field(pattern=_NAME)
    keys: list[str] = Field(min_length=1)
    steps: list[Step] = []
    optional: bool = True


class ConfigMapKey(Section):
    """A ConfigMap key with PEM certificates: all that a step is to trust, public authorities included."""

    config_map: str = Field(pattern=_NAME)
    key: str = "ca.pem"


class Scratch(Section):
    """Scratch volume for a base model and checkpoints; it ends with the pod.

    Attributes:
        size: of the volume; derived from the profile's memory when None.
        storage_class: of an ephemeral volume. Without one it is an emptyDir, writable by any user; an ephemeral volume
            often belongs to root unless the cluster sets fsGroup, as OpenShift does.
    """

    size: str | None = Field(default=None, pattern=_QUANTITY)
    storage_class: str | None = None


class Retry(Section):
    """Retries of a step whose pod was lost (preemption, drained node), with exponential backoff."""

    times: int = Field(default=5, ge=0)
    wait_seconds: int = Field(default=30, ge=0)
    factor: int = Field(default=2, ge=1)  # Argo reads a whole number and fails on any other


class Timeouts(Section):
    """Deadline of each step's pod, in seconds."""

    preflight: int = Field(default=900, ge=60)
    download: int = Field(default=4 * 3600, ge=60)
    screen: int = Field(default=12 * 3600, ge=60)
    synthesize: int = Field(default=12 * 3600, ge=60)
    format: int = Field(default=2 * 3600, ge=60)
    lookup: int = Field(default=900, ge=60)
    pretrain: int = Field(default=24 * 3600, ge=60)
    train: int = Field(default=24 * 3600, ge=60)
    prefer: int = Field(default=12 * 3600, ge=60)
    evaluate: int = Field(default=6 * 3600, ge=60)
    gate: int = Field(default=900, ge=60)
    publish: int = Field(default=2 * 3600, ge=60)
    summarise: int = Field(default=900, ge=60)
    monitor: int = Field(default=1800, ge=60)


class Trainer(Section):
    """Kubeflow Trainer, where training steps hand their training to a TrainJob.

    Attributes:
        runtime: name of the TrainingRuntime in the namespace of the runs (manifests/components/trainer).
        nodes: number of nodes, each with the profile's `train_resources`; classify trains on one.
        queue, priority: of its TrainJobs, where they differ from the cluster's.
        grace_seconds: that a node has to save its state when it is stopped.
        on_stop: what becomes of a TrainJob whose run ends before it; a suspended one is resumed by the next run.
    """

    runtime: str = Field(default="clinadapt", pattern=_NAME)
    nodes: int = Field(default=1, ge=1)
    queue: str = Field(default="", pattern=f"^$|{_NAME}")
    priority: str = Field(default="", pattern=f"^$|{_NAME}")
    grace_seconds: int = Field(default=120, ge=1)
    on_stop: Literal["delete", "suspend"] = "delete"


STORE = Secret(
    name="clinadapt-store",
    keys=["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION"],
)
HUB = Secret(name="clinadapt-hub", keys=["HF_TOKEN"], steps=["preflight", "download", "format", *WITH_BASE_MODEL])
TEACHER = Secret(
    name="clinadapt-teacher",
    keys=["CLINADAPT_TEACHER_URL", "CLINADAPT_TEACHER_MODEL", "CLINADAPT_TEACHER_KEY"],
    steps=["preflight", "synthesize"],
)
PATIENTS = Secret(name="clinadapt-patients", keys=["CLINADAPT_PATIENT_KEY"], steps=["preflight", "download"])
PHI = Secret(name="clinadapt-phi", keys=["CLINADAPT_PHI_KEY"], steps=["preflight", "screen"])
JUDGE = Secret(
    name="clinadapt-judge",
    keys=["CLINADAPT_JUDGE_URL", "CLINADAPT_JUDGE_MODEL", "CLINADAPT_JUDGE_KEY"],
    steps=["preflight", "evaluate"],
)
MODEL_REGISTRY = Secret(
    name="clinadapt-model-registry",
    keys=["CLINADAPT_MODEL_REGISTRY_URL", "CLINADAPT_MODEL_REGISTRY_TOKEN"],
    steps=["publish"],
)
SIGNING = Secret(  # of all steps that write to the store, caches included
    name="clinadapt-signing",
    keys=["CLINADAPT_SIGNING_KEY"],
    steps=["preflight", "download", "synthesize", "format", *WITH_BASE_MODEL],
)
VERIFICATION = Secret(name="clinadapt-signing", keys=["CLINADAPT_VERIFY_KEY"])


class Cluster(Section):
    """One cluster.

    Attributes:
        digests_only: reject images that are not referenced by digest.
        cpu, gpu: image and nodes of the steps without and with a GPU.
        queue, priority: LocalQueue and WorkloadPriorityClass of Kueue, of the pods that train and of TrainJobs.
        ui: URL of the UI of Kubeflow Pipelines, for links to runs; the endpoint of the command when empty.
        service_account: of submitted and scheduled runs; the default of Kubeflow Pipelines when empty.
        image_pull_secrets, image_pull_policy: as in a pod spec.
        secrets: replaces the default list.
        ca_bundle: for TLS inspection, or a store with a private certificate.
        shared_memory: size of /dev/shm in the steps that load the base model; counts towards the step's memory.
        scratch, retry, timeouts: see their classes.
        model_cache: a ReadWriteMany claim that keeps base models between runs.
        deadline_seconds: deadline of a run.
        keep_seconds: how long the pods and logs of a finished run are kept; its record in the store stays.
        user, group: ids of the steps' processes, never 0; the image's when None. OpenShift assigns its own.
        trainer: Kubeflow Trainer, which restarts training that lost its pod; without it training runs in its step.
        time_zone: of cron schedules; CRON_SCHEDULE_TIMEZONE of ml-pipeline-scheduledworkflow.
        labels: added to every pod, beside app.kubernetes.io/name and app.kubernetes.io/component.
    """

    name: str
    description: str = ""
    digests_only: bool = False
    cpu: Nodes = Nodes()
    gpu: GpuNodes = GpuNodes()
    queue: str = Field(default="", pattern=f"^$|{_NAME}")
    priority: str = Field(default="", pattern=f"^$|{_NAME}")
    ui: str = Field(default="", pattern="^(https?://.*)?$")
    service_account: str = ""
    image_pull_secrets: list[str] = []
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    secrets: list[Secret] = [STORE, HUB, TEACHER, PATIENTS, PHI, JUDGE, MODEL_REGISTRY, SIGNING, VERIFICATION]
    ca_bundle: ConfigMapKey | None = None
    shared_memory: str = Field(default="1Gi", pattern=_QUANTITY)
    scratch: Scratch = Scratch()
    model_cache: str | None = Field(default=None, pattern=_NAME)
    retry: Retry = Retry()
    timeouts: Timeouts = Timeouts()
    deadline_seconds: int = Field(default=48 * 3600, ge=600)
    keep_seconds: int = Field(default=7 * 24 * 3600, ge=60)
    user: int | None = Field(default=None, ge=1)
    group: int | None = Field(default=None, ge=0)
    trainer: Trainer | None = None
    time_zone: str = "UTC"
    labels: dict[str, str] = {}

    @field_validator("labels")
    @classmethod
    def _check_labels(cls, labels: dict[str, str]) -> dict[str, str]:
        for value in labels.values():
            if not re.fullmatch(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?", value):
                raise ValueError("a label's value has at most 63 letters, digits, - _ and .")
        return labels

    @model_validator(mode="after")
    def _check_digests(self) -> Cluster:
        for nodes in (self.cpu, self.gpu):
            if self.digests_only and not re.search(DIGEST, nodes.image):
                raise ValueError(f"digests_only: name {nodes.image} by its digest, name@sha256:...")
        return self

    @model_validator(mode="after")
    def _check_suspension(self) -> Cluster:
        """Kueue starts what it has admitted and finds suspended."""
        if self.trainer and self.trainer.on_stop == "suspend" and (self.trainer.queue or self.queue):
            raise ValueError("trainer.on_stop: Kueue would resume what is suspended in its queue: use delete")
        return self

    def in_trainjob(self, step: Step) -> bool:
        """Whether a step hands its training to a TrainJob."""
        return self.trainer is not None and step in IN_TRAINJOB

    def secrets_of(self, step: Step) -> list[Secret]:
        """Secrets of a step."""
        return [secret for secret in self.secrets if not secret.steps or step in secret.steps]

    def pod_labels(self, component: str) -> dict[str, str]:
        """Labels of every pod of a component."""
        return {
            "app.kubernetes.io/name": "clinadapt",
            "app.kubernetes.io/component": component,
            NO_SIDECAR: "false",
            **self.labels,
        }

    def queue_labels(self) -> dict[str, str]:
        """Labels that Kueue reads, of what trains: a TrainJob, or the pod of a step that trains."""
        queue, priority = self.queue, self.priority
        if self.trainer:
            queue, priority = self.trainer.queue or queue, self.trainer.priority or priority
        labels = {"kueue.x-k8s.io/queue-name": queue, "kueue.x-k8s.io/priority-class": priority}
        return {name: value for name, value in labels.items() if value}

    def adapted(self, profile: AnyProfile) -> AnyProfile:
        """The profile with the resource name of this cluster's GPUs, by which the memory of a slice is known."""
        if not self.gpu.resource or not profile.train_resources.gpu:
            return profile
        resources = profile.train_resources.model_copy(update={"gpu_type": self.gpu.resource})
        return profile.model_copy(update={"train_resources": resources})

    def environment(self, loads_model: bool) -> dict[str, str]:
        """Environment variables with the paths of certificates and, where a pod loads the base model, of scratch space
        and base models."""
        variables = {}
        if loads_model:
            variables = {"TMPDIR": SCRATCH, "CLINADAPT_CACHE": MODELS if self.model_cache else f"{SCRATCH}/models"}
        if self.ca_bundle:
            variables |= dict.fromkeys(_TRUST, f"{CA}/{self.ca_bundle.key}")
        return variables


def scratch_size(profile: AnyProfile, cluster: Cluster) -> str:
    """Size of the scratch volume, derived from the memory that training may use.

    A base model that fits there in 16 bits or more needs at most as much disk; one that fits in 4 bits needs four times
    as much, since its files have 16.
    """
    if cluster.scratch.size:
        return cluster.scratch.size
    resources = profile.train_resources
    memory = resources.gpu_memory if resources.gpu else float(parse_quantity(resources.memory))
    widest = 4 if profile.training.quantization == "nf4" else 1
    return f"{math.ceil((memory * widest + _ROOM) / 2**30)}Gi"
