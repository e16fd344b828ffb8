"""The manifests as a cluster gets them: rendered by kustomize, held against the Kubernetes schemas, the
restricted Pod Security Standard and the rules of this repository. Every rule is shown to bite on a planted
defect."""

import copy
import functools
import json
import re
import tomllib
from collections.abc import Iterator
from itertools import chain
from typing import Any

import kubernetes_validate
import pytest
import typer
from kubeflow_trainer_api.models import TrainerV1alpha1TrainingRuntime
from kustomize import ROOT, documented, render
from network_policy import Place, allowed

from clinadapt.config.image import IMAGE
from clinadapt.kubernetes.cluster import NO_SIDECAR, Trainer
from pipelines.cli.main import app
from pipelines.cli.mirror_list import VLLM
from pipelines.named_settings import cluster_names, load_cluster

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
KUBERNETES = ("1.30", "1.32", "1.34", kubernetes_validate.latest_version())  # the oldest that is supported, and newer
FOLDERS = ["base", *(f"overlays/{path.name}" for path in sorted((ROOT / "manifests/overlays").iterdir()))]
SERVING = "+serving"
RUNS = "clinadapt-runs"
TRAINED = "base+runs+trainer"
WATCHED = "base+metrics"
SERVED = [*(folder + SERVING for folder in FOLDERS), TRAINED, WATCHED]
# What KServe's predictor has beside a pod's own fields, of those that are used
# (https://kserve.github.io/website/docs/reference/crd-api, PredictorSpec and ComponentExtensionSpec)
PREDICTOR = {"minReplicas", "maxReplicas", "deploymentStrategy", "labels"}

# Exactly these, and so nothing that the restricted standard forbids: no user id, privilege, added capability.
# https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
POD_SECURITY = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
VOLUMES = {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"}
PROBES = "startupProbe", "readinessProbe", "livenessProbe"
LITERAL = re.compile(r"AKIA[0-9A-Z]{16}|(?i:secretKey|password): *\S{16}")
SECRET_NAME = re.compile("KEY|SECRET|PASSWORD|TOKEN|CREDENTIAL", re.IGNORECASE)

Document = dict[str, Any]


@pytest.fixture
def rendered() -> list[Document]:
    return render("base")


@functools.cache
def schema_error(document: str, version: str) -> str | None:
    """What the schema of a Kubernetes version says against a document, given as JSON."""
    try:
        kubernetes_validate.validate(json.loads(document), version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"schema {version}: {error.message}"
    return None


def schema_findings(document: Document) -> Iterator[str]:
    if document["apiVersion"] == "route.openshift.io/v1":
        return  # OpenShift's own; test_openshift looks at it
    if document["kind"] == "TrainingRuntime":
        model = TrainerV1alpha1TrainingRuntime.from_dict(document)
        if model.to_dict() != document:
            yield "schema: an unknown field"
        return
    if document["kind"] == "InferenceService":
        document = predictor_pod(document)
    found = (schema_error(json.dumps(document, sort_keys=True), version) for version in KUBERNETES)
    yield from filter(None, found)


def predictor_pod(service: Document) -> Document:
    """The pod of KServe's raw deployment; what KServe alone knows is left out. Its CRD comes with no light package."""
    spec = {key: value for key, value in service["spec"]["predictor"].items() if key not in PREDICTOR}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "predictor"}, "spec": spec}


def container_findings(container: Document) -> Iterator[str]:
    if container.get("securityContext") != CONTAINER_SECURITY:
        yield "container securityContext"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "host port"
    ours = rf"clinadapt/[a-z-]+:{re.escape(VERSION)}|{re.escape(VLLM)}"
    mirrored = r"registry\.example\.org/(clinadapt|vllm)/[a-z-]+@sha256:[0-9a-f]{64}"
    if not re.fullmatch(f"{ours}|{mirrored}", container["image"]):
        yield f"image {container['image']}"
    for bound in ("requests", "limits"):
        if not {"cpu", "memory"} <= container.get("resources", {}).get(bound, {}).keys():
            yield f"resources without {bound}"
    for variable in container.get("env", []):
        if SECRET_NAME.search(variable["name"]) and "value" in variable:
            yield f"literal secret {variable['name']}"


def pod_findings(pod: Document, security: Document = POD_SECURITY) -> Iterator[str]:
    if pod.get("securityContext") != security:
        yield "pod securityContext"
    if pod.get("automountServiceAccountToken") is not False:
        yield "service account token mounted"
    yield from (f"host namespace {key}" for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key))
    for volume in pod.get("volumes", []):
        if not volume.keys() - {"name"} <= VOLUMES:
            yield f"volume {volume['name']}"
    for container in pod["containers"] + pod.get("initContainers", []):
        yield from container_findings(container)


def sidecar_findings(labels: Document) -> Iterator[str]:
    if labels.get(NO_SIDECAR) != "false":
        yield "a mesh puts its sidecar in"


def probe_findings(pod: Document) -> Iterator[str]:
    for container in pod["containers"]:
        yield from (f"no {probe}" for probe in PROBES if probe not in container)


def inference_findings(document: Document) -> Iterator[str]:
    predictor = document["spec"]["predictor"]
    yield from sidecar_findings(predictor.get("labels", {}))
    user = {"runAsUser": 2000} if "runAsUser" in predictor.get("securityContext", {}) else {}  # vLLM's own, not root
    yield from pod_findings(predictor, POD_SECURITY | user)
    yield from probe_findings(predictor)
    if document["spec"].keys() != {"predictor"}:
        yield "schema: an InferenceService has a predictor alone"
    # pkg/constants of KServe: the Service leads to the first port of the second
    if [container["name"] for container in predictor["containers"]] != ["kserve-container", "transformer-container"]:
        yield "no container of KServe's name"
    if document["metadata"].get("annotations") != {"serving.kserve.io/deploymentMode": "RawDeployment"}:
        yield "not a raw deployment"
    if predictor.get("deploymentStrategy") != {"type": "Recreate"}:
        yield "a second GPU is waited for"
    container = predictor["containers"][0]
    gpu = {bound: container["resources"].get(bound, {}).get("nvidia.com/gpu") for bound in ("requests", "limits")}
    if gpu != {"requests": "1", "limits": "1"}:
        yield "no GPU"


def serving_findings(documents: list[Document]) -> Iterator[str]:
    """As wiring_findings, of components/serving."""
    service = next(d for d in documents if d["kind"] == "InferenceService")
    predictor = service["spec"]["predictor"]
    (fetch,), (server, gateway) = predictor["initContainers"], predictor["containers"]
    policy = find(documents, "NetworkPolicy/serving")["spec"]
    if policy["podSelector"]["matchLabels"] != {"serving.kserve.io/inferenceservice": service["metadata"]["name"]}:
        yield "the network policy of serving misses the pods"
    opened = [port["port"] for rule in policy["ingress"] for port in rule["ports"]]
    if opened != [port["containerPort"] for port in gateway["ports"]] or f"--port={opened[0]}" not in gateway["args"]:
        yield "the network policy of serving misses the port"
    port = next((a.removeprefix("--port=") for a in server["args"] if a.startswith("--port=")), "")
    if "--host=127.0.0.1" not in server["args"] or "ports" in server:
        yield "others reach what loads adapters"
    if f"--server=http://127.0.0.1:{port}" not in gateway["args"]:
        yield "the gateway misses the server"
    if {"name": "VLLM_ALLOW_RUNTIME_LORA_UPDATING", "value": "1"} not in server["env"]:
        yield "the server does not load adapters"
    if policy["egress"]:
        yield "serving has a way out"
    names = {f"{d['kind']}/{d['metadata']['name']}" for d in documents}
    wanted = {
        f"ServiceAccount/{predictor.get('serviceAccountName')}",
        f"PriorityClass/{predictor['priorityClassName']}",
    }
    references = [reference for container in (fetch, server, gateway) for reference in container["envFrom"]]
    maps = [reference["configMapRef"] for reference in references if "configMapRef" in reference]
    wanted |= {f"ConfigMap/{reference['name']}" for reference in maps if not reference.get("optional")}
    yield from (f"no {name}" for name in sorted(wanted - names))
    folder = next(a.removeprefix("--to=") for a in fetch["args"] if a.startswith("--to="))
    is_followed = f"--to={folder}" in gateway["args"] and "--hot-swap" in fetch["args"]
    if server["args"][:2] != ["--config", f"{folder}/vllm.yaml"] or not is_followed:
        yield "what is fetched is not what is served"
    for container in (server, gateway):
        if {"secretRef": {"name": "clinadapt-serving"}} not in container["envFrom"]:
            yield "anybody may ask"


def network_findings(spec: Document) -> Iterator[str]:
    if {side.capitalize() for side in ("ingress", "egress") if side in spec} - set(spec["policyTypes"]):
        yield "network policy leaves a direction open"
    for side, peer in (("ingress", "from"), ("egress", "to")):
        for rule in spec.get(side, []):
            if not rule.get(peer) or not rule.get("ports"):
                yield f"{side} without a peer or a port"


def document_findings(document: Document) -> Iterator[str]:
    yield from schema_findings(document)
    match document["kind"]:
        case "Deployment":
            yield from sidecar_findings(document["spec"]["template"]["metadata"]["labels"])
            yield from pod_findings(document["spec"]["template"]["spec"])
            yield from probe_findings(document["spec"]["template"]["spec"])
        case "Job":
            yield from sidecar_findings(document["spec"]["template"]["metadata"]["labels"])
            yield from pod_findings(document["spec"]["template"]["spec"])
        case "InferenceService":
            yield from inference_findings(document)
        case "NetworkPolicy":
            yield from network_findings(document["spec"])
        case "ServiceAccount":
            runs = document["metadata"]["name"] == RUNS  # whose pods call the API server, with a Role of few rights
            if document.get("automountServiceAccountToken") is not runs:
                yield "service account token mounted"
        case "Role":
            yield from role_findings(document["rules"])
        case "TrainingRuntime":
            yield from runtime_findings(document["spec"]["template"]["spec"])
        case "Secret":
            yield "literal secret"
        case "ConfigMap":
            yield from (f"literal secret {key}" for key in document.get("data", {}) if SECRET_NAME.search(key))
            if any(LITERAL.search(value) for value in document.get("data", {}).values()):
                yield "literal secret"
        case "PriorityClass" if document.get("preemptionPolicy") != "Never":
            yield "a class that evicts others"
        case "Namespace":
            if document["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") != "restricted":
                yield "namespace is not restricted"


def role_findings(rules: list[Document]) -> Iterator[str]:
    """A whole run passed with these rights."""
    for rule in rules:
        if "*" in [*rule["resources"], *rule["verbs"], *rule["apiGroups"]]:
            yield "a right to everything"
        if {"secrets", "configmaps"} & set(rule["resources"]) and not rule.get("resourceNames"):
            yield "a right to every secret"
        if {"pods/exec", "deployments", "roles"} & set(rule["resources"]):
            yield "a right to run anything"


def runtime_findings(spec: Document) -> Iterator[str]:
    """A TrainJob's pods as tried: exit status 2 ends it, an interrupt and a lost pod are not counted."""
    (job,) = spec["replicatedJobs"]
    policy = job["template"]["spec"]["podFailurePolicy"]["rules"]
    codes = {rule["onExitCodes"]["values"][0]: rule["action"] for rule in policy if "onExitCodes" in rule}
    lost = [rule["action"] for rule in policy if "onPodConditions" in rule]
    if codes != {2: "FailJob", 75: "Ignore"} or lost != ["Ignore"]:
        yield "exit statuses of a node"
    if [rule["action"] for rule in spec["failurePolicy"]["rules"]] != ["FailJobSet"]:
        yield "a wrong setting is repeated"
    if job["template"]["metadata"]["labels"] != {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}:
        yield "no node of Kubeflow Trainer"
    pod = job["template"]["spec"]["template"]
    yield from sidecar_findings(pod["metadata"]["labels"])
    if pod["spec"]["restartPolicy"] != "Never" or pod["spec"]["terminationGracePeriodSeconds"] < 60:
        yield "a pod without time to save"
    if pod["spec"].get("automountServiceAccountToken") is not False:
        yield "service account token mounted"
    (container,) = pod["spec"]["containers"]
    if container["name"] != "node" or container["securityContext"] != CONTAINER_SECURITY:
        yield "container securityContext"


def wiring_findings(documents: list[Document]) -> Iterator[str]:
    """What no document shows alone: the service finds the pods, the policy opens their port, and so on."""
    policies = {d["metadata"]["name"]: d["spec"] for d in documents if d["kind"] == "NetworkPolicy"}
    if policies.get("default-deny") != {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}:
        yield "no default deny"
    template = find(documents, "Deployment/review")["spec"]["template"]
    service = find(documents, "Service/review")["spec"]
    ports = {port["name"]: port["containerPort"] for port in template["spec"]["containers"][0]["ports"]}
    selectors = service["selector"], policies["review"]["podSelector"]["matchLabels"]
    if not all(selector.items() <= template["metadata"]["labels"].items() for selector in selectors):
        yield "a selector misses the pods"
    if [port["targetPort"] for port in service["ports"]] != list(ports):
        yield "the service misses the port"
    opened = [port["port"] for rule in policies["review"]["ingress"] for port in rule["ports"]]
    if opened != list(ports.values()):
        yield "the network policy misses the port"
    budget = find(documents, "PodDisruptionBudget/review")["spec"]
    if not budget["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items():
        yield "the disruption budget misses the pods"
    if template["spec"].get("priorityClassName") not in {
        d["metadata"]["name"] for d in documents if d["kind"] == "PriorityClass"
    }:
        yield "no such priority class"
    accounts = {d["metadata"]["name"] for d in documents if d["kind"] == "ServiceAccount"}
    if template["spec"].get("serviceAccountName") not in accounts:
        yield "no service account of its own"


def findings(documents: list[Document]) -> list[str]:
    served = any(document["kind"] == "InferenceService" for document in documents)
    serving = serving_findings(documents) if served else ()
    return [*chain.from_iterable(map(document_findings, documents)), *wiring_findings(documents), *serving]


def find(documents: list[Document], target: str) -> Document:
    """The document named KIND/NAME; the hash that kustomize adds to a generated name is left out."""
    name = re.compile(f"{target}(-[a-z0-9]{{10}})?")
    return next(d for d in documents if name.fullmatch(f"{d['kind']}/{d['metadata']['name']}"))


@pytest.mark.parametrize("folder", FOLDERS + SERVED)
def test_no_findings(folder: str) -> None:
    assert findings(render(folder)) == []


def test_the_overlays() -> None:
    assert FOLDERS == ["base", "overlays/airgap", "overlays/kind", "overlays/openshift"]


@pytest.mark.parametrize("folder", ["overlays/airgap", f"overlays/airgap{SERVING}"])
def test_airgap(folder: str) -> None:
    """Every image by digest."""
    documents = render(folder)
    assert "@sha256:" in review_container(documents)["image"]
    if folder.endswith(SERVING):
        predictor = find(documents, "InferenceService/instruct")["spec"]["predictor"]
        assert all("@sha256:" in c["image"] for c in predictor["initContainers"] + predictor["containers"])
        assert find(documents, "ServiceAccount/serving")["imagePullSecrets"] == [{"name": "clinadapt-registry"}]


def test_what_reads_the_store_trusts_its_certificate_where_a_site_has_a_ca_of_its_own() -> None:
    """Every container with the keys of the store, and the volume is in its pod."""
    documents = render("overlays/airgap+serving+metrics")
    pods = [d["spec"]["template"]["spec"] for d in documents if d["kind"] == "Deployment"]
    pods.append(find(documents, "InferenceService/instruct")["spec"]["predictor"])
    readers = 0
    for pod in pods:
        for container in pod.get("initContainers", []) + pod["containers"]:
            if {"secretRef": {"name": "clinadapt-store"}} in container["envFrom"]:
                readers += 1
                paths = {entry["name"]: entry["value"] for entry in container["env"]}
                assert paths["AWS_CA_BUNDLE"] == "/etc/clinadapt/ca/ca.pem", container["name"]
                mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
                assert mounts["/etc/clinadapt/ca"] in {volume["name"] for volume in pod["volumes"]}
    assert readers == 4


def test_the_overlay_of_a_site_as_documented() -> None:
    """Its registry, its API server alone, the way to its store beside that of Kubeflow Pipelines, a quota of slices."""
    documents = documented("site")
    assert review_container(documents)["image"] == f"registry.example.org/clinadapt/review:{VERSION}"
    store, own = Place("kubeflow", {"app": "seaweedfs"}), Place(address="192.0.2.10")
    pod, policies = Place("clinadapt", {}), [d for d in documents if d["kind"] == "NetworkPolicy"]
    assert allowed(policies, pod, store, 9000) and allowed(policies, pod, own, 443)
    step = Place("clinadapt", {"workflows.argoproj.io/workflow": "run-1"})
    reached = {
        (address, port)
        for address in ("203.0.113.7", "10.0.0.1", "172.18.0.2", "192.168.0.1", "100.64.3.1")
        for port in (443, 6443)
        if allowed(policies, step, Place(address=address), port)
    }
    assert reached == {("203.0.113.7", 6443)}
    hard = find(documents, "ResourceQuota/clinadapt")["spec"]["hard"]
    assert hard["requests.nvidia.com/gpu"] == "4" and hard["requests.nvidia.com/mig-3g.20gb"] == "2"
    assert all("image" in each or "egress" in each for each in findings(documents)), "the registry is the site's"


def test_the_runs_of_a_single_user_installation_as_documented() -> None:
    """Service account, Roles and runtime, where the runs are."""
    documents = documented("runs")
    assert {d["kind"] for d in documents} == {"ServiceAccount", "Role", "RoleBinding", "TrainingRuntime"}
    assert {d["metadata"]["namespace"] for d in documents} == {"kubeflow"}
    subjects = [subject for d in documents for subject in d.get("subjects", ())]
    assert {subject["namespace"] for subject in subjects} == {"kubeflow"}
    assert [finding for document in documents for finding in document_findings(document)] == []


def test_openshift() -> None:
    """No user of our own, and the Route leads to the port of the Service."""
    documents = render(f"overlays/openshift{SERVING}")
    assert "runAsUser" not in str(documents)
    route = find(documents, "Route/review")["spec"]
    ports = {port["name"] for port in find(documents, "Service/review")["spec"]["ports"]}
    assert route["to"] == {"kind": "Service", "name": "review", "weight": 100}
    assert route["port"]["targetPort"] in ports and route["tls"]["insecureEdgeTerminationPolicy"] == "Redirect"


def test_kind_is_small() -> None:
    documents = render("overlays/kind")
    assert review_container(documents)["resources"]["limits"] == {"cpu": "1", "memory": "3Gi"}
    script = find(documents, "Job/bucket")["spec"]["template"]["spec"]["containers"][0]["args"][0]
    compile(script, "bucket", "exec")


def test_names_that_clusters_and_manifests_share() -> None:
    claims = {d["metadata"]["name"] for d in render("base") if d["kind"] == "PersistentVolumeClaim"}
    bundles = {d["metadata"]["name"] for d in render("overlays/openshift") if d["kind"] == "ConfigMap"}
    for name in cluster_names():
        cluster = load_cluster(name)
        assert {cluster.model_cache} - {None} <= claims, name
    assert load_cluster("openshift").ca_bundle.config_map in bundles  # type: ignore[union-attr]


def review_container(documents: list[Document]) -> Document:
    return find(documents, "Deployment/review")["spec"]["template"]["spec"]["containers"][0]


def test_the_review_page_is_started_as_the_command_line_allows(rendered: list[Document]) -> None:
    container = review_container(rendered)
    _, command = container["command"]
    known = typer.main.get_group(app).commands[command].params
    assert {argument.split("=")[0] for argument in container["args"]} <= {o for p in known for o in p.opts}


def test_the_metrics_are_served_as_the_command_line_allows() -> None:
    """The Service finds the pod; annotation, policy and command name one port; Grafana finds the dashboard."""
    documents = render(WATCHED)
    template = find(documents, "Deployment/metrics")["spec"]["template"]
    (container,) = template["spec"]["containers"]
    _, command = container["command"]
    known = typer.main.get_group(app).commands[command].params
    assert {argument.split("=")[0] for argument in container["args"]} <= {o for p in known for o in p.opts}
    service = find(documents, "Service/metrics")
    policy = find(documents, "NetworkPolicy/metrics")["spec"]
    labels = template["metadata"]["labels"].items()
    assert service["spec"]["selector"].items() <= labels and policy["podSelector"]["matchLabels"].items() <= labels
    (port,) = container["ports"]
    assert f"--port={port['containerPort']}" in container["args"] and container["image"] == IMAGE
    assert service["metadata"]["annotations"]["prometheus.io/port"] == str(port["containerPort"])
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    dashboard = find(documents, "ConfigMap/clinadapt-dashboard")
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(dashboard["data"]["dashboard.json"])["title"] == "Clinadapt"


def test_the_documented_builds_make_the_images_that_run(rendered: list[Document]) -> None:
    containerfile = (ROOT / "images/Containerfile").read_text()
    built = re.findall(r"-t (\S+)", containerfile)
    assert built == [IMAGE, load_cluster("default").gpu.image, review_container(rendered)["image"]]
    assert IMAGE.endswith(f":{VERSION}")
    assert f"ARG VERSION={VERSION}\n" in containerfile


def test_the_service_account_of_runs_is_the_one_that_the_settings_name() -> None:
    """And every secret that a step may get by reference needs no right: the kubelet reads it."""
    documents = render(TRAINED)
    for name in (RUNS, "clinadapt-trainjobs"):
        (subject,) = find(documents, f"RoleBinding/{name}")["subjects"]
        assert subject == {"kind": "ServiceAccount", "name": RUNS, "namespace": "clinadapt"}
    assert find(documents, "TrainingRuntime/clinadapt")["metadata"]["name"] == Trainer().runtime


def test_the_adapter_is_fetched_as_the_command_line_allows() -> None:
    predictor = find(render(f"base{SERVING}"), "InferenceService/instruct")["spec"]["predictor"]
    for container in (*predictor["initContainers"], predictor["containers"][1]):
        _, group, command = container["command"]
        known = typer.main.get_group(app).commands[group].commands[command].params  # type: ignore[attr-defined]
        options = {argument.split("=")[0] for argument in container["args"] if argument.startswith("--")}
        assert options <= {o for p in known for o in p.opts} and container["image"] == IMAGE


POD = "spec.template.spec"
APP = f"{POD}.containers.0"
APP_SECURITY = f"{APP}.securityContext"
REMOVED = object()
INSTRUCT, PREDICTOR_POD = "InferenceService/instruct", "spec.predictor"
SERVER, FETCH = f"{PREDICTOR_POD}.containers.0", f"{PREDICTOR_POD}.initContainers.0"
GATEWAY = f"{PREDICTOR_POD}.containers.1"
RUNTIME, NODE_JOB = "TrainingRuntime/clinadapt", "spec.template.spec.replicatedJobs.0.template.spec"
OUT = [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": 443}]}]


@pytest.mark.parametrize(
    ("target", "path", "value", "finding"),
    [
        ("Deployment/review", f"{POD}.securityContext.runAsNonRoot", False, "pod securityContext"),
        ("Deployment/review", f"{POD}.securityContext.seccompProfile", REMOVED, "pod securityContext"),
        ("Deployment/review", f"{POD}.hostNetwork", True, "host namespace hostNetwork"),
        ("Deployment/review", f"{POD}.volumes.0", {"name": "tmp", "hostPath": {"path": "/"}}, "volume tmp"),
        ("Deployment/review", f"{POD}.serviceAccountName", REMOVED, "no service account of its own"),
        ("Deployment/review", APP_SECURITY, REMOVED, "container securityContext"),
        ("Deployment/review", f"{APP_SECURITY}.runAsUser", 0, "container securityContext"),
        ("Deployment/review", f"{APP_SECURITY}.privileged", True, "container securityContext"),
        ("Deployment/review", f"{APP_SECURITY}.capabilities.add", ["SYS_ADMIN"], "container securityContext"),
        ("Deployment/review", f"{APP}.ports.0.hostPort", 7860, "host port"),
        ("Deployment/review", f"{APP}.image", "clinadapt/review:latest", "image clinadapt/review:latest"),
        ("Deployment/review", f"{APP}.image", "clinadapt/review", "image clinadapt/review"),
        ("Deployment/review", f"{APP}.resources.limits", REMOVED, "resources without limits"),
        ("Deployment/review", f"{APP}.resources.requests.memory", REMOVED, "resources without requests"),
        ("Deployment/review", f"{APP}.readinessProbe", REMOVED, "no readinessProbe"),
        ("Deployment/review", f"{APP}.env", [{"name": "AWS_ACCESS_KEY_ID", "value": "x"}], "literal secret"),
        ("Deployment/review", f"{APP}.livenessProb", {}, "schema"),
        ("Deployment/review", f"{POD}.enableServiceLinks", "no", "schema"),
        ("Deployment/review", f"{APP}.ports.0.containerPort", 7861, "the network policy misses the port"),
        ("Service/review", "spec.ports.0.targetPort", "web", "the service misses the port"),
        ("Service/review", "spec.selector", {"app": "review"}, "a selector misses the pods"),
        ("ServiceAccount/review", "automountServiceAccountToken", REMOVED, "service account token mounted"),
        ("ConfigMap/review", "kind", "Secret", "literal secret"),
        ("ConfigMap/review", "data.AWS_SECRET_ACCESS_KEY", "x", "literal secret AWS_SECRET_ACCESS_KEY"),
        ("NetworkPolicy/default-deny", "metadata.name", "deny", "no default deny"),
        ("NetworkPolicy/review", "spec.policyTypes", ["Ingress"], "network policy leaves a direction open"),
        ("Deployment/review", f"{POD}.automountServiceAccountToken", REMOVED, "service account token mounted"),
        ("Deployment/review", f"{POD}.priorityClassName", "gold", "no such priority class"),
        ("PodDisruptionBudget/review", "spec.selector.matchLabels", {"a": "b"}, "the disruption budget misses"),
        ("PriorityClass/clinadapt-training", "preemptionPolicy", REMOVED, "a class that evicts others"),
        ("ResourceQuota/clinadapt", "spec.hard", ["4"], "schema"),
        ("PersistentVolumeClaim/clinadapt-models", "spec.accessMode", "x", "schema"),
        ("NetworkPolicy/trainjobs", "spec.ingress.0.ports", REMOVED, "ingress without a peer or a port"),
        ("NetworkPolicy/store", "spec.egress.0.to", REMOVED, "egress without a peer or a port"),
        ("Namespace/clinadapt", "metadata.labels", {}, "namespace is not restricted"),
        (INSTRUCT, f"{PREDICTOR_POD}.securityContext.runAsUser", 0, "pod securityContext"),
        (INSTRUCT, f"{PREDICTOR_POD}.securityContext.runAsNonRoot", False, "pod securityContext"),
        (INSTRUCT, f"{PREDICTOR_POD}.automountServiceAccountToken", REMOVED, "service account token mounted"),
        (INSTRUCT, f"{PREDICTOR_POD}.hostIPC", True, "host namespace hostIPC"),
        (INSTRUCT, f"{PREDICTOR_POD}.volumes.0", {"name": "models", "hostPath": {"path": "/"}}, "volume models"),
        (
            "Deployment/review",
            "spec.template.metadata.labels",
            {"app.kubernetes.io/component": "review"},
            "a mesh puts",
        ),
        (INSTRUCT, f"{PREDICTOR_POD}.labels", REMOVED, "a mesh puts its sidecar in"),
        (INSTRUCT, f"{PREDICTOR_POD}.storageUri", "s3://clinadapt", "schema"),
        (INSTRUCT, f"{PREDICTOR_POD}.deploymentStrategy", REMOVED, "a second GPU is waited for"),
        (INSTRUCT, "metadata.annotations", REMOVED, "not a raw deployment"),
        (INSTRUCT, "spec.transformer", {}, "schema"),
        (INSTRUCT, f"{SERVER}.name", "vllm", "no container of KServe's name"),
        (INSTRUCT, f"{SERVER}.image", "vllm/vllm-openai:latest", "image vllm/vllm-openai:latest"),
        (INSTRUCT, f"{SERVER}.securityContext", REMOVED, "container securityContext"),
        (INSTRUCT, f"{SERVER}.livenessProbe", REMOVED, "no livenessProbe"),
        (INSTRUCT, f"{SERVER}.resources.limits", {"cpu": "1", "memory": "1Gi"}, "no GPU"),
        (INSTRUCT, f"{SERVER}.env.0", {"name": "VLLM_API_KEY", "value": "x"}, "literal secret VLLM_API_KEY"),
        (INSTRUCT, f"{SERVER}.envFrom.0.secretRef.name", "other", "anybody may ask"),
        (INSTRUCT, f"{SERVER}.args.1", "/models/vllm.yaml", "what is fetched is not what is served"),
        (INSTRUCT, f"{GATEWAY}.ports.0.containerPort", 8000, "the network policy of serving misses the port"),
        (INSTRUCT, f"{SERVER}.ports", [{"containerPort": 8000}], "others reach what loads adapters"),
        (INSTRUCT, f"{SERVER}.args.2", "--host=0.0.0.0", "others reach what loads adapters"),
        (INSTRUCT, f"{SERVER}.args.3", "--port=9000", "the gateway misses the server"),
        (INSTRUCT, f"{SERVER}.env.4", REMOVED, "the server does not load adapters"),
        (INSTRUCT, f"{GATEWAY}.args.2", "--to=/models/other", "what is fetched is not what is served"),
        (INSTRUCT, f"{GATEWAY}.envFrom.2.secretRef.name", "other", "anybody may ask"),
        (INSTRUCT, f"{GATEWAY}.name", "gateway", "no container of KServe's name"),
        (INSTRUCT, f"{GATEWAY}.securityContext", REMOVED, "container securityContext"),
        (INSTRUCT, f"{FETCH}.image", "clinadapt/cpu:latest", "image clinadapt/cpu:latest"),
        (INSTRUCT, f"{FETCH}.securityContext.privileged", True, "container securityContext"),
        (INSTRUCT, f"{FETCH}.resources.limits", REMOVED, "resources without limits"),
        (INSTRUCT, "metadata.name", "other", "the network policy of serving misses the pods"),
        ("NetworkPolicy/serving", "spec.egress", OUT, "serving has a way out"),
        ("ServiceAccount/serving", "metadata.name", "other", "no ServiceAccount/serving"),
        ("ConfigMap/serving", "metadata.name", "other", "no ConfigMap/serving"),
    ],
)
def test_a_planted_defect_is_found(target: str, path: str, value: Any, finding: str) -> None:
    documents = copy.deepcopy(render(f"base{SERVING}+runs+trainer"))
    node: Any = find(documents, target)
    *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    for key in parents:
        node = node[key]
    if value is REMOVED:
        del node[last]
    else:
        node[last] = value
    found = findings(documents)
    assert found and all(f.startswith(finding) for f in found), found
