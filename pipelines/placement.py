"""Placement of tasks by profile and cluster: image, resources, nodes, secrets, volumes and limits."""

import json
import re

from kfp import dsl, kubernetes
from kfp.dsl.graph_component import GraphComponent
from kfp.dsl.structures import ResourceSpec

from clinadapt.artifacts.code_version import CACHED_STEPS
from clinadapt.artifacts.manifest import IMAGE
from clinadapt.artifacts.step_record import RUN
from clinadapt.config.profile import AnyProfile
from clinadapt.config.steps import Step
from clinadapt.kubernetes.cluster import (
    CA,
    DIGEST,
    IN_TRAINJOB,
    MODELS,
    RETRIED,
    SCRATCH,
    WITH_BASE_MODEL,
    Cluster,
    GpuNodes,
    Nodes,
    scratch_size,
)
from clinadapt.kubernetes.requests import limits, requests, threads
from clinadapt.kubernetes.trainjob import template
from clinadapt.kubernetes.trainjobs import RUNTIME, STOP, TEMPLATE
from clinadapt.kubernetes.workflow import RUN_ID, RUN_ID_LABEL


class Placement:
    """Sets up the tasks of a pipeline. Without a cluster, as in a local run, it sets only caching and the GPU flag."""

    def __init__(self, profile: AnyProfile, cluster: Cluster | None, caching: bool = True) -> None:
        self.profile, self.cluster, self.caching = profile, cluster, caching

    def __call__(self, task: dsl.PipelineTask, step: Step) -> None:
        delegates = self.cluster is not None and self.cluster.in_trainjob(step)
        loads_model = step in WITH_BASE_MODEL and not delegates
        gpu = loads_model and self.profile.train_resources.gpu > 0
        task.set_caching_options(self.caching and step in CACHED_STEPS)
        environment = {"CLINADAPT_GPU": "1"} if gpu else {}
        if self.cluster:
            nodes = self.cluster.gpu if gpu else self.cluster.cpu
            self._container(task, step, nodes)
            if re.search(DIGEST, nodes.image):
                environment[IMAGE] = nodes.image
            _nodes(task, nodes)
            _pod(task, step, self.cluster)
            _secrets(task, step, self.cluster)
            if loads_model:
                _volumes(task, self.cluster, scratch_size(self.profile, self.cluster))
            if ca := self.cluster.ca_bundle:
                kubernetes.use_config_map_as_volume(task, ca.config_map, CA)
            environment |= self.cluster.environment(loads_model)
            environment |= {} if delegates else threads(self.profile, step)
            environment |= _trainer_environment(self.profile, self.cluster, step)
        task.container_spec.env = environment or None

    def _container(self, task: dsl.PipelineTask, step: Step, nodes: Nodes) -> None:
        """Image and resources, set on the spec: each of kfp's setters inspects the call stack, 10 ms a call."""
        task.container_spec.image = nodes.image
        if self.cluster and self.cluster.in_trainjob(step):
            task.container_spec.resources = ResourceSpec(
                cpu_request="100m", cpu_limit="500m", memory_request="256Mi", memory_limit="512Mi"
            )
            return
        resources = limits(self.profile, step)
        cpu, memory = requests(self.profile, step)
        task.container_spec.resources = ResourceSpec(
            cpu_request=cpu, cpu_limit=resources.cpu, memory_request=memory, memory_limit=resources.memory
        )
        if isinstance(nodes, GpuNodes):
            task.container_spec.resources.accelerator_type = nodes.resource or resources.gpu_type
            task.container_spec.resources.accelerator_count = str(resources.gpu)


def _trainer_environment(profile: AnyProfile, cluster: Cluster, step: Step) -> dict[str, str]:
    """What the steps around a TrainJob need to know of Kubeflow Trainer."""
    if not (trainer := cluster.trainer):
        return {}
    if cluster.in_trainjob(step):
        nodes = 1 if profile.recipe == "classify" or step == "prefer" else trainer.nodes
        return {TEMPLATE: json.dumps(template(profile, cluster, nodes, step), sort_keys=True)}
    if step == "preflight":
        return {RUNTIME: trainer.runtime}
    return {STOP: trainer.on_stop} if step == "summarise" else {}


def pipeline_config(cluster: Cluster | None) -> dsl.PipelineConfig | None:
    """Deadline of a run, and how long its workflow is kept."""
    if cluster is None:
        return None
    keep = cluster.keep_seconds  # all three: those of Argo's defaults win over the first alone
    return dsl.PipelineConfig(
        ttl_seconds_after_finished=keep,
        ttl_seconds_after_success=keep,
        ttl_seconds_after_failure=keep,
        active_deadline_seconds=cluster.deadline_seconds,
    )


def add_choices(pipeline: GraphComponent, choices: dict[str, tuple[str, ...]]) -> GraphComponent:
    """Make parameters drop-downs on the run form; kfp 2.17 has the field but rejects Literal in a signature."""
    for name, values in choices.items():
        literals = pipeline.pipeline_spec.root.input_definitions.parameters[name].literals
        for value in values:
            literals.add(string_value=value)
    return pipeline


def _nodes(task: dsl.PipelineTask, nodes: Nodes) -> None:
    for key, value in sorted(nodes.node_selector.items()):
        kubernetes.add_node_selector(task, key, value)
    for toleration in nodes.tolerations:
        kubernetes.add_toleration(task, **toleration.model_dump())
    for affinity in nodes.affinity:
        expressions = [expression.model_dump() for expression in affinity.expressions]
        kubernetes.add_node_affinity(task, match_expressions=expressions, weight=affinity.weight)


def _pod(task: dsl.PipelineTask, step: Step, cluster: Cluster) -> None:
    """Security context, limits and labels. The rest of the restricted Pod Security Standard (no privilege escalation,
    no capabilities, seccomp profile) is set by the backend of Kubeflow Pipelines."""
    kubernetes.set_security_context(task, run_as_user=cluster.user, run_as_group=cluster.group, run_as_non_root=True)
    kubernetes.set_image_pull_policy(task, cluster.image_pull_policy)
    if cluster.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, cluster.image_pull_secrets)
    kubernetes.set_timeout(task, cluster.timeouts.model_dump()[step])
    if step in RETRIED and cluster.retry.times:
        task.set_retry(
            cluster.retry.times,
            backoff_duration=f"{cluster.retry.wait_seconds}s",
            backoff_factor=cluster.retry.factor,
            # Counted from the first start: shorter than the deadline, and a long training would never be retried
            backoff_max_duration=f"{cluster.deadline_seconds}s",
        )
    queue = cluster.queue_labels() if step in IN_TRAINJOB and not cluster.in_trainjob(step) else {}
    for key, value in (cluster.pod_labels(step) | queue).items():
        kubernetes.add_pod_label(task, key, value)


def _secrets(task: dsl.PipelineTask, step: Step, cluster: Cluster) -> None:
    """Secrets by reference, and the names of the run from the pod's labels: its workflow's, and where it is asked for
    its id in Kubeflow Pipelines."""
    for secret in cluster.secrets_of(step):
        kubernetes.use_secret_as_env(task, secret.name, {key: key for key in secret.keys}, secret.optional)
    kubernetes.use_field_path_as_env(task, RUN, "metadata.labels['workflows.argoproj.io/workflow']")
    if step == "summarise":
        kubernetes.use_field_path_as_env(task, RUN_ID, f"metadata.labels['{RUN_ID_LABEL}']")


def _volumes(task: dsl.PipelineTask, cluster: Cluster, size: str) -> None:
    """Volumes for shared memory, scratch space and base models."""
    kubernetes.empty_dir_mount(task, "shared-memory", "/dev/shm", medium="Memory", size_limit=cluster.shared_memory)
    if cluster.scratch.storage_class:
        kubernetes.add_ephemeral_volume(
            task, "scratch", SCRATCH, ["ReadWriteOnce"], size, storage_class_name=cluster.scratch.storage_class
        )
    else:
        kubernetes.empty_dir_mount(task, "scratch", SCRATCH, size_limit=size)
    if cluster.model_cache:
        kubernetes.mount_pvc(task, cluster.model_cache, MODELS)
