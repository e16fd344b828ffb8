"""What a cluster gives a run: images, nodes, secrets by name, volumes, time limits. No kfp here."""

from __future__ import annotations

import math
import re
from typing import Literal

from kubernetes.utils.quantity import parse_quantity
from pydantic import Field, field_validator, model_validator

from clinadapt.config.base import Section
from clinadapt.config.image import IMAGE
from clinadapt.config.profile import AnyProfile

Step = Literal[
    "preflight", "download", "synthesize", "format", "lookup", "pretrain", "train", "prefer", "evaluate", "gate",
    "publish", "summarise",
]  # fmt: skip


WITH_BASE_MODEL: tuple[Step, ...] = (
    "pretrain",
    "train",
    "prefer",
    "evaluate",
    "publish",
)  # the steps that load it, on a GPU where there is one


RETRIED: tuple[Step, ...] = ("download", "synthesize", "format", *WITH_BASE_MODEL)  # the others take seconds


SCRATCH, MODELS, CA = "/scratch", "/models", "/etc/clinadapt/ca"  # where a step has its volumes


_TRUST = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE")


DIGEST = r"@sha256:[0-9a-f]{64}$"


_NAME = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"  # of a Kubernetes object


_QUANTITY = r"^[1-9][0-9]*(Mi|Gi|Ti)$"


_ROOM = 2**30  # bytes beside the base model, as preflight asks for


class Toleration(Section):
    """A taint that pods may stand, in the words of Kubernetes. No `effect` means every effect."""

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
    """One condition on a node's labels, in the words of Kubernetes."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    values: list[str] = []


class Affinity(Section):
    """Conditions that a node meets all of. With a `weight` it is preferred, without one it is required; of several
    required ones a node meets one."""

    expressions: list[Expression] = Field(min_length=1)
    weight: int | None = Field(default=None, ge=1, le=100)


class Nodes(Section):
    """Where pods run and from which image.

    Attributes:
        image: with its registry; by digest where the cluster asks for digests.
        node_selector: labels that a node has to have.
        tolerations, affinity: as in a pod.
    """

    image: str = Field(default=IMAGE, min_length=1)
    node_selector: dict[str, str] = {}
    tolerations: list[Toleration] = []
    affinity: list[Affinity] = []


class GpuNodes(Nodes):
    """The same for the steps that load the base model, where the profile asks for a GPU.

    Attributes:
        resource: the name by which GPUs are asked for, where it is not the profile's (nvidia.com/mig-3g.20gb,
            amd.com/gpu). How many is the profile's to say.
    """

    image: str = Field(default=IMAGE.replace("/cpu:", "/gpu:"), min_length=1)
    resource: str | None = Field(default=None, pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")
    tolerations: list[Toleration] = [Toleration(key="nvidia.com/gpu", effect="NoSchedule")]


class Secret(Section):
    """A secret of the cluster, by name. No value ever stands here.

    Attributes:
        keys: its keys, each given to the step as the environment variable of the same name.
        steps: the steps that get it; all of them when empty.
        optional: whether a step starts without it. Preflight then says what is missing, in one line.
    """

    name: str = Field(pattern=_NAME)
    keys: list[str] = Field(min_length=1)
    steps: list[Step] = []
    optional: bool = True


class ConfigMapKey(Section):
    """A key of a ConfigMap that holds PEM certificates: all that a step shall trust, the public ones too."""

    config_map: str = Field(pattern=_NAME)
    key: str = "ca.pem"


class Scratch(Section):
    """Room for a base model and a training's checkpoints, gone with the pod.

    Attributes:
        size: the volume's; by default from the memory that the estimate is held against.
        storage_class: of a volume of its own. Without one it is a folder on the node's disk, which any user may
            write; a volume of its own is often root's alone, unless the cluster sets fsGroup as OpenShift does.
    """

    size: str | None = Field(default=None, pattern=_QUANTITY)
    storage_class: str | None = None


class Retry(Section):
    """How often a step that lost its pod (preemption, drained node) begins again, and how long it waits first."""

    times: int = Field(default=5, ge=0)
    wait_seconds: int = Field(default=30, ge=0)
    factor: float = Field(default=2.0, ge=1)


class Timeouts(Section):
    """Seconds after which a step's pod is stopped."""

    preflight: int = Field(default=900, ge=60)
    download: int = Field(default=4 * 3600, ge=60)
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


JUDGE = Secret(
    name="clinadapt-judge",
    keys=["CLINADAPT_JUDGE_URL", "CLINADAPT_JUDGE_MODEL", "CLINADAPT_JUDGE_KEY"],
    steps=["evaluate"],
)


MODEL_REGISTRY = Secret(
    name="clinadapt-model-registry",
    keys=["CLINADAPT_MODEL_REGISTRY_URL", "CLINADAPT_MODEL_REGISTRY_TOKEN"],
    steps=["publish"],
)


SIGNING = Secret(name="clinadapt-signing", keys=["CLINADAPT_SIGNING_KEY"], steps=["publish"])


class Cluster(Section):
    """One cluster.

    Attributes:
        digests_only: refuse an image that is not named by its digest.
        cpu, gpu: nodes and image of the steps without and with a GPU.
        service_account: under which submitted and scheduled runs go; the one of Kubeflow Pipelines when empty.
        image_pull_secrets, image_pull_policy: as in a pod.
        secrets: by name; a list given replaces the default one.
        ca_bundle: for TLS inspection or a store with a private certificate.
        shared_memory: of /dev/shm in the steps that load the base model; counts as the step's memory.
        scratch: see Scratch.
        model_cache: a claim that several pods can mount at a time, where base models stay between runs.
        retry, timeouts: see there.
        deadline_seconds: after which a run is stopped.
        keep_seconds: how long a finished run's pods and logs stay in the cluster. Its record in the store stays.
        user, group: ids of the steps; the image's when not given. OpenShift gives its own. Never 0.
        time_zone: of cron schedules; what CRON_SCHEDULE_TIMEZONE of ml-pipeline-scheduledworkflow says.
        labels: on every pod, beside app.kubernetes.io/name and app.kubernetes.io/component.
    """

    name: str
    description: str = ""
    digests_only: bool = False
    cpu: Nodes = Nodes()
    gpu: GpuNodes = GpuNodes()
    service_account: str = ""
    image_pull_secrets: list[str] = []
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    secrets: list[Secret] = [STORE, HUB, TEACHER, JUDGE, MODEL_REGISTRY, SIGNING]
    ca_bundle: ConfigMapKey | None = None
    shared_memory: str = Field(default="1Gi", pattern=_QUANTITY)
    scratch: Scratch = Scratch()
    model_cache: str | None = Field(default=None, pattern=_NAME)
    retry: Retry = Retry()
    timeouts: Timeouts = Timeouts()
    deadline_seconds: int = Field(default=48 * 3600, ge=600)
    keep_seconds: int = Field(default=7 * 24 * 3600, ge=0)
    user: int | None = Field(default=None, ge=1)
    group: int | None = Field(default=None, ge=0)
    time_zone: str = "UTC"
    labels: dict[str, str] = {}

    @field_validator("labels")
    @classmethod
    def _labels_are_labels(cls, labels: dict[str, str]) -> dict[str, str]:
        for value in labels.values():
            if not re.fullmatch(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?", value):
                raise ValueError("a label's value is at most 63 letters, digits, - _ and .")
        return labels

    @model_validator(mode="after")
    def _images_by_digest(self) -> Cluster:
        for nodes in (self.cpu, self.gpu):
            if self.digests_only and not re.search(DIGEST, nodes.image):
                raise ValueError(f"digests_only: name {nodes.image} by its digest, name@sha256:...")
        return self

    def secrets_of(self, step: Step) -> list[Secret]:
        """The secrets that a step gets."""
        return [secret for secret in self.secrets if not secret.steps or step in secret.steps]

    def pod_labels(self, component: str) -> dict[str, str]:
        """On every pod of a component."""
        return {"app.kubernetes.io/name": "clinadapt", "app.kubernetes.io/component": component, **self.labels}

    def environment(self, step: Step) -> dict[str, str]:
        """Where a step finds scratch, base models and certificates."""
        found = {}
        if step in WITH_BASE_MODEL:
            found = {"TMPDIR": SCRATCH, "CLINADAPT_CACHE": MODELS if self.model_cache else f"{SCRATCH}/models"}
        if self.ca_bundle:
            found |= dict.fromkeys(_TRUST, f"{CA}/{self.ca_bundle.key}")
        return found


def scratch_size(profile: AnyProfile, cluster: Cluster) -> str:
    """Size of the scratch volume, from the memory that the estimate is held against.

    A base model that fits there in 16 bits or more takes as much on disk at most; one that fits in 4 bits takes four
    times as much, for it comes in 16.
    """
    if cluster.scratch.size:
        return cluster.scratch.size
    resources = profile.train_resources
    memory = resources.gpu_memory_gib * 2**30 if resources.gpu else float(parse_quantity(resources.memory))
    widest = 4 if profile.training.quantization == "nf4" else 1
    return f"{math.ceil((memory * widest + _ROOM) / 2**30)}Gi"
