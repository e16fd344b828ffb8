"""A small server that speaks as much of Kubernetes' API as a training step needs: TrainJobs of Kubeflow Trainer, their
pods and logs, with the admission checks of Trainer 2.3's jobset plugin."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from fake_server import Error, FakeServer, Object
from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob
from network_policy import selects

NAMESPACE = "nlp"
TRAINER, KUEUE = "/apis/trainer.kubeflow.org/v1alpha1", "/apis/kueue.x-k8s.io"
DOMAIN_PATH = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+/[A-Za-z0-9/._~%!$&'()*+,;=:-]+"
JOBS = {"node": {"node"}}  # job -> containers of the runtime


def admission(job: Object) -> list[str]:
    """What the webhook of Kubeflow Trainer refuses, beyond the schema."""
    found = []
    for patch in job["spec"].get("runtimePatches", []):
        if not re.fullmatch(DOMAIN_PATH, patch.get("manager", "")):
            found.append(f"manager {patch.get('manager')}: must be a domain-prefixed path (such as acme.io/foo)")
        for target in patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]:
            if target["name"] not in JOBS:
                found.append("must not have targetJob that doesn't exist in the runtime job template")
                continue
            for container in target["template"]["spec"]["template"]["spec"].get("containers", []):
                if container["name"] not in JOBS[target["name"]]:
                    found.append(f"must not have container that doesn't exist in the runtime job {target['name']}")
                elif container.get("env"):
                    found.append("must not have envs for the dataset-initializer, model-initializer, node containers")
    return found


class FakeTrainer(FakeServer):
    """The cluster, and what a test can set.

    Attributes:
        jobs, pods, logs, workloads: what is there, by name.
        created: names of the TrainJobs that were created, in order.
        kueue: version of Kueue's API that is served.
        runtimes: names of TrainingRuntimes; None: no Kubeflow Trainer.
        allowed: whether the service account may create TrainJobs.
        train: called with a TrainJob at each look at it, as the controller's next moment.
    """

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, Object] = {}
        self.pods: dict[str, Object] = {}
        self.logs: dict[str, list[str]] = {}
        self.workloads: list[Object] = []
        self.kueue = "v1beta2"
        self.created: list[str] = []
        self.runtimes: list[str] | None = ["clinadapt"]
        self.allowed = True
        self.train: Callable[[Object], None] = lambda job: None
        self.clock = datetime(2026, 1, 1, tzinfo=UTC)

    def respond(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, Object]:
        with self.lock:
            self.before(method, path)
            self.requests.append((method, path))
            return 200, self.answer(method, path, query, json.loads(body) if body else {})

    def refusal(self, error: Error) -> Object:
        return {"kind": "Status", "status": "Failure", "message": error.message, "code": error.status}

    def answer(self, method: str, path: str, query: dict[str, str], body: Object) -> Object:
        jobs = f"{TRAINER}/namespaces/{NAMESPACE}/trainjobs"
        if path.startswith(TRAINER) and self.runtimes is None:
            raise Error(404, "the server could not find the requested resource")
        if path == TRAINER:
            return {"kind": "APIResourceList"}
        if path.startswith(f"{TRAINER}/namespaces/{NAMESPACE}/trainingruntimes/"):
            return self.found({name: {} for name in self.runtimes or ()}, path)
        if path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews":
            return {"status": {"allowed": self.allowed}}
        if path == jobs and method == "POST":
            return self.create(body)
        if path == jobs:
            return {"items": [job for job in self.jobs.values() if self.selected(job, query)]}
        if path.startswith(f"{jobs}/"):
            return self.one(method, self.found(self.jobs, path), body)
        if path == f"{KUEUE}/{self.kueue}/namespaces/{NAMESPACE}/workloads":
            return {"items": [workload for workload in self.workloads if self.selected(workload, query)]}
        if path == f"/api/v1/namespaces/{NAMESPACE}/pods":
            return {"items": [pod for pod in self.pods.values() if self.selected(pod, query)]}
        if path.endswith("/log"):
            return {"": self.log(path.split("/")[-2], query)}
        raise Error(404, f"no such path {path}")

    def found(self, kind: dict[str, Object], path: str) -> Object:
        if (name := path.rpartition("/")[2]) not in kind:
            raise Error(404, f'"{name}" not found')
        return kind[name]

    def selected(self, item: Object, query: dict[str, str]) -> bool:
        wanted = dict(pair.split("=") for pair in query.get("labelSelector", "").split(",") if pair)
        return selects({"matchLabels": wanted}, item["metadata"]["labels"])

    def create(self, job: Object) -> Object:
        name = job["metadata"]["name"]
        if TrainerV1alpha1TrainJob.from_dict(job).to_dict() != job:  # type: ignore[union-attr]
            raise Error(422, "unknown field")
        if problems := admission(job):
            raise Error(403, f"admission webhook denied the request: {problems[0]}")
        if name in self.jobs:
            raise Error(409, f'trainjobs "{name}" already exists')
        queued = "kueue.x-k8s.io/queue-name" in job["metadata"]["labels"]
        uid = f"uid-{len(self.created)}"
        self.jobs[name] = {**job, "metadata": {**job["metadata"], "uid": uid}, "status": {}}
        self.jobs[name]["spec"] = {**job["spec"], "suspend": True} if queued else dict(job["spec"])
        self.created.append(name)
        return self.jobs[name]

    def one(self, method: str, job: Object, body: Object) -> Object:
        name = job["metadata"]["name"]
        if method == "DELETE":
            del self.jobs[name]
            self.pods = {key: pod for key, pod in self.pods.items() if not key.startswith(f"{name}-")}
        elif method == "PATCH":
            for section in ("labels", "annotations"):
                changes = body.get("metadata", {}).get(section, {})
                merged = job["metadata"].get(section, {}) | changes
                job["metadata"][section] = {key: value for key, value in merged.items() if value is not None}
            job["spec"] |= body.get("spec", {})
        elif not job["spec"].get("suspend") and not job["status"].get("conditions"):
            self.train(job)
        return job

    def pod(self, job: Object, rank: int = 0, phase: str = "Running", **status: Any) -> str:
        """Make a new pod of a node; returns its name."""
        self.clock += timedelta(seconds=1)
        name = f"{job['metadata']['name']}-node-0-{rank}-{len(self.logs):05d}"
        labels = {"jobset.sigs.k8s.io/jobset-name": job["metadata"]["name"]}
        labels["batch.kubernetes.io/job-completion-index"] = str(rank)
        created = self.clock.strftime("%Y-%m-%dT%H:%M:%SZ")
        self.pods[name] = {
            "metadata": {"name": name, "labels": labels, "creationTimestamp": created},
            "status": {"phase": phase, **status},
        }
        self.logs[name] = []
        return name

    def write(self, pod: str, *lines: str) -> None:
        """Add lines to a pod's log, as `clinadapt | train | line`."""
        for line in lines:
            self.clock += timedelta(milliseconds=400)
            stamp = self.clock.strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
            self.logs[pod].append(f"{stamp} clinadapt | train | {line}")

    def log(self, pod: str, query: dict[str, str]) -> str:
        if pod not in self.pods:
            raise Error(404, f'pods "{pod}" not found')
        if self.pods[pod]["status"]["phase"] == "Pending":
            raise Error(400, "container is waiting to start")
        since = query.get("sinceTime", "")[:19]  # exact to the second
        return "".join(f"{line}\n" for line in self.logs[pod] if line[:19] >= since)

    def end(self, job: Object, kind: str = "Complete", message: str = "jobset completed successfully") -> None:
        """Give a TrainJob its last condition; a lifted suspension stays in the list, with status False."""
        job["status"]["conditions"] = [
            {"type": kind, "status": "True", "message": message},
            {"type": "Suspended", "status": "False", "message": "TrainJob is resumed"},
        ]
