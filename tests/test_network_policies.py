"""Which connections the network policies let through, flow by flow, in the namespace of the runs. The table is in
docs/network-flows.md."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import yaml
from kustomize import ROOT, render
from network_policy import Place, allowed, selects

from clinadapt.config.steps import STEPS
from clinadapt.kubernetes.cluster import Cluster

NAMESPACE = "clinadapt"
WORKFLOW = {"workflows.argoproj.io/workflow": "run-1"}


def ours(*components: str, run: bool = True) -> list[Place]:
    cluster = Cluster(name="c")
    return [Place(NAMESPACE, cluster.pod_labels(name) | (WORKFLOW if run else {}), "10.1.0.5") for name in components]


def kubeflow(app: str) -> Place:
    return Place("kubeflow", {"app": app}, "10.1.0.9")


# The launcher and Argo's wait container share the step's pod; a driver has a pod of its own, without our labels
SOURCES = {
    "driver": [Place(NAMESPACE, WORKFLOW, "10.1.0.4")],
    "steps": ours(*STEPS),
    "hub steps": ours("preflight", "download", "format", "pretrain", "train", "prefer", "evaluate", "publish"),
    "other steps": ours("screen", "lookup", "gate", "summarise", "monitor"),
    "synthesize": ours("synthesize"),
    "TrainJob node": ours("trainjob", run=False),
    "review": ours("review", run=False),
    "submit": ours("submit", run=False),
    "neighbour": [Place("other", {"app": "other"}, "10.1.0.7")],
}
PLACES = {
    "names": Place("kube-system", {"k8s-app": "kube-dns"}, "10.96.0.10"),
    "names on the node": Place(address="169.254.20.10"),
    "store": kubeflow("seaweedfs"),
    "old store": kubeflow("minio"),
    "pipelines": kubeflow("ml-pipeline"),
    "metadata": kubeflow("metadata-grpc-deployment"),
    "MLflow": kubeflow("mlflow"),
    "API server": Place(address="172.18.0.2"),
    "API server at 100.64/10": Place(address="100.64.3.1"),
    "API server at a public address": Place(address="203.0.113.7"),
    "hub": Place(address="198.51.100.20"),
    "cloud metadata": Place(address="169.254.169.254"),
    "TrainJob node": ours("trainjob", run=False)[0],
    "review": ours("review", run=False)[0],
}
RUNS = ["driver", "steps"]
EVERYBODY = [*RUNS, "TrainJob node", "review", "submit"]
# (from, to, port, protocol) that must pass in every folder
OPEN = [
    *((source, "names", 53, "UDP") for source in EVERYBODY),
    *((source, "names on the node", 53, "UDP") for source in EVERYBODY),
    *((source, "store", 8333, "TCP") for source in [*RUNS, "TrainJob node", "review"]),
    *((source, "store", 9000, "TCP") for source in RUNS),  # where Argo archives the log
    *((source, "old store", 9000, "TCP") for source in RUNS),
    *((source, "pipelines", port, "TCP") for source in RUNS for port in (8887, 8888)),
    *((source, "metadata", 8080, "TCP") for source in RUNS),
    *((source, "API server", 6443, "TCP") for source in RUNS),
    *((source, "API server at 100.64/10", 443, "TCP") for source in RUNS),
    ("submit", "pipelines", 8888, "TCP"),
    ("TrainJob node", "TrainJob node", 29500, "TCP"),
]
# that must not, in any folder
CLOSED = [
    *((source, "hub", 443, "TCP") for source in ("driver", "other steps", "review", "submit")),
    *((source, "cloud metadata", 80, "TCP") for source in EVERYBODY),
    *((source, "cloud metadata", 443, "TCP") for source in EVERYBODY),
    *((source, "hub", 80, "TCP") for source in EVERYBODY),
    *((source, "API server", 6443, "TCP") for source in ("TrainJob node", "review", "submit")),
    *((source, "pipelines", 8888, "TCP") for source in ("TrainJob node", "review")),
    ("neighbour", "review", 7860, "TCP"),
    ("steps", "review", 7860, "TCP"),
    ("neighbour", "TrainJob node", 29500, "TCP"),
    ("steps", "TrainJob node", 29500, "TCP"),
    ("steps", "API server at a public address", 6443, "TCP"),
    ("steps", "names", 53, "SCTP"),
]
FOLDERS = ["base", "overlays/airgap", "overlays/kind"]


def policies(folder: str) -> list[dict[str, Any]]:
    return [document for document in render(folder) if document["kind"] == "NetworkPolicy"]


def passes(folder: str | list[dict[str, Any]], flow: tuple[str, str, int, str]) -> set[bool]:
    """Whether each pod of the source gets through."""
    source, to, port, protocol = flow
    documents = policies(folder) if isinstance(folder, str) else folder
    return {allowed(documents, place, PLACES[to], port, protocol) for place in SOURCES[source]}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_flow_of_the_table(folder: str) -> None:
    wrong = [f"{flow} is closed" for flow in OPEN if passes(folder, flow) != {True}]
    wrong += [f"{flow} is open" for flow in CLOSED if passes(folder, flow) != {False}]
    assert not wrong


# The columns of docs/network-flows.md: what each pod is, and the places that it may ask for
COLUMNS = {
    "driver": "driver",
    "step¹": "hub steps",
    "screen, lookup, gate, summarise, monitor¹": "other steps",
    "synthesize¹": "synthesize",
    "TrainJob node": "TrainJob node",
    "review page": "review",
    "submit pod": "submit",
    "other namespace": "neighbour",
}
ROWS = [
    ("DNS of the cluster", "names", 53, "UDP"),
    ("DNS cache of the node, 169.254.20.10", "names on the node", 53, "UDP"),
    ("store of Kubeflow Pipelines: objects", "store", 8333, "TCP"),
    ("store of Kubeflow Pipelines: archive of logs", "store", 9000, "TCP"),
    ("API of Kubeflow Pipelines", "pipelines", 8888, "TCP"),
    ("API of Kubeflow Pipelines, gRPC", "pipelines", 8887, "TCP"),
    ("metadata, model registry", "metadata", 8080, "TCP"),
    ("MLflow", "MLflow", 5000, "TCP"),
    ("API server in 10/8, 172.16/12, 192.168/16", "API server", 6443, "TCP"),
    ("API server in 100.64/10", "API server at 100.64/10", 443, "TCP"),
    ("API server elsewhere", "API server at a public address", 6443, "TCP"),
    ("hub, source or LLM on https", "hub", 443, "TCP"),
    ("metadata of the cloud, 169.254.169.254", "cloud metadata", 80, "TCP"),
    ("TrainJob node", "TrainJob node", 29500, "TCP"),
    ("review page", "review", 7860, "TCP"),
]


def cell(source: str, to: str, port: int, protocol: str) -> str:
    """open, closed, or the component that opens it; a pod of another namespace is asked about what is ours alone."""
    if source == "neighbour" and to not in ("TrainJob node", "review"):
        return ""
    for folder, word in (("base", "open"), ("base+internet", "`internet`"), ("base+mlflow", "`mlflow`")):
        found = passes(folder, (source, to, port, protocol))
        assert len(found) == 1, (source, to, "the pods of a column differ")
        if found == {True}:
            return word
    return "closed"


def test_the_table_in_the_documents_is_what_the_policies_say() -> None:
    lines = [f"| to | port | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 2) + "|"]
    for what, to, port, protocol in ROWS:
        cells = [cell(source, to, port, protocol) for source in COLUMNS.values()]
        lines.append(f"| {what} | {port}{'' if protocol == 'TCP' else ' UDP'} | {' | '.join(cells)} |")
    table = "\n".join(lines)
    print(table)
    page = (ROOT / "docs/network-flows.md").read_text(encoding="utf-8")
    assert table in page, f"docs/network-flows.md: write this table into it:\n{table}"


def test_names_of_openshift() -> None:
    names = Place("openshift-dns", {"dns.operator.openshift.io/daemonset-dns": "default"})
    documents = policies("overlays/openshift")
    assert all(allowed(documents, place, names, 5353, "UDP") for source in EVERYBODY for place in SOURCES[source])


@pytest.mark.parametrize(
    ("folder", "hub", "llm"),
    [
        ("base", False, False),
        ("overlays/airgap", False, False),
        ("base+internet", True, True),
        ("overlays/kind", True, True),
    ],
)
def test_the_way_out_is_opened_by_step(folder: str, hub: bool, llm: bool) -> None:
    assert passes(folder, ("hub steps", "hub", 443, "TCP")) == {hub}
    assert passes(folder, ("TrainJob node", "hub", 443, "TCP")) == {hub}
    assert passes(folder, ("synthesize", "hub", 443, "TCP")) == {llm}


def test_mlflow_where_it_is_on() -> None:
    flow = ("steps", "MLflow", 5000, "TCP")
    assert (passes("base", flow), passes("base+mlflow", flow)) == ({False}, {True})
    assert passes("base+mlflow", ("review", "MLflow", 5000, "TCP")) == {False}


def test_metrics_where_they_are_served() -> None:
    """Prometheus reaches the pod, and the pod the store; nothing else does either."""
    documents, (pod,) = policies("base+metrics"), ours("metrics", run=False)
    prometheus = Place("monitoring", {"app": "prometheus"}, "10.1.0.20")
    assert allowed(documents, prometheus, pod, 9464, "TCP")
    assert allowed(documents, pod, PLACES["store"], 8333, "TCP")
    for place in (*SOURCES["neighbour"], *SOURCES["steps"], *SOURCES["review"]):
        assert not allowed(documents, place, pod, 9464, "TCP")
    for name in ("hub", "API server", "pipelines", "cloud metadata"):
        assert not allowed(documents, pod, PLACES[name], 443, "TCP")
    assert not allowed(documents, prometheus, PLACES["review"], 9464, "TCP")


def test_every_pod_of_a_run_and_no_other_reaches_the_api_server() -> None:
    """Drivers, launchers and Argo's wait container call it; TrainJob nodes and our own pods do not."""
    (policy,) = (document for document in policies("base") if document["metadata"]["name"] == "api-server")
    chosen = {
        name
        for name, places in SOURCES.items()
        if all(selects(policy["spec"]["podSelector"], place.labels) for place in places)
    }
    assert chosen == {"driver", "steps", "hub steps", "other steps", "synthesize"}
    assert [rule["ports"] for rule in policy["spec"]["egress"]] == [[{"port": 443}, {"port": 6443}]]


def test_nothing_but_a_step_gets_the_hub_s_policy() -> None:
    """A component that no pod has opens nothing."""
    named = {
        value
        for policy in policies("base+internet")
        for expression in policy["spec"]["podSelector"].get("matchExpressions", [])
        for value in expression.get("values", [])
    }
    assert named - {"trainjob"} < set(STEPS)


OF_EVERY_RUN = {"default-deny", "names", "store", "pipelines", "api-server"}
WAYS_OUT = {  # policies of components/internet -> the steps that they open
    "hub": {"preflight", "download", "format", "pretrain", "train", "prefer", "evaluate", "publish"},
    "llm": {"preflight", "synthesize", "evaluate"},
}
# (place, port) that the pod of a step reaches with components/internet, and no others
REACHED = {
    *((name, 53) for name in ("names", "names on the node")),
    *((name, port) for name in ("store", "old store") for port in (8333, 9000)),
    *(
        (name, port)
        for name in ("store", "old store", "pipelines", "metadata", "MLflow")
        for port in (8080, 8887, 8888)
    ),
    *((name, port) for name in ("API server", "API server at 100.64/10") for port in (443, 6443)),
}
PUBLIC = {("hub", 443), ("API server at a public address", 443)}  # by https, where a step has a way out
PORTS = (22, 25, 53, 80, 443, 3306, 5000, 5432, 6379, 6443, 7860, 8080, 8333, 8443, 8887, 8888, 9000, 9464, 29500)


@pytest.mark.parametrize("step", STEPS)
def test_a_step_is_opened_by_its_own_policies_and_reaches_nothing_else(step: str) -> None:
    """A step that is new has to be put into one of the policies, or has no way out."""
    documents, (pod,) = policies("base+internet"), ours(step)
    chosen = {
        document["metadata"]["name"] for document in documents if selects(document["spec"]["podSelector"], pod.labels)
    }
    ways_out = {name for name, steps in WAYS_OUT.items() if step in steps}
    assert chosen == OF_EVERY_RUN | ways_out
    places = {name: replace(place, address="" if place.namespace else place.address) for name, place in PLACES.items()}
    reached = {(name, port) for name, place in places.items() for port in PORTS if allowed(documents, pod, place, port)}
    assert reached == REACHED | (PUBLIC if ways_out else set())
    closed = policies("base")
    assert not any(allowed(closed, pod, PLACES["hub"], port) for port in PORTS)


def defects() -> Iterator[tuple[str, str, Any]]:
    """(policy, what is removed, flow that then fails)."""
    yield "store", "port 9000", ("steps", "store", 9000, "TCP")
    yield "names", "block", ("steps", "names on the node", 53, "UDP")
    yield "api-server", "block", ("steps", "API server at 100.64/10", 443, "TCP")
    yield "pipelines", "port 8887", ("driver", "pipelines", 8887, "TCP")


@pytest.mark.parametrize(("name", "what", "flow"), list(defects()))
def test_a_removed_rule_is_found(name: str, what: str, flow: Any) -> None:
    documents = copy.deepcopy(policies("base"))
    (rule,) = next(d for d in documents if d["metadata"]["name"] == name)["spec"]["egress"]
    if what == "block":
        rule["to"].pop()
    else:
        rule["ports"].remove({"port": int(what.split()[1])})
    assert passes(documents, flow) == {False}


def test_the_evaluator_reads_policies_as_kubernetes_does() -> None:
    """https://kubernetes.io/docs/concepts/services-networking/network-policies"""
    text = """
    metadata: {namespace: a}
    spec:
      podSelector: {matchLabels: {app: web}}
      policyTypes: [Ingress]
      ingress:
        - {from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: ui}}}], ports: [{port: 80, endPort: 90}]}
    """
    policy = yaml.safe_load(text)
    web, ui = Place("a", {"app": "web"}), Place("b", {"app": "ui"})
    assert allowed([policy], ui, web, 85) and not allowed([policy], ui, web, 91)
    assert not allowed([policy], ui, web, 85, "UDP"), "TCP is the default"
    assert not allowed([policy], Place("a", {"app": "db"}), web, 85), "both selectors have to match"
    assert allowed([policy], Place("c"), Place("a", {"app": "db"}), 1), "a pod that no policy selects is open"
    assert allowed([policy], web, ui, 1), "the policy is of one direction"
    policy["spec"]["ingress"] = []
    assert not allowed([policy], ui, web, 85), "no rule lets nothing in"
    policy["spec"]["ingress"] = [{}]
    assert allowed([policy], Place(address="192.0.2.1"), web, 1), "an empty rule lets everything in"
