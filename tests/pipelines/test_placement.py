"""What every executor of every compiled pipeline asks of a cluster, for every profile and every cluster's settings.
Each rule is shown to bite on a planted defect."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from kubernetes.utils.quantity import parse_quantity
from support import ROOT, Clinadapt

from clinadapt.config.base import Resources
from clinadapt.config.image import IMAGE
from clinadapt.config.instruct import InstructProfile, PreferenceTraining, Source
from clinadapt.config.profile import AnyProfile
from clinadapt.errors import UserError
from clinadapt.kubernetes.cluster import Cluster, scratch_size
from clinadapt.kubernetes.requests import requests
from pipelines.cli.mirror_list import PYTHON, needed
from pipelines.compile import compile_profile
from pipelines.named_settings import cluster_names, load_cluster, load_profile, profile_names
from pipelines.run_progress import step_states

STEPS = {
    "classify": {"preflight-classify": "preflight", "download-classify": "download",
                 "screen-classify": "screen", "format-classify": "format",
                 "lookup": "lookup", "train-classify": "train", "evaluate-classify": "evaluate", "gate": "gate",
                 "publish": "publish", "summarise": "summarise"},
    "instruct": {"preflight-instruct": "preflight", "download-instruct": "download",
                 "screen-instruct": "screen", "synthesize": "synthesize",
                 "format-instruct": "format", "lookup": "lookup", "pretrain": "pretrain", "train-instruct": "train",
                 "prefer": "prefer", "evaluate-instruct": "evaluate", "gate": "gate", "publish": "publish",
                 "summarise": "summarise"},
}  # fmt: skip
HEAVY = {"pretrain", "train", "prefer", "evaluate", "publish"}  # which load the base model
TRAINING = {"pretrain", "train", "prefer"}
NEVER_CACHED = {"preflight", "lookup", "gate", "publish", "summarise"}
NEVER_RETRIED = {"preflight", "lookup", "gate", "summarise"}
SECRET_NAME = re.compile("KEY|SECRET|PASSWORD|TOKEN|CREDENTIAL", re.IGNORECASE)
SECRET_VALUE = re.compile(r"AKIA[0-9A-Z]{16}|hf_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9]{20,}|-----BEGIN")
INSTALLS = re.compile(r"\bpip3?\b|ensurepip|\buv\b|conda|apt-get|\bapk\b|\bdnf\b|curl|wget|git clone")
SECURITY = {"runAsNonRoot": True, "runAsUser": 1, "runAsGroup": 0}  # the least that an id may be, where one is given
# All that can be set, set
FULL = """
name: full
cpu:
  node_selector: {pool: general}
  affinity: [{expressions: [{key: zone, operator: In, values: [a, b]}], weight: 10}]
gpu:
  image: registry.example.org/clinadapt/gpu:0.1.0
  resource: nvidia.com/mig-3g.20gb
  node_selector: {pool: gpu}
  tolerations:
    - {key: nvidia.com/gpu, effect: NoSchedule}
    - {key: team, operator: Equal, value: nlp, effect: NoExecute}
  affinity: [{expressions: [{key: nvidia.com/gpu.memory, operator: Gt, values: ["15000"]}]}]
image_pull_secrets: [registry]
image_pull_policy: Always
secrets:
  - {name: store, keys: [AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY], optional: false}
  - {name: signing, keys: [CLINADAPT_SIGNING_KEY], steps: [publish]}
ca_bundle: {config_map: site-ca, key: bundle.pem}
shared_memory: 4Gi
scratch: {size: 100Gi, storage_class: fast}
model_cache: models
retry: {times: 5, wait_seconds: 30, factor: 3}
timeouts: {train: 3600}
deadline_seconds: 7200
keep_seconds: 600
user: 10001
group: 0
labels: {team: nlp}
queue: gpus
priority: low
"""

Document = dict[str, Any]


class Compiled:
    """A compiled pipeline, by executor."""

    def __init__(self, profile: AnyProfile, cluster: Cluster, folder: Path) -> None:
        self.profile, self.cluster = profile, cluster
        self.pipeline, platform = yaml.safe_load_all(compile_profile(profile, cluster, folder).read_text())
        self.platform: Document = platform["platforms"]["kubernetes"]

    def steps(self) -> dict[str, str]:
        """Executor -> step, of those that the profile has."""
        profile, steps = self.profile, dict(STEPS[self.profile.recipe])
        if isinstance(profile, InstructProfile):
            for step, section in (("pretrain", profile.pretrain), ("prefer", profile.preference)):
                if section is None:
                    del steps[step]
        return steps

    def container(self, name: str) -> Document:
        return self.pipeline["deploymentSpec"]["executors"][f"exec-{name}"]["container"]

    def pod(self, name: str) -> Document:
        return self.platform["deploymentSpec"]["executors"][f"exec-{name}"]

    def task(self, name: str) -> Document:
        graphs = [self.pipeline["root"], *self.pipeline["components"].values()]
        (found,) = [graph["dag"]["tasks"][name] for graph in graphs if name in graph.get("dag", {}).get("tasks", {})]
        return found


def container_findings(container: Document, step: str, compiled: Compiled) -> Iterator[str]:
    """Image, resources, environment, and what the container runs."""
    profile, cluster = compiled.profile, compiled.cluster
    wanted = profile.train_resources if step in HEAVY else profile.resources
    gpu = step in HEAVY and wanted.gpu > 0
    if container["image"] != (cluster.gpu.image if gpu else cluster.cpu.image):
        yield "image of another kind of node"
    if cluster.digests_only and not re.fullmatch(r"[^:@]+@sha256:[0-9a-f]{64}", container["image"]):
        yield "image by tag"
    found = container["resources"]
    if (found.get("resourceCpuLimit"), found.get("resourceMemoryLimit")) != (wanted.cpu, wanted.memory):
        yield "cpu or memory"
    if (found.get("resourceCpuRequest"), found.get("resourceMemoryRequest")) != requests(profile, step):  # type: ignore[arg-type]
        yield "request"
    asked = found.get("accelerator", {})
    if (asked.get("resourceType"), asked.get("resourceCount")) != (
        (cluster.gpu.resource or wanted.gpu_type, str(wanted.gpu)) if gpu else (None, None)
    ):
        yield "GPU"
    environment = {entry["name"]: entry["value"] for entry in container.get("env", [])}
    threads = str(int(wanted.cpu) // (max(1, wanted.gpu) if gpu and step != "prefer" else 1))
    if environment != environment_wanted(step, gpu, cluster) | {
        "OMP_NUM_THREADS": threads,
        "OMP_WAIT_POLICY": "PASSIVE",
    }:
        yield "environment"
    yield from (f"literal secret {name}" for name in environment if SECRET_NAME.search(name))
    script = " ".join([*container["command"], *container["args"]])
    if SECRET_VALUE.search(script) or any(map(SECRET_VALUE.search, environment.values())):
        yield "literal secret"
    if INSTALLS.search(script):
        yield "installs at run time"


def environment_wanted(step: str, gpu: bool, cluster: Cluster) -> dict[str, str]:
    wanted = {"CLINADAPT_GPU": "1"} if gpu else {}
    if step in HEAVY:
        wanted |= {"TMPDIR": "/scratch", "CLINADAPT_CACHE": "/models" if cluster.model_cache else "/scratch/models"}
    if cluster.ca_bundle:
        path = f"/etc/clinadapt/ca/{cluster.ca_bundle.key}"
        wanted |= {"SSL_CERT_FILE": path, "REQUESTS_CA_BUNDLE": path, "AWS_CA_BUNDLE": path}
    image = cluster.gpu.image if gpu else cluster.cpu.image
    return wanted | ({"CLINADAPT_IMAGE": image} if "@sha256:" in image else {})


def pod_findings(pod: Document, step: str, compiled: Compiled) -> Iterator[str]:
    """Security, nodes, secrets, volumes, labels and limits."""
    cluster = compiled.cluster
    gpu = step in HEAVY and compiled.profile.train_resources.gpu > 0
    nodes = cluster.gpu if gpu else cluster.cpu
    security = pod.get("securityContext", {})
    ids = {key: int(value) for key, value in security.items() if key != "runAsNonRoot"}
    if security.get("runAsNonRoot") is not True or any(value < SECURITY[key] for key, value in ids.items()):
        yield "may run as root"
    if ids != {k: v for k, v in {"runAsUser": cluster.user, "runAsGroup": cluster.group}.items() if v is not None}:
        yield "user or group"
    if pod.get("tolerations", []) != [t.model_dump(exclude_none=True) for t in nodes.tolerations]:
        yield "tolerations"
    if pod.get("nodeSelector", {}).get("labels", {}) != nodes.node_selector:
        yield "node selector"
    if pod.get("nodeAffinity", []) != [
        {"matchExpressions": [e.model_dump(exclude_defaults=True) for e in a.expressions]}
        | ({"weight": a.weight} if a.weight else {})
        for a in nodes.affinity
    ]:
        yield "affinity"
    secrets = {entry["secretName"]: entry for entry in pod.get("secretAsEnv", [])}
    if {name: ([pair["envVar"] for pair in entry["keyToEnv"]], entry.get("optional", False))
            for name, entry in secrets.items()} != {
                secret.name: (secret.keys, secret.optional)
                for secret in cluster.secrets if step in (secret.steps or [step])}:  # fmt: skip
        yield "secrets"
    if any(set(pair) != {"secretKey", "envVar"} for entry in secrets.values() for pair in entry["keyToEnv"]):
        yield "literal secret"
    yield from volume_findings(pod, step, compiled)
    ours = {"app.kubernetes.io/name": "clinadapt", "app.kubernetes.io/component": step}
    labels = ours | {"sidecar.istio.io/inject": "false"} | cluster.labels
    if step in TRAINING and cluster.queue:
        labels |= {"kueue.x-k8s.io/queue-name": cluster.queue, "kueue.x-k8s.io/priority-class": cluster.priority}
    if pod.get("podMetadata", {}).get("labels") != labels:
        yield "labels"
    if pod.get("activeDeadlineSeconds") != str(cluster.timeouts.model_dump()[step]):
        yield "timeout"
    if pod.get("imagePullPolicy") != cluster.image_pull_policy:
        yield "pull policy"
    if [entry["secretName"] for entry in pod.get("imagePullSecret", [])] != cluster.image_pull_secrets:
        yield "pull secrets"
    names = {"CLINADAPT_RUN": "workflows.argoproj.io/workflow"}
    names |= {"CLINADAPT_KFP_RUN": "pipeline/runid"} if step == "summarise" else {}
    if pod.get("fieldPathAsEnv") != [
        {"name": name, "fieldPath": f"metadata.labels['{label}']"} for name, label in names.items()
    ]:
        yield "name of the run"
    yield from (f"unknown {key}" for key in set(pod) - POD)


POD = {"securityContext", "tolerations", "nodeSelector", "nodeAffinity", "secretAsEnv", "emptyDirMounts", "pvcMount",
       "genericEphemeralVolume", "configMapAsVolume", "podMetadata", "activeDeadlineSeconds", "imagePullPolicy",
       "imagePullSecret", "fieldPathAsEnv"}  # fmt: skip


def volume_findings(pod: Document, step: str, compiled: Compiled) -> Iterator[str]:
    cluster = compiled.cluster
    folders = {mount["mountPath"]: mount for mount in pod.get("emptyDirMounts", [])}
    claims = {mount["mountPath"]: mount["constant"] for mount in pod.get("pvcMount", [])}
    own = {volume["mountPath"]: volume for volume in pod.get("genericEphemeralVolume", [])}
    bundles = {volume["mountPath"]: volume["configMapName"] for volume in pod.get("configMapAsVolume", [])}
    memory = folders.pop("/dev/shm", {})
    if (memory.get("medium"), memory.get("sizeLimit")) != (
        ("Memory", cluster.shared_memory) if step in HEAVY else (None, None)
    ):
        yield "shared memory"
    scratch = folders.pop("/scratch", {}).get("sizeLimit") or own.pop("/scratch", {}).get("size")
    if scratch != (scratch_size(compiled.profile, cluster) if step in HEAVY else None):
        yield "scratch volume"
    if claims != ({"/models": cluster.model_cache} if step in HEAVY and cluster.model_cache else {}):
        yield "model cache"
    if bundles != ({"/etc/clinadapt/ca": cluster.ca_bundle.config_map} if cluster.ca_bundle else {}):
        yield "CA bundle"
    if folders or own:
        yield "volume that nobody asked for"


def task_findings(task: Document, step: str, compiled: Compiled) -> Iterator[str]:
    """Cache and retries."""
    cluster = compiled.cluster
    if task["cachingOptions"] != ({} if step in NEVER_CACHED else {"enableCache": True}):
        yield "cache"
    retry = {
        "maxRetryCount": cluster.retry.times,
        "backoffDuration": f"{cluster.retry.wait_seconds}s",
        "backoffFactor": cluster.retry.factor,
        "backoffMaxDuration": f"{cluster.deadline_seconds}s",
    }
    if task.get("retryPolicy") != (None if step in NEVER_RETRIED else retry):
        yield "retry"


def findings(compiled: Compiled) -> list[str]:
    """Everything wrong, as `executor: what`."""
    found = []
    names = {key.removeprefix("exec-") for key in compiled.pipeline["deploymentSpec"]["executors"]}
    steps = compiled.steps()
    if names != set(steps) or len(compiled.platform["deploymentSpec"]["executors"]) != len(steps):
        found.append("pipeline: executors")
    if compiled.platform.get("pipelineConfig") != {
        "resourceTtlOnCompletion": compiled.cluster.keep_seconds,
        "resourceTtlOnSuccess": compiled.cluster.keep_seconds,
        "resourceTtlOnFailure": compiled.cluster.keep_seconds,
        "activeDeadlineSeconds": compiled.cluster.deadline_seconds,
    }:
        found.append("pipeline: time to live or deadline")
    for name, step in steps.items():
        found += [f"{name}: {what}" for what in container_findings(compiled.container(name), step, compiled)]
        found += [f"{name}: {what}" for what in pod_findings(compiled.pod(name), step, compiled)]
        found += [f"{name}: {what}" for what in task_findings(compiled.task(name), step, compiled)]
    return found


def settings(name: str) -> Cluster:
    return Cluster.model_validate(yaml.safe_load(FULL)) if name == "full" else load_cluster(name)


@pytest.mark.parametrize(("cluster", "profile"), list(product([*cluster_names(), "full"], profile_names())))
def test_every_executor_of_every_compiled_file(cluster: str, profile: str, tmp_path: Path) -> None:
    assert findings(Compiled(load_profile(profile), settings(cluster), tmp_path)) == []


# Of a node beside Kubeflow Pipelines (measured: 0.5 CPUs and 2 GiB), in CPUs and GiB: a run of the CPU profiles fits
NODE, KUBEFLOW, DRIVER = (2, 8), (0.5, 2), (0.1, 0.0625)
WAIT = (0.01, 0.0625)  # Argo's wait container, in every pod of a step
PAGE = (0.1, 1)  # the review page of overlays/kind


@pytest.mark.parametrize("name", ["cpu-demo", "cpu-instruct", "cpu-pretrain", "cpu-instruct-hour"])
def test_a_run_fits_a_small_node_beside_kubeflow_pipelines(name: str, tmp_path: Path) -> None:
    """Each step with the driver of the next one and the review page; steps run one after another. What a step asks for
    is what is summed, its limits only where it asks for nothing."""
    compiled = Compiled(load_profile(name), load_cluster("kind"), tmp_path)
    most = [0.0, 0.0]
    for executor in compiled.steps():
        found = compiled.container(executor)["resources"]
        for i, (what, unit) in enumerate((("Cpu", 1), ("Memory", 2**30))):
            asked = found.get(f"resource{what}Request", found[f"resource{what}Limit"])
            total = float(parse_quantity(asked)) / unit + KUBEFLOW[i] + DRIVER[i] + WAIT[i] + PAGE[i]
            assert total <= NODE[i], (executor, what, total)
            most[i] = max(most[i], total)
    print(f"{name}: at most {most[0]:.2f} CPUs and {most[1]:.2f} GiB are asked for at once")


def test_what_a_step_asks_for(tmp_path: Path) -> None:
    """Small steps little; with a GPU training asks for its limits; a profile's own requests count."""
    gpu, cpu = load_profile("t4-tinyllama"), load_profile("cpu-demo")
    assert requests(gpu, "train") == requests(gpu, "publish") == ("4", "16Gi")
    assert requests(cpu, "train") == ("1", "3Gi")
    for step in ("preflight", "lookup", "gate", "summarise"):
        assert requests(gpu, step)[0] == "100m" and parse_quantity(requests(gpu, step)[1]) < 2**30
    cpu.resources.memory_request = "5Gi"
    with pytest.raises(UserError, match="'cpu-demo': gate asks for 5Gi of memory, its limit is 4Gi"):
        requests(cpu, "gate")


@pytest.mark.parametrize(
    ("name", "queue", "on_stop"), [("a100x4-llama3-8b", "", "suspend"), ("t4-tinyllama", "gpus", "delete")]
)
def test_with_a_trainer_training_steps_are_small_and_hand_on(
    name: str, queue: str, on_stop: str, tmp_path: Path
) -> None:
    """They hold neither GPU, model nor volume; the TrainJob that they fill in has what they had."""
    trainer = {"runtime": "ours", "nodes": 2, "on_stop": on_stop, "priority": "urgent"}
    cluster = Cluster.model_validate(yaml.safe_load(FULL) | {"trainer": trainer, "queue": queue})
    is_instruct = load_profile(name).recipe == "instruct"
    compiled = Compiled(with_preferences(name) if is_instruct else load_profile(name), cluster, tmp_path)
    classify = compiled.profile.recipe == "classify"
    for step in ("train-classify",) if classify else ("pretrain", "train-instruct", "prefer"):
        container, pod = compiled.container(step), compiled.pod(step)
        assert container["image"] == cluster.cpu.image and "accelerator" not in container["resources"]
        asked = container["resources"]
        assert (asked["resourceCpuRequest"], asked["resourceMemoryRequest"]) == ("100m", "256Mi")
        assert not {"emptyDirMounts", "pvcMount", "genericEphemeralVolume", "tolerations"} & pod.keys()
        assert "kueue.x-k8s.io/queue-name" not in pod["podMetadata"]["labels"], "the TrainJob is queued, not its step"
        environment = {entry["name"]: entry["value"] for entry in container["env"]}
        assert environment.keys() == {"CLINADAPT_TRAINJOB", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"}
        job = json.loads(environment["CLINADAPT_TRAINJOB"])
        assert job["spec"]["runtimeRef"]["name"] == "ours"
        labels = job["metadata"]["labels"]
        assert labels.get("kueue.x-k8s.io/queue-name", "") == queue
        assert labels["kueue.x-k8s.io/priority-class"] == "urgent", "the trainer's where it names one"
        alone = classify or step == "prefer"
        assert job["spec"]["trainer"]["numNodes"] == (1 if alone else 2)
        assert job["spec"]["trainer"]["numProcPerNode"] == (1 if alone else 4)
        limits = job["spec"]["trainer"]["resourcesPerNode"]["limits"]
        gpus = 1 if step == "prefer" else compiled.profile.train_resources.gpu
        assert limits["nvidia.com/mig-3g.20gb"] == str(gpus)
    preflight, summary = (compiled.container(n) for n in (f"preflight-{compiled.profile.recipe}", "summarise"))
    assert {"name": "CLINADAPT_TRAINING_RUNTIME", "value": "ours"} in preflight["env"]
    assert {"name": "CLINADAPT_TRAINJOB_STOP", "value": on_stop} in summary["env"]
    heavy = "evaluate-classify" if classify else "evaluate-instruct"
    assert "accelerator" in compiled.container(heavy)["resources"], "the other steps are as before"


def with_preferences(name: str) -> AnyProfile:
    """A profile of instruct that has the stage prefer."""
    pairs, profile = Source(kind="preferences", uri="s3://clinadapt/pairs.csv"), load_profile(name)
    assert isinstance(profile, InstructProfile)
    return profile.model_copy(update={"preference": PreferenceTraining(), "sources": [*profile.sources, pairs]})


def test_prefer_asks_for_the_one_gpu_that_it_trains_on(tmp_path: Path) -> None:
    """Whatever the profile has for the stages before it."""
    compiled = Compiled(with_preferences("a100x4-llama3-8b"), load_cluster("default"), tmp_path)
    counts = {step: compiled.container(step)["resources"]["accelerator"]["resourceCount"]
              for step in ("train-instruct", "prefer")}  # fmt: skip
    assert counts == {"train-instruct": "4", "prefer": "1"}


def test_preflight_knows_the_slice_of_a_gpu(tmp_path: Path) -> None:
    """By whose name it counts the memory, whatever the profile says of a whole GPU."""
    compiled = Compiled(load_profile("t4-tinyllama"), settings("full"), tmp_path)
    profile = compiled.task("preflight-classify")["inputs"]["parameters"]["profile"]["runtimeValue"]["constant"]
    assert profile["train_resources"]["gpu_type"] == "nvidia.com/mig-3g.20gb"


def test_scratch_space_goes_by_the_memory_of_a_slice() -> None:
    profile = load_profile("t4-tinyllama")
    of_slice = Resources(gpu=1, gpu_type="nvidia.com/mig-1g.10gb", gpu_memory_gib=80)
    small, whole = Resources(gpu=1, gpu_memory_gib=10e9 / 2**30), Resources(gpu=1, gpu_memory_gib=80)
    sizes = [
        scratch_size(profile.model_copy(update={"train_resources": each}), load_cluster("default"))
        for each in (of_slice, small, whole)
    ]
    assert sizes[0] == sizes[1] != sizes[2]


@pytest.mark.parametrize("recipe", STEPS)
def test_a_follower_of_a_run_sees_every_step_in_its_order(recipe: str) -> None:
    names = [*STEPS[recipe], "the gate says yes", "adapt", f"preflight-{recipe}-driver"]
    details = [
        SimpleNamespace(display_name=name, state="RUNNING", start_time=None, create_time=None, end_time=None)
        for name in reversed(names)
    ]
    run = SimpleNamespace(state="RUNNING", run_details=SimpleNamespace(task_details=details))
    assert list(step_states(run)) == list(STEPS[recipe])


@pytest.fixture(scope="module")
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """The profile with a GPU, for the cluster with digests only."""
    return Compiled(load_profile("t4-tinyllama"), load_cluster("airgap"), tmp_path_factory.mktemp("planted"))


@pytest.fixture
def compiled(compiled_once: Compiled) -> Compiled:
    return copy.deepcopy(compiled_once)


def without(key: str) -> Callable[[Document], object]:
    return lambda document: document.pop(key)


def with_value(key: str, value: Any) -> Callable[[Document], object]:
    return lambda document: document.update({key: value})


def with_env(name: str, value: str) -> Callable[[Document], object]:
    return lambda container: container.setdefault("env", []).append({"name": name, "value": value})


def pip(container: Document) -> None:
    container["command"][-1] = "python3 -m pip install kfp==2.17.0 && " + container["command"][-1]


@pytest.mark.parametrize(
    ("part", "name", "plant", "finding"),
    [
        ("pod", "train-classify", without("tolerations"), "tolerations"),
        (
            "container",
            "download-classify",
            with_value("image", "registry.example.org/clinadapt/cpu:0.1.0"),
            "image by tag",
        ),
        ("container", "publish", with_env("AWS_SECRET_ACCESS_KEY", "x"), "literal secret AWS_SECRET_ACCESS_KEY"),
        ("container", "train-classify", with_env("EXTRA", "AKIA" + "A" * 16), "literal secret"),
        ("pod", "gate", with_value("securityContext", {"runAsNonRoot": True, "runAsUser": "0"}), "may run as root"),
        ("pod", "gate", without("securityContext"), "may run as root"),
        ("container", "format-classify", pip, "installs at run time"),
        (
            "container",
            "gate",
            with_value("resources", {"resourceCpuLimit": "2", "resourceMemoryLimit": "4Gi"}),
            "request",
        ),
        ("pod", "evaluate-classify", without("emptyDirMounts"), "shared memory"),
        ("pod", "publish", without("pvcMount"), "model cache"),
        ("pod", "preflight-classify", without("configMapAsVolume"), "CA bundle"),
        ("pod", "summarise", without("secretAsEnv"), "secrets"),
        ("pod", "download-classify", without("activeDeadlineSeconds"), "timeout"),
        ("pod", "download-classify", without("podMetadata"), "labels"),
        ("pod", "download-classify", with_value("enabledSharedMemory", {}), "unknown enabledSharedMemory"),
        ("task", "publish", with_value("cachingOptions", {"enableCache": True}), "cache"),
        ("task", "train-classify", without("retryPolicy"), "retry"),
    ],
)
def test_a_planted_defect_is_found(
    compiled: Compiled, part: str, name: str, plant: Callable[[Document], object], finding: str
) -> None:
    plant(getattr(compiled, part)(name))
    assert f"{name}: {finding}" in findings(compiled)
    assert all(found.startswith(f"{name}: ") for found in findings(compiled))


def test_a_gpu_on_a_cheap_step_is_found(compiled: Compiled) -> None:
    compiled.container("gate")["resources"]["accelerator"] = compiled.container("publish")["resources"]["accelerator"]
    assert findings(compiled) == ["gate: GPU"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("name: x\nimage: y\n", "image: extra inputs are not permitted"),
        (f"name: x\ndigests_only: true\ncpu: {{image: {IMAGE}}}\n", f"name {IMAGE} by its digest"),
        ("name: x\nuser: 0\n", "user: input should be greater than or equal to 1"),
        ("name: x\nsecrets: [{name: Store, keys: [A]}]\n", "secrets.0.name"),
        ("name: x\nsecrets: [{name: s, keys: [A], steps: [training]}]\n", "secrets.0.steps.0"),
        ("name: x\ngpu: {tolerations: [{key: a, operator: Equal}]}\n", "operator Equal needs a value"),
        ("name: x\nscratch: {size: 10 GB}\n", "scratch.size"),
        ("name: x\nretry: {factor: 1.5}\n", "retry.factor"),
        ("name: x\nlabels: {team: 'our team'}\n", "a label's value"),
        ("name: x\ntrainer: {queue: nlp, on_stop: suspend}\n", "Kueue would resume what is suspended"),
        ("name: x\nqueue: nlp\ntrainer: {on_stop: suspend}\n", "Kueue would resume what is suspended"),
        ("name: [\n", "is not valid YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        load_cluster(str(path))
    assert what in str(error.value) and "\n" not in str(error.value)


def test_the_command(clinadapt: Clinadapt, tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(FULL)
    done = clinadapt("compile", "--cluster", site, "--profile", "cpu-demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "team: nlp" in (tmp_path / ".clinadapt/compiled/full/classify-cpu-demo.yaml").read_text()
    done = clinadapt("compile", "--cluster", "moon")
    assert done.returncode == 2 and done.stderr.startswith("error: cluster 'moon' not found")


def test_no_such_cluster() -> None:
    with pytest.raises(UserError, match="cluster 'moon' not found: use airgap, default, kind, openshift or the path"):
        load_cluster("moon")


def test_the_mirror_list(tmp_path: Path) -> None:
    """Every image of every executor, and every base model that is not in an image."""
    cluster = load_cluster("airgap")
    listed = {name for _, name, _ in needed(cluster)}
    for name in profile_names():
        compiled = Compiled(load_profile(name), cluster, tmp_path)
        assert {compiled.container(executor)["image"] for executor in compiled.steps()} <= listed
        assert compiled.profile.training.base_model in listed | {"builtin://llama"}
    assert {name.split(":")[0].split("/")[-1] for name in listed} >= {"kfp-driver", "kfp-launcher", "argoexec"}
    assert PYTHON in listed and f"BASE_IMAGE={PYTHON}\n" in (ROOT / "images/Containerfile").read_text()
