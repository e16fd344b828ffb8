"""A TrainJob as Kubeflow Trainer gets it: held against its own models of the API and against what the pipeline
trains with. Every rule is shown to bite on a planted defect."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_trainer import admission
from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob
from pydantic import ValidationError
from support import Clinadapt

from clinadapt.config.instruct import InstructProfile
from clinadapt.config.nodes_task import NodesTask
from clinadapt.errors import UserError
from clinadapt.kubernetes import trainjob
from clinadapt.kubernetes.cluster import Cluster, Trainer
from clinadapt.kubernetes.requests import limits
from clinadapt.kubernetes.trainjobs import fill
from pipelines.named_settings import cluster_names, load_cluster, load_profile, profile_names

SPLITS, STORE = "s3://clinadapt/pipelines/run/splits", "s3://clinadapt"
GPU = [name for name in profile_names("instruct") if load_profile(name).train_resources.gpu]
RESERVED = {"PET_NNODES", "PET_NPROC_PER_NODE", "PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT"}
SECRET_NAME = re.compile("KEY|SECRET|PASSWORD|TOKEN|CREDENTIAL", re.IGNORECASE)
# All that can be set, set
FULL = """
name: full
gpu:
  image: registry.example.org/clinadapt/gpu:0.1.0
  resource: nvidia.com/mig-3g.20gb
  node_selector: {pool: gpu}
  tolerations: [{key: team, operator: Equal, value: nlp, effect: NoExecute}]
  affinity:
    - {expressions: [{key: nvidia.com/gpu.memory, operator: Gt, values: ["15000"]}]}
    - {expressions: [{key: zone, operator: In, values: [a, b]}], weight: 10}
service_account: trainer
image_pull_secrets: [registry]
secrets:
  - {name: store, keys: [AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY], optional: false}
  - {name: signing, keys: [CLINADAPT_SIGNING_KEY], steps: [publish]}
ca_bundle: {config_map: site-ca, key: bundle.pem}
shared_memory: 4Gi
scratch: {size: 100Gi, storage_class: fast}
model_cache: models
timeouts: {train: 3600}
user: 10001
group: 0
labels: {team: nlp}
"""

Document = dict[str, Any]


def render(profile: str, cluster: Cluster, stage: Any = None, nodes: int = 2) -> Document:
    """Pretrain where the profile has it, unless another stage is asked for."""
    chosen = load_profile(profile)
    pretrains = isinstance(chosen, InstructProfile) and chosen.pretrain is not None
    stage = stage or ("pretrain" if pretrains else "instruct")
    base = f"{STORE}/bases/0123456789abcdef" if pretrains and stage == "instruct" else None
    return trainjob.render(chosen, cluster, nodes, SPLITS, STORE, stage, base)


def full() -> Cluster:
    return Cluster.model_validate(yaml.safe_load(FULL))


def patch_of(document: Document) -> Document:
    """The pod's patch."""
    (patch,) = document["spec"]["runtimePatches"]
    (job,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    return job["template"]["spec"]["template"]


def as_pod(document: Document) -> Document:
    """The pod that the runtime makes of it: its container with image, command, environment and resources."""
    trainer, patch = document["spec"]["trainer"], copy.deepcopy(patch_of(document))
    (container,) = patch["spec"]["containers"]
    container |= {"image": trainer["image"], "command": trainer["command"], "args": trainer["args"]}
    container |= {"env": trainer["env"], "resources": trainer["resourcesPerNode"]}
    return {"apiVersion": "v1", "kind": "Pod", **patch}


def findings(document: Document) -> Iterator[str]:
    try:
        job = TrainerV1alpha1TrainJob.from_dict(document)
    except ValidationError as error:
        yield f"schema: {error.errors()[0]['loc']}"
        return
    if job.to_dict() != document:  # the models leave out what they do not know
        yield "schema: an unknown field"
        return
    yield from (f"admission: {problem}" for problem in admission(document))
    if not re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", document["metadata"]["name"]) or len(job.metadata.name) > 52:
        yield "name"  # of a pod it becomes <name>-node-0-0, a host name of 63 letters at most
    trainer, pod = document["spec"]["trainer"], as_pod(document)
    if RESERVED & {variable["name"] for variable in trainer["env"]}:
        yield "a variable that the runtime sets"
    yield from (f"literal secret {v['name']}" for v in trainer["env"] if SECRET_NAME.search(v["name"]) and "value" in v)
    security, container = pod["spec"]["securityContext"], pod["spec"]["containers"][0]
    if not security["runAsNonRoot"] or security["seccompProfile"] != {"type": "RuntimeDefault"}:
        yield "pod securityContext"
    if container["name"] != "node":
        yield "no container of the runtime"
    restricted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    if container.get("securityContext") != restricted:
        yield "container securityContext"
    if {m["name"] for m in container["volumeMounts"]} != {v["name"] for v in pod["spec"]["volumes"]}:
        yield "volumes and mounts differ"
    gpus = [count for name, count in container["resources"]["limits"].items() if name not in ("cpu", "memory")]
    if gpus != [str(trainer["numProcPerNode"])]:
        yield "not one process for each GPU"
    task = NodesTask.model_validate_json(trainer["args"][0])
    if not all(uri.startswith("s3://") for uri in (task.splits, task.store)):
        yield "a place that nodes do not share"


@pytest.mark.parametrize(("profile", "cluster"), [*product(GPU, [*cluster_names(), "full"])])
def test_no_findings(profile: str, cluster: str) -> None:
    assert list(findings(render(profile, full() if cluster == "full" else load_cluster(cluster)))) == []


def test_every_profile_with_several_gpus_is_looked_at() -> None:
    assert set(GPU) >= {"a100x4-llama3-8b", "t4-phi2"}
    assert list(findings(render("a100x4-llama3-8b", full(), "instruct"))) == []


def test_what_is_trained_is_what_the_pipeline_trains() -> None:
    profile = load_profile("a100x4-llama3-8b")
    assert isinstance(profile, InstructProfile) and profile.pretrain
    stages = {stage: render(profile.name, Cluster(name="c"), stage) for stage in ("pretrain", "instruct")}
    tasks = {s: NodesTask.model_validate_json(d["spec"]["trainer"]["args"][0]) for s, d in stages.items()}
    assert tasks["pretrain"].settings == profile.pretrain
    assert tasks["pretrain"].base_model == profile.instruct.base_model
    made = {"base_model": f"{STORE}/bases/0123456789abcdef"}
    assert tasks["instruct"].settings == profile.instruct.model_copy(update=made)
    assert trainjob.packs_per_step(stages["pretrain"]) == 4 * 4 * 2 * 4  # batch, accumulation, nodes, GPUs


def test_prefer_asks_for_the_one_gpu_that_it_uses() -> None:
    profile = load_profile("a100x4-llama3-8b")
    for step, gpus in (("train", 4), ("prefer", 1)):
        trainer = trainjob.template(profile, full(), 2, step)["spec"]["trainer"]  # type: ignore[arg-type]
        limit = {name: value for name, value in trainer["resourcesPerNode"]["limits"].items() if "nvidia" in name}
        assert trainer["numProcPerNode"] == gpus and list(limit.values()) == [str(gpus)]
        assert limits(profile, step).gpu == gpus  # type: ignore[arg-type]
        threads = next(entry["value"] for entry in trainer["env"] if entry["name"] == "OMP_NUM_THREADS")
        assert int(threads) == int(profile.train_resources.cpu) // gpus >= 1


def test_the_cluster_s_settings_arrive() -> None:
    document = render("t4-phi2", full())
    trainer, pod = document["spec"]["trainer"], patch_of(document)["spec"]
    assert document["spec"]["activeDeadlineSeconds"] == 3600
    assert trainer["resourcesPerNode"]["limits"] == {"cpu": "4", "memory": "16Gi", "nvidia.com/mig-3g.20gb": "1"}
    names = {variable["name"] for variable in trainer["env"]}
    assert {"AWS_SECRET_ACCESS_KEY", "AWS_CA_BUNDLE", "CLINADAPT_GPU"} <= names
    assert "CLINADAPT_SIGNING_KEY" not in names, "which publish alone gets"
    assert pod["nodeSelector"] == {"pool": "gpu"} and pod["serviceAccountName"] == "trainer"
    assert pod["tolerations"] == [{"key": "team", "operator": "Equal", "value": "nlp", "effect": "NoExecute"}]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["securityContext"]["fsGroup"] == 0 and pod["securityContext"]["runAsUser"] == 10001
    affinity = pod["affinity"]["nodeAffinity"]
    assert len(affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]) == 1
    assert affinity["preferredDuringSchedulingIgnoredDuringExecution"][0]["weight"] == 10
    assert patch_of(document)["metadata"]["labels"]["team"] == "nlp"


def test_a_cluster_with_a_trainer() -> None:
    """Our runtime, the queue, time to save, no service account; and what a training step creates has the same name."""
    trainer = {"queue": "nlp", "priority": "urgent", "grace_seconds": 300}
    cluster = full().model_copy(update={"trainer": Trainer.model_validate(trainer)})
    document = render("t4-phi2", cluster)
    assert list(findings(document)) == []
    assert document["spec"]["runtimeRef"] == {
        "apiGroup": "trainer.kubeflow.org", "kind": "TrainingRuntime", "name": "clinadapt"
    }  # fmt: skip
    assert document["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "nlp"
    assert document["metadata"]["labels"]["kueue.x-k8s.io/priority-class"] == "urgent"
    pod = patch_of(document)["spec"]
    assert pod["terminationGracePeriodSeconds"] == 300 and "serviceAccountName" not in pod
    made = trainjob.template(load_profile("t4-phi2"), cluster, 2, "train")
    task = NodesTask.model_validate_json(document["spec"]["trainer"]["args"][0])
    assert fill(made, task) == document
    assert render("t4-phi2", full())["spec"]["runtimeRef"] == {"name": "torch-distributed"}


def test_splits_as_kubeflow_pipelines_names_them() -> None:
    document = trainjob.render(load_profile("t4-phi2"), full(), 2, "minio://mlpipeline/v2/artifacts/x/splits", STORE)
    assert "minio://mlpipeline/v2/artifacts/x/splits" in document["spec"]["trainer"]["args"][0]


def test_the_name_follows_what_is_trained() -> None:
    cluster = Cluster(name="c")
    names = [
        render("t4-phi2", cluster)["metadata"]["name"],
        render("t4-phi2", cluster)["metadata"]["name"],
        render("t4-phi2", cluster, nodes=3)["metadata"]["name"],
    ]
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize(
    ("path", "value", "finding"),
    [
        ("spec.runtimeRef", {}, "schema"),
        ("spec.trainer.numNodes", "two", "schema"),
        ("spec.trainer.comand", ["python"], "schema: an unknown field"),
        ("spec.trainer.env.0", {"value": "x"}, "schema"),
        ("spec.runtimePatches.0.manager", None, "schema"),
        ("spec.runtimePatches.0.manager", "clinadapt", "admission: manager clinadapt: must be a domain-prefixed path"),
        ("spec.podTemplateOverrides", [], "schema: an unknown field"),  # as it was before 2.2
        ("metadata.name", "4-gpus", "name"),
        ("metadata.name", "t" * 60, "name"),
        ("spec.trainer.image", 7, "schema"),
        ("spec.trainer.env.0", {"name": "PET_NNODES", "value": "2"}, "a variable that the runtime sets"),
        ("spec.trainer.env.0", {"name": "HF_TOKEN", "value": "x"}, "literal secret HF_TOKEN"),
        ("spec.trainer.numProcPerNode", 3, "not one process for each GPU"),
    ],
)
def test_a_planted_defect_is_found(path: str, value: Any, finding: str) -> None:
    document = render("t4-phi2", full())
    node: Any = document
    *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    for key in parents:
        node = node[key]
    node[last] = value
    found = list(findings(document))
    assert found and found[0].startswith(finding), found


@pytest.mark.parametrize(
    ("section", "key", "value", "finding"),
    [
        ("securityContext", "runAsNonRoot", False, "pod securityContext"),
        ("containers", 0, {"name": "trainer", "volumeMounts": []}, "admission: must not have container"),
        ("volumes", 0, {"name": "other", "emptyDir": {}}, "volumes and mounts differ"),
        ("tolerations", 0, {"key": "a", "effects": "NoSchedule"}, "schema: an unknown field"),
        ("volumes", 0, {"name": "tmp", "emptyDir": {"size": "1Gi"}}, "schema: an unknown field"),
    ],
)
def test_a_planted_defect_of_the_pod_is_found(section: str, key: Any, value: Any, finding: str) -> None:
    document = render("t4-phi2", full())
    patch_of(document)["spec"][section][key] = value
    found = list(findings(document))
    assert found and found[0].startswith(finding), found


@pytest.mark.parametrize(
    ("profile", "options", "message"),
    [
        ("t4-tinyllama", {}, "classify trains on one GPU"),
        ("a100x4-llama3-8b", {}, "run --stage pretrain first"),
        ("t4-phi2", {"stage": "pretrain"}, "has no section pretrain"),
        ("t4-phi2", {"store": "minio://clinadapt"}, "--store minio://clinadapt: nodes share no folder"),
        ("t4-phi2", {"splits": "file:///splits"}, "--splits file:///splits: nodes share no folder"),
        ("t4-phi2", {"store": "/store"}, "--store /store: nodes share no folder"),
    ],
)
def test_what_cannot_be_rendered_is_one_line(profile: str, options: dict[str, Any], message: str) -> None:
    given = {"nodes": 2, "splits": SPLITS, "store": STORE} | options
    with pytest.raises(UserError, match=message):
        trainjob.render(load_profile(profile), Cluster(name="c"), **given)


def test_the_command_writes_what_kubectl_reads(clinadapt: Clinadapt, tmp_path: Path) -> None:
    command = ["trainjob", "--profile", "t4-phi2", "--splits", SPLITS, "--nodes", "3", "--store", STORE]
    done = clinadapt(*command)
    assert done.returncode == 0, done.stderr
    document = yaml.safe_load(done.stdout)
    assert list(findings(document)) == [] and document["spec"]["trainer"]["numNodes"] == 3
    assert "clinadapt submit -p t4-phi2" in done.stderr
    assert "48 packs" in done.stderr  # 2 a batch, 8 batches, 3 nodes
    assert clinadapt(*command, "--output", tmp_path / "job.yaml").returncode == 0
    assert yaml.safe_load((tmp_path / "job.yaml").read_text()) == document
    refused = clinadapt(*command, "--nodes", "0")
    assert refused.returncode == 2 and not refused.stdout
