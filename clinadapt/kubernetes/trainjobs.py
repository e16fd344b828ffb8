"""A TrainJob created or found, watched until it ends, and stopped."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from clinadapt.artifacts.hashing import sha256_json
from clinadapt.artifacts.step_record import LOG_MARKER, RUN, log
from clinadapt.config.nodes_task import NodesTask
from clinadapt.errors import UserError
from clinadapt.kubernetes.api import Api, ApiError, in_cluster

GROUP = "/apis/trainer.kubeflow.org/v1alpha1"
TEMPLATE = "CLINADAPT_TRAINJOB"  # variable of a training step with the manifest that it fills in, as JSON
RUNTIME = "CLINADAPT_TRAINING_RUNTIME"  # variable of preflight with the name of the TrainingRuntime
STOP = "CLINADAPT_TRAINJOB_STOP"  # variable of summarise: delete or suspend
RUN_LABEL = "clinadapt.io/run"  # the run that watches it
_SUSPENDED = "clinadapt.io/suspended"  # annotation: suspended by us, not by a queue
_ERROR_LINES = 3
_KUEUE = ("v1beta2", "v1beta1")  # Kueue has the first since 0.15 and will no more serve the second (its issue 13957)
_PREFLIGHT_PATIENCE = 60.0  # seconds without an answer of the API server; preflight's own time ends after minutes


def fill(template: dict[str, Any], task: NodesTask) -> dict[str, Any]:
    """The TrainJob that trains a task. Its name is that of the training: task, image, resources and number of nodes.

    Args:
        template: as clinadapt.kubernetes.trainjob.template makes it.
        task: what its nodes train.
    """
    trainer = template["spec"]["trainer"]
    shape = [trainer[key] for key in ("numNodes", "numProcPerNode", "resourcesPerNode", "image")]
    identity = [task.model_dump(), *shape]
    name = f"{template['metadata']['name']}-{sha256_json(identity)[7:15]}"
    metadata = {**template["metadata"], "name": name}
    return {
        **template,
        "metadata": metadata,
        "spec": {**template["spec"], "trainer": {**trainer, "args": [task.model_dump_json()]}},
    }


def result_key(task: NodesTask) -> str:
    """The store's key under which rank 0 leaves where the result of a task is."""
    return f"trainjobs/{sha256_json(task.model_dump())[7:23]}.json"


class TrainJobs:
    """The TrainJobs of a namespace, for one run."""

    def __init__(self, api: Api, run: str, log: Callable[[str], None] = print) -> None:
        """
        Args:
            api: of Kubernetes.
            run: name of the run, by which they are stopped when it ends.
            log: called with each line to show.
        """
        self._api, self._run, self._log = api, run, log
        self._path = f"{GROUP}/namespaces/{api.namespace}/trainjobs"
        self.interval = 5.0  # seconds between two looks

    def train(self, manifest: dict[str, Any]) -> None:
        """Create the TrainJob, or find it where an earlier attempt created it, and watch it until it is complete. One
        that was complete before is created anew: the caller has looked for its result, and there was none.

        Raises:
            UserError: it failed, with the last lines of the node's log; or it was refused or deleted.
        """
        name = manifest["metadata"]["name"]
        self._ensure(manifest)
        shown, waiting = _Shown(), ""
        while True:
            try:
                job = self._api.call("GET", f"{self._path}/{name}")
            except ApiError as error:
                if error.status == 404:
                    raise UserError(f"TrainJob {name} was deleted while it trained: run again to resume") from None
                raise
            self._show(name, shown)
            if _condition(job, "Complete"):
                return
            if _condition(job, "Failed"):
                raise UserError(f"TrainJob {name} failed: {self._reason(name, job)}")
            if (reason := self._waits_for(job)) != waiting and (waiting := reason):
                self._log(f"TrainJob {name} waits: {reason}")
            time.sleep(self.interval)

    def stop(self, suspend: bool) -> list[str]:
        """Delete, or suspend, what this run's TrainJobs still train; return their names."""
        selector = {"labelSelector": f"{RUN_LABEL}={self._run}"}
        stopped = []
        for job in self._api.call("GET", self._path, query=selector)["items"]:
            name = job["metadata"]["name"]
            if _ended(job):
                continue
            if suspend:
                changes = {"metadata": {"annotations": {_SUSPENDED: "true"}}, "spec": {"suspend": True}}
                self._api.call("PATCH", f"{self._path}/{name}", changes)
            else:
                self._delete(name)
            stopped.append(name)
        return stopped

    def _ensure(self, manifest: dict[str, Any]) -> None:
        """Create it; of one that is there, take over what it trains, and replace it where it has ended."""
        name = manifest["metadata"]["name"]
        labels = {**manifest["metadata"].get("labels", {}), RUN_LABEL: self._run}
        labelled = {**manifest, "metadata": {**manifest["metadata"], "labels": labels}}
        while True:
            try:
                self._api.call("POST", self._path, labelled)
                self._log(f"TrainJob {name} created")
                return
            except ApiError as error:
                if error.status != 409:
                    raise
            try:
                job = self._api.call("GET", f"{self._path}/{name}")
                if _ended(job) or job["metadata"].get("deletionTimestamp"):
                    self._delete(name)
                    time.sleep(self.interval)
                    continue
                changes: dict[str, Any] = {"metadata": {"labels": {RUN_LABEL: self._run}}}
                if job["metadata"].get("annotations", {}).get(_SUSPENDED):
                    changes["metadata"]["annotations"] = {_SUSPENDED: None}
                    changes["spec"] = {"suspend": False}
                self._api.call("PATCH", f"{self._path}/{name}", changes)
                self._log(f"TrainJob {name} found, watching it")
                return
            except ApiError as error:
                if error.status not in (404, 409):  # deleted or changed meanwhile
                    raise

    def _delete(self, name: str) -> None:
        try:
            self._api.call("DELETE", f"{self._path}/{name}", {"propagationPolicy": "Foreground"})
        except ApiError as error:
            if error.status != 404:
                raise

    def _pods(self, name: str) -> list[dict[str, Any]]:
        """The pods of the nodes, the newest last."""
        path = f"/api/v1/namespaces/{self._api.namespace}/pods"
        pods = self._api.call("GET", path, query={"labelSelector": f"jobset.sigs.k8s.io/jobset-name={name}"})["items"]
        return sorted(pods, key=lambda pod: pod["metadata"]["creationTimestamp"])

    def _lines(self, pod: dict[str, Any], since: str = "") -> list[tuple[str, str]]:
        """(time, message) of what a pod's node wrote for people; nothing while the pod starts, or when it is gone."""
        name = pod["metadata"]["name"]
        query = {"container": "node", "timestamps": "true"} | ({"sinceTime": since} if since else {"tailLines": "500"})
        try:
            text = self._api.text("GET", f"/api/v1/namespaces/{self._api.namespace}/pods/{name}/log", query=query)
        except ApiError as error:
            if error.status in (400, 404):
                return []
            raise
        pairs = (line.partition(" ")[::2] for line in text.splitlines())
        return [
            (stamp, line.removeprefix(LOG_MARKER).partition("|")[2].strip())
            for stamp, line in pairs
            if line.startswith(LOG_MARKER)
        ]

    def _show(self, name: str, shown: _Shown) -> None:
        """Log the new lines of rank 0."""
        for pod in self._pods(name):
            if pod["metadata"]["labels"].get("batch.kubernetes.io/job-completion-index", "0") == "0":
                for line in shown.new(pod["metadata"]["name"], self._lines(pod, shown.since(pod["metadata"]["name"]))):
                    self._log(line)

    def _reason(self, name: str, job: dict[str, Any]) -> str:
        """Why it failed: the error of a node, else how the container of the last one that failed ended and its last
        lines, else what the TrainJob says. A node whose neighbour fails fails too, and may be the newer one."""
        failed = [pod for pod in reversed(self._pods(name)) if pod.get("status", {}).get("phase") == "Failed"]
        written = [[line for _, line in self._lines(pod)] for pod in failed]
        errors = [line for lines in written for line in reversed(lines) if line.startswith("error: ")]
        if errors:
            return errors[0].removeprefix("error: ")
        ends = [" / ".join([*_end(pod), *lines[-_ERROR_LINES:]]) for pod, lines in zip(failed, written, strict=True)]
        message = (_condition(job, "Failed") or {}).get("message", "see kubectl describe trainjob")
        return next(filter(None, ends), str(message))

    def _waits_for(self, job: dict[str, Any]) -> str:
        """Why no pod runs: the message of its Workload in Kueue, or of the scheduler; empty while one runs."""
        name, uid = job["metadata"]["name"], job["metadata"].get("uid", "")
        if job["spec"].get("suspend"):
            conditions = [c for w in self._workloads(uid) for c in w.get("status", {}).get("conditions", ())]
            reasons = [c["message"] for c in conditions if c["type"] == "QuotaReserved" and c["status"] == "False"]
            return " ".join(reasons[:1]) or "suspended"
        pods = self._pods(name)
        conditions = [c for pod in pods for c in pod.get("status", {}).get("conditions", ())]
        reasons = [c.get("message", "") for c in conditions if c["type"] == "PodScheduled" and c["status"] == "False"]
        return " ".join(reasons[:1])

    def _workloads(self, uid: str) -> list[dict[str, Any]]:
        """The Workloads of a TrainJob; none without Kueue, or without the right to read them."""
        for version in _KUEUE:
            path = f"/apis/kueue.x-k8s.io/{version}/namespaces/{self._api.namespace}/workloads"
            try:
                return list(
                    self._api.call("GET", path, query={"labelSelector": f"kueue.x-k8s.io/job-uid={uid}"})["items"]
                )
            except ApiError as error:
                if error.status != 404:
                    break
        return []


def stop_trainjobs() -> None:
    """At the end of a run: delete or suspend (STOP) what its TrainJobs still train, since nobody waits for it any more.
    Nothing where the cluster has no trainer.

    Raises:
        UserError: the API of Kubernetes refused, or does not answer.
    """
    if not (how := os.environ.get(STOP)):
        return
    for name in TrainJobs(in_cluster(), os.environ[RUN]).stop(suspend=how == "suspend"):
        log("summarise", f"TrainJob {name} {'suspended' if how == 'suspend' else 'deleted'}: its run has ended")


class _Shown:
    """Which lines of which pods were shown. Several may have the time of the last one."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, set[str]]] = {}

    def since(self, pod: str) -> str:
        """Time of the last line, as the API wants it: its `sinceTime` is exact to the second."""
        return self._last.get(pod, ("", set()))[0]

    def new(self, pod: str, lines: list[tuple[str, str]]) -> list[str]:
        last, at_last = self._last.get(pod, ("", set()))
        fresh = [(stamp, line) for stamp, line in lines if stamp > last or (stamp == last and line not in at_last)]
        if fresh:
            newest = fresh[-1][0]
            same = {line for stamp, line in fresh if stamp == newest}
            self._last[pod] = (newest, same | (at_last if newest == last else set()))
        return [line for _, line in fresh]


def _condition(job: dict[str, Any], kind: str) -> dict[str, Any] | None:
    """A condition that holds: its status is read, since the type of the last one alone says nothing."""
    conditions = job.get("status", {}).get("conditions", ())
    return next((dict(c) for c in conditions if c["type"] == kind and c["status"] == "True"), None)


def _end(pod: dict[str, Any]) -> list[str]:
    """How the container of a node ended, as Kubernetes says it: `exit status 137 (OOMKilled)`."""
    states = [each.get("state", {}).get("terminated") for each in pod["status"].get("containerStatuses", ())]
    reason = pod["status"].get("message") or pod["status"].get("reason")  # of one that its kubelet evicted
    ends = [f"exit status {each['exitCode']} ({each.get('reason', 'Error')})" for each in states if each]
    return [*([" ".join(reason.split())] if reason else []), *ends]


def _ended(job: dict[str, Any]) -> bool:
    return bool(_condition(job, "Complete") or _condition(job, "Failed"))


def check_trainer() -> None:
    """Check that training steps can create TrainJobs, where the cluster's settings name a trainer.

    Raises:
        UserError: what is missing.
    """
    if not (runtime := os.environ.get(RUNTIME)):
        return
    api = in_cluster()
    api.patience = _PREFLIGHT_PATIENCE
    if problem := missing(api, runtime):
        raise UserError(problem)
    log("preflight", f"TrainJobs can be created; TrainingRuntime {runtime}")


def missing(api: Api, runtime: str) -> str | None:
    """What a cluster lacks for TrainJobs of a TrainingRuntime, in one line; None when all is there."""
    try:
        api.call("GET", GROUP)
    except ApiError as error:
        return (
            f"trainer.kubeflow.org/v1alpha1 is not there (HTTP {error.status}): install Kubeflow Trainer 2.2 or later"
        )
    try:
        api.call("GET", f"{GROUP}/namespaces/{api.namespace}/trainingruntimes/{runtime}")
    except ApiError as error:
        return f"TrainingRuntime {runtime} cannot be read in {api.namespace} (HTTP {error.status}): {_APPLY}"
    asked = {"namespace": api.namespace, "verb": "create", "group": "trainer.kubeflow.org", "resource": "trainjobs"}
    kind = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    review = api.call("POST", f"{_REVIEWS}/selfsubjectaccessreviews", {**kind, "spec": {"resourceAttributes": asked}})
    if not review["status"]["allowed"]:
        return f"the service account of this run may not create TrainJobs in {api.namespace}: {_APPLY}"
    return None


_REVIEWS = "/apis/authorization.k8s.io/v1"
_APPLY = "apply manifests/components/trainer, and set service_account: clinadapt-runs"
